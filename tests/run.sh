#!/usr/bin/env bash
# Installs, builds and passes the tests.
#
#   tests/run.sh              all tests, then the unit tests under ASan+UBSan
#   tests/run.sh --quick      unit tests of the release build only
#   tests/run.sh --tsan       also the tests of threaded code under TSan
#   tests/run.sh --arm64      also unit tests of an ARM64 build under emulation: tests/arm64.sh
set -euo pipefail
cd "$(dirname "$0")/.."

asan=yes
tsan=no
arm64=no
labels=()
for option in "$@"; do
  case "$option" in
    --quick) asan=no; labels=(-L unit) ;;
    --tsan) tsan=yes ;;
    --arm64) arm64=yes ;;
    -h|--help) sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "tests/run.sh: unknown option '$option'; see --help" >&2; exit 2 ;;
  esac
done

step() { printf '\n== %s (%s)\n' "$1" "$(date +%T)"; }
jobs=$(nproc)
werror=$([ "${CI:-}" = true ] && echo ON || echo OFF)  # the same flags as the quickstart, so it rebuilds nothing

step "dependencies"
launch/dependencies.sh build test

# What was compiled before, in this clone or another, is taken from ccache's store. Precompiled headers need
# the sloppiness.
export CMAKE_CXX_COMPILER_LAUNCHER="${CMAKE_CXX_COMPILER_LAUNCHER-ccache}" CCACHE_BASEDIR="$PWD" CCACHE_NOHASHDIR=yes
export CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
export CCACHE_INODECACHE=yes  # or it reads their hundred megabytes again for every source

# Programs of others for a few tests, which skip, with a notice, without them: a reader of recordings, a judge of
# accuracy.
install_python() {
  local folder=build/$1 wanted=$2/requirements.txt
  cmp -s "$wanted" "$folder/requirements.txt" && return 0
  rm -rf "$folder"
  echo "-- Python packages into $folder, for at most 3 minutes"
  { timeout 60 python3 -m venv "$folder" &&
    timeout 120 "$folder/bin/pip" install --quiet --disable-pip-version-check --retries 1 --timeout 20 \
      -r "$wanted" && cp "$wanted" "$folder/"; } ||
    { echo "-- not to be had: the tests with $1 will be skipped"; rm -rf "$folder"; }
}
mkdir -p build
install_python mcap_reader tests/bag/mcap_reader
install_python coco_judge tests/detector/coco_judge

configure() {
  step "build: $1"
  cmake -C ".cmake/$1.cmake" -S . -B "build/$1" -G Ninja -DFOVEA_WERROR="$werror" \
    -DFOVEA_BUILD_TESTS=ON "${@:2}" >"build/$1.configure.log" 2>&1 ||
    { cat "build/$1.configure.log"; exit 1; }
}

if [ "$asan" = yes ]; then
  configure asan -DFOVEA_BUILD_BENCH=OFF
  cmake --build build/asan -j "$jobs" --target unit_tests
  step "unit tests: asan, ubsan"
  ctest --test-dir build/asan -L unit -j "$jobs" --output-on-failure --no-tests=error
fi

# Only where threads are ours: OpenMP and OpenCV are not instrumented and would drown us in reports.
if [ "$tsan" = yes ]; then
  configure tsan -DFOVEA_BUILD_BENCH=OFF
  threaded=(runtime_node_test runtime_transport_test detector_batcher_test engine_native_provider_test kernels_test)
  cmake --build build/tsan -j "$jobs" --target "${threaded[@]}"
  for test in "${threaded[@]}"; do
    step "unit tests: tsan, $test"
    case "$test" in
      kernels_test) filter='ThreadPool*' ;;
      engine_native_provider_test) filter='-NativeInt8.DemoModel' ;;  # minutes, of one thread
      *) filter='*' ;;
    esac
    "build/tsan/tests/$test" --gtest_filter="$filter" --gtest_brief=1
  done
fi

[ "$arm64" = no ] || tests/arm64.sh

configure release -DFOVEA_BUILD_BENCH=ON
cmake --build build/release -j "$jobs"
step "tests: release"
ctest --test-dir build/release "${labels[@]}" -j "$jobs" --output-on-failure --no-tests=error

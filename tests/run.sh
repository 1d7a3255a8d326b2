#!/usr/bin/env bash
# Installs, builds and passes the tests.
#
#   tests/run.sh              all tests, then the unit tests under ASan+UBSan
#   tests/run.sh --quick      unit tests of the release build only
#   tests/run.sh --tsan       also the unit tests under TSan
set -euo pipefail
cd "$(dirname "$0")/.."

sanitizers=(asan)
labels=()
for option in "$@"; do
  case "$option" in
    --quick) sanitizers=(); labels=(-L unit) ;;
    --tsan) sanitizers+=(tsan) ;;
    -h|--help) sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "tests/run.sh: unknown option '$option'; see --help" >&2; exit 2 ;;
  esac
done

step() { printf '\n== %s (%s)\n' "$1" "$(date +%T)"; }
jobs=$(nproc)
werror=$([ "${CI:-}" = true ] && echo ON || echo OFF)  # the same flags as the quickstart, so it rebuilds nothing

step "dependencies"
launch/dependencies.sh build test

build() {
  step "build: $1"
  cmake -C ".cmake/$1.cmake" -S . -B "build/$1" -G Ninja -DFOVEA_WERROR="$werror" \
    -DFOVEA_BUILD_TESTS=ON "${@:2}" >"build/$1.configure.log" 2>&1 ||
    { cat "build/$1.configure.log"; exit 1; }
  cmake --build "build/$1" -j "$jobs"
}
mkdir -p build

for sanitizer in "${sanitizers[@]}"; do
  build "$sanitizer" -DFOVEA_BUILD_BENCH=OFF
  step "unit tests: $sanitizer"
  ctest --test-dir "build/$sanitizer" -L unit -j "$jobs" --output-on-failure --no-tests=error
done

build release -DFOVEA_BUILD_BENCH=ON
step "tests: release"
ctest --test-dir build/release "${labels[@]}" -j "$jobs" --output-on-failure --no-tests=error

#!/usr/bin/env bash
# Cross-builds for ARM64 and runs unit tests under qemu's user mode emulation, as CPUs with and without the
# instructions that kernels are chosen by. Installs what it needs: launch/dependencies.sh arm64.
#
#   tests/arm64.sh                         what depends on the CPU on all of these, the rest on the last
#   tests/arm64.sh --cpu cortex-a72,max    on these: cortex-a72 (NEON alone), cortex-a76 (with dot products
#                                          and half precision), max (all that qemu knows)
#   tests/arm64.sh --all                   all that can run, on every CPU; half an hour
set -euo pipefail
cd "$(dirname "$0")/.."

cpus=cortex-a72,cortex-a76,max
all=no
while [ $# -gt 0 ]; do
  case "$1" in
    --cpu) cpus=${2:?"tests/arm64.sh: --cpu needs names, such as cortex-a72,max"}; shift ;;
    --all) all=yes ;;
    -h|--help) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "tests/arm64.sh: unknown option '$1'; see --help" >&2; exit 2 ;;
  esac
  shift
done

step() { printf '\n== %s (%s)\n' "$1" "$(date +%T)"; }
jobs=$(nproc)

step "arm64: dependencies"
launch/dependencies.sh arm64

# As in tests/run.sh.
export CMAKE_CXX_COMPILER_LAUNCHER="${CMAKE_CXX_COMPILER_LAUNCHER-$(command -v ccache || true)}"
export CCACHE_BASEDIR="${CCACHE_BASEDIR-$PWD}" CCACHE_NOHASHDIR=yes
export CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
export CCACHE_INODECACHE=yes

step "arm64: build"
werror=$([ "${CI:-}" = true ] && echo ON || echo OFF)
mkdir -p build
cmake -C .cmake/arm64.cmake -S . -B build/arm64 -G Ninja -DFOVEA_WERROR="$werror" -DFOVEA_BUILD_TESTS=ON \
  >build/arm64.configure.log 2>&1 || { cat build/arm64.configure.log; exit 1; }
grep -E '^-- (Without|FOVEA_)' build/arm64.configure.log || true
# Without those that start Fovea's own programs: a child is not emulated.
cmake --build build/arm64 -j "$jobs" --target base_test kernels_test engine_native_provider_test \
  preprocess_letterbox_test postprocess_decode_test runtime_transport_test

# What each CPU does in its own way: kernels, engines, letterbox and decoders.
dependent='^(ActivationTest|AntialiasKernels|Attention|AttentionSteps|ConvolutionFp16Test|ConvolutionInt8Test|ConvolutionOracleTest|ConvolutionTacticTest|CpuProviderInt8|'
dependent+='DecodeKernels|FillBorderTest|HalfTest|IsaTest|LetterboxKernels|MaxPoolTest|NativeInt8|NativeProvider|NativeProviderAlone|'
dependent+='PointwiseTest|TableTest|TensorMap|TensorMatMul|TensorSoftmax|TensorSteps)\.'
# Of the convolutions, which take minutes, a variant of each type of numbers.
dependent+='|EveryTacticMatchesTheOracle/(f32_f32_f32_dense_activation1|u8_u8_u8_dense_table_activation1|u8_u8_f32_dense_activation0|f16_f16_f16_scatter_activation1)$'
# The whole demo model, a definition in double precision and a naive search are minutes under emulation.
slow='^(NativeInt8\.DemoModel.*|Nms\.EqualsTheNaiveOneOnRandomSets|Attention\.MatchesTheDefinitionForEveryKindOfScores)$'
# Slots, topics and files are the same on every CPU.
elsewhere='^(Decoders|Nms|Postprocessor|ThreadPoolTest|Pools|SlotWord|Topics|TopicsBothWays|SecondUser|TruncatedFiles|'
elsewhere+='HostilePeers|DeadSubscriber|ForeignFiles|OwnFiles|ByteLocks|FullSharedMemory|Names|Domain.*|FileIoTest|'
elsewhere+='CoresTest|ThreadCounts|UsableCores|Text|HeadSpec|InstructionSetTest|TrustedFolder|kernels)\.'

failed=()
last=${cpus##*,}
for cpu in ${cpus//,/ }; do
  step "arm64: unit tests as $cpu"
  wanted=$dependent
  [ "$cpu" != "$last" ] || wanted="$dependent|$elsewhere"
  [ "$all" = no ] || { wanted=.; slow='_NOT_BUILT'; }
  QEMU_CPU=$cpu ctest --test-dir build/arm64 -R "$wanted" -E "$slow|_NOT_BUILT" -j "$jobs" --output-on-failure \
    --no-tests=error || failed+=("$cpu")
done
[ ${#failed[@]} -eq 0 ] || { echo "tests/arm64.sh: tests failed as: ${failed[*]}" >&2; exit 1; }

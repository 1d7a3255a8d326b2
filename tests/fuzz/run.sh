#!/bin/sh
# Runs every fuzz target (or those named) for a bounded time. What it finds is left in
# BUILD/fuzz/artifacts; put it into tests/fuzz/corpus/<target>/ with the fix.
#   tests/fuzz/run.sh [-t SECONDS] [-b BUILD] [TARGET ...]
set -eu
seconds=20
root=$(cd "$(dirname "$0")/../.." && pwd)
build=$root/build/fuzz
while getopts t:b: option; do
  case $option in
    t) seconds=$OPTARG ;;
    b) build=$OPTARG ;;
    *) exit 2 ;;
  esac
done
shift $((OPTIND - 1))
[ $# -gt 0 ] || set -- onnx plan calibration metadata message launch parameters mcap cdr

work=$build/fuzz
programs=$build/bin
mkdir -p "$work/artifacts"
"$programs/fuzz_write_seeds" "$work/seeds"
status=0
for target in "$@"; do
  mkdir -p "$work/corpus/$target"
  found=$root/tests/fuzz/corpus/$target
  [ -d "$found" ] || found=
  echo "== $target, $seconds s"
  # OpenMP's idle threads would spin; leaks inside protobuf's and yaml-cpp's statics are reachable.
  OMP_NUM_THREADS=1 "$programs/fuzz_$target" \
    -max_total_time="$seconds" -timeout=20 -rss_limit_mb=3000 -max_len=16384 \
    -artifact_prefix="$work/artifacts/$target-" -print_final_stats=1 -verbosity=0 \
    "$work/corpus/$target" "$work/seeds/$target" $found || status=1
done
exit $status

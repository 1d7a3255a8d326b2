#!/bin/sh
# Compiler launcher for the CPU kernels in a fuzz build: clang does not know the pragmas that choose
# their instruction sets. They stay under AddressSanitizer, but report no branches to libFuzzer.
shift  # clang++
for argument; do
  shift
  case $argument in
    -fsanitize=fuzzer-no-link) ;;
    -fsanitize=address,undefined) set -- "$@" -fsanitize=address ;;
    *) set -- "$@" "$argument" ;;
  esac
done
exec g++ "$@"

#!/usr/bin/env bash
# That no object of a library of kernels has instructions beyond those that its name allows, so that no CPU
# meets one that it lacks: an object named after AVX-512 or AMX may have all, one named after AVX2 or AVX-VNNI
# nothing of AVX-512, all others nothing of AVX. Functions that objects share (in sections of their own, of which
# the linker keeps any one) must run everywhere, whatever object they stand in.
#
#   instruction_sets.sh LIBRARY.a
#   instruction_sets.sh --self-test LIBRARY.a     that the check finds what it looks for
set -euo pipefail

self_test=false
if [ "$1" = --self-test ]; then self_test=true; shift; fi
library=$1

check() {  # NAME of a member -> the name that its rules follow
  objdump -d --no-show-raw-insn "$library" | awk -v pretend="$1" '
    /^[^ ]+\.o: +file format/ {
      member = $1; sub(/:$/, "", member)
      rule = pretend != "" ? pretend : member
      level = rule ~ /avx512|amx/ ? 3 : rule ~ /avx2|avx_vnni/ ? 2 : 1
      objects++
    }
    /^Disassembly of section / { shared = $4 ~ /^\.text\._Z/ }
    /^[0-9a-f]+ <.*>:$/ { where = $2 }
    /^ *[0-9a-f]+:\t/ {
      allowed = shared ? 1 : level
      split($0, part, "\t"); text = part[2]
      split(text, word, " ")
      needs = text ~ /%zmm|%k[0-7]|%[xy]mm(1[6-9]|2[0-9]|3[01])|%tmm/ ? 3 : word[1] ~ /^v[a-z]/ && word[1] !~ /^ver[rw]/ ? 2 : 1
      if (needs == 2 && rule ~ /avx2/ && word[1] ~ /^vpdp/) needs = 3
      seen[needs]++
      if (needs > allowed && !((member, where) in told)) {
        told[member, where] = 1
        print member ": " where " has " text
        wrong++
      }
    }
    END {
      print objects " objects, " seen[1] " plain instructions, " seen[2] " of AVX, " seen[3] " of AVX-512"
      exit wrong > 0 || objects == 0
    }'
}

if $self_test; then
  for pretend in tiles_avx2.cpp.o kernel.cpp.o; do
    if check "$pretend" >/dev/null; then
      echo "every object passes as $pretend: the check finds nothing" >&2
      exit 1
    fi
  done
  exit 0
fi
check ""

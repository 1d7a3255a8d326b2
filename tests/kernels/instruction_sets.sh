#!/usr/bin/env bash
# That no object of a library of kernels has instructions beyond those that its name allows, so that no CPU
# meets one that it lacks: an object named after AVX-512 or AMX may have all, one named after AVX2 or AVX-VNNI
# nothing of AVX-512, all others nothing of AVX. Functions that objects share (in sections of their own, of which
# the linker keeps any one) must run everywhere, whatever object they stand in. On ARM only an object named after
# i8mm may have its products, only that or one named after dotprod dot products, and none anything later.
#
#   instruction_sets.sh LIBRARY.a                 OBJDUMP names the disassembler, else objdump
#   instruction_sets.sh --self-test LIBRARY.a     that the check finds what it looks for
set -euo pipefail

self_test=false
if [ "$1" = --self-test ]; then self_test=true; shift; fi
library=$1

check() {  # NAME of a member -> the name that its rules follow
  "${OBJDUMP:-objdump}" -d --no-show-raw-insn "$library" | awk -v pretend="$1" '
    /^[^ ]+\.o: +file format/ {
      member = $1; sub(/:$/, "", member)
      rule = pretend != "" ? pretend : member
      arm = /aarch64/
      level = rule ~ /avx512|amx|i8mm/ ? 3 : rule ~ /avx2|avx_vnni|dotprod/ ? 2 : 1
      objects++
    }
    /^Disassembly of section / { shared = $4 ~ /^\.text\._Z/ }
    /^[0-9a-f]+ <.*>:$/ { where = $2 }
    /^ *[0-9a-f]+:\t/ {
      allowed = shared ? 1 : level
      split($0, part, "\t"); text = part[2]
      split(text, word, " ")
      if (arm) {
        needs = word[1] ~ /^(bf|fmlal|fmlsl)|^(ld(add|clr|eor|set|[su](max|min))|swp|cas)/ || text ~ /[ {]z[0-9]/ ? 4 \
          : word[1] ~ /^(usdot|sudot|(us|s|u)mmla)$/ ? 3 : word[1] ~ /^[su]dot$/ ? 2 : 1
        if (word[1] ~ /^bf(m|i|xil|c)?$/) needs = 1
      } else needs = text ~ /%zmm|%k[0-7]|%[xy]mm(1[6-9]|2[0-9]|3[01])|%tmm/ ? 3 : word[1] ~ /^v[a-z]/ && word[1] !~ /^ver[rw]/ ? 2 : 1
      if (!arm && needs == 2 && rule ~ /avx2/ && word[1] ~ /^vpdp/) needs = 3
      seen[needs]++
      if (needs > allowed && !((member, where) in told)) {
        told[member, where] = 1
        print member ": " where " has " text
        wrong++
      }
    }
    END {
      print objects " objects, " seen[1] " plain instructions, " seen[2] + 0 (arm ? " of dotprod, " : " of AVX, ") \
        seen[3] + 0 (arm ? " of i8mm" : " of AVX-512")
      exit wrong > 0 || objects == 0
    }'
}

if $self_test; then
  lesser=tiles_avx2.cpp.o
  case $(ar t "$library") in *neon*) lesser=tiles_neon_dotprod.cpp.o ;; esac
  for pretend in "$lesser" kernel.cpp.o; do
    if check "$pretend" >/dev/null; then
      echo "every object passes as $pretend: the check finds nothing" >&2
      exit 1
    fi
  done
  exit 0
fi
check ""

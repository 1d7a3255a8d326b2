#!/usr/bin/env python3
"""How fast the NEON kernels could be: counts the instructions of their inner loops.

  arm64_counts.py LIBRARY.a NAME=INSPECT.json...

LIBRARY.a is libfovea_cpu_kernels.a of an ARM64 build, INSPECT.json what `fovea-engine inspect
--load-engine PLAN --layers --json` prints of an fp32 plan made on any machine. Prints the loops, and
the milliseconds of each network on four cores of Cortex-A76 or A78AE at 2.4 GHz if nothing but these
loops took time, beside those of multiply-adds alone. Both cores have two vector pipes of 128 bits, two
loads and four decoded instructions a cycle (Arm's software optimization guides); nothing is measured.
A wider decoder changes nothing, for the vector pipes are what every loop waits for.
"""
import json
import os
import re
import subprocess
import sys

CORES, GHZ = 4, 2.4
PIPES, LOADS, DECODED = 2, 2, 4
MACS = {"fmla": 4, "sdot": 16, "usmmla": 32, "smull": 8, "smull2": 8}
# (symbol, what it is, for which precision it stands)
LOOPS = [
    ("tile<Float128, 1, 6>", "neon f32, 16 channels x 6 pixels", "f32"),
    ("tile<Float128, 2, 3>", "neon f32, 32 channels x 3 pixels", None),
    ("tile<Dots128, 1, 6>", "neon_dotprod, 16 x 6", "int8"),
    ("tile<Dots128, 2, 3>", "neon_dotprod, 32 x 3", None),
    ("byte_tile<Matrices, 6>", "i8mm, 16 x 6", None),
    ("byte_tile<Products, 3>", "neon u8, 8 x 3", None),
]


def functions(library):
    objdump = os.environ.get("OBJDUMP", "aarch64-linux-gnu-objdump")
    text = subprocess.run([objdump, "-d", "-C", "--no-show-raw-insn", library], check=True,
                          capture_output=True, text=True).stdout
    found, name = {}, None
    for line in text.splitlines():
        head = re.match(r"[0-9a-f]+ <(.*)>:$", line)
        if head:
            name = re.sub(r"fovea::engine::kernels::|\(anonymous namespace\)::|^void |\(.*", "",
                          head[1])
            found[name] = []
        part = re.match(r" *([0-9a-f]+):\t(\S+)\s*(.*)", line)
        if part and name:
            found[name].append((int(part[1], 16), part[2], part[3]))
    return found


def inner_loop(code):
    """Of the bodies of backward branches the one with the most multiply-adds an instruction."""
    best = None
    for at, (_, op, operands) in enumerate(code):
        target = re.search(r"\b([0-9a-f]+) <", operands)
        if not op.startswith(("b.", "cb", "tb")) or not target:
            continue
        start = int(target[1], 16)
        body = [(o, x) for a, o, x in code[:at + 1] if a >= start]
        macs = sum(MACS.get(o, 0) for o, _ in body)
        if start <= code[at][0] and macs and (best is None or macs / len(body) > best[0]):
            best = (macs / len(body), macs, body)
    return best[1:]


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    code = functions(sys.argv[1])
    rates = {}
    print("| loop | multiply-adds | instructions | vector | loads | a cycle | of the pipes |")
    print("|---|---|---|---|---|---|---|")
    for symbol, what, precision in LOOPS:
        if symbol not in code:
            sys.exit(f"{sys.argv[1]} has no {symbol}; is it of an ARM64 build?")
        macs, body = inner_loop(code[symbol])
        loads = sum(op.startswith("ld") for op, _ in body)
        vector = sum(bool(re.search(r"\bv\d+\.", x)) and not op.startswith(("ld", "st"))
                     for op, x in body)
        cycles = max(vector / PIPES, loads / LOADS, len(body) / DECODED)
        best = max(MACS[op] for op, _ in body if op in MACS) * PIPES
        rates[precision] = (macs / cycles, best)
        print(f"| {what} | {macs} | {len(body)} | {vector} | {loads} | {macs / cycles:.1f} | "
              f"{macs / cycles / best:.0%} |")
    print("\n| network | GMAC | f32, Winograd | floor | int8 by SDOT | floor |\n|---|---|---|---|---|---|")
    for argument in sys.argv[2:]:
        name, path = argument.split("=", 1)
        with open(path, encoding="utf-8") as file:
            layers = json.load(file)["execution"]
        total = sum(layer["gflop"] for layer in layers) / 2
        products = sum(layer["gflop"] / (8 if "winograd" in layer["implementation"] else 2)
                       for layer in layers)
        cells = [f"{gmac / CORES / GHZ / rate * 1000:.1f}"
                 for gmac, precision in ((products, "f32"), (total, "int8"))
                 for rate in rates[precision]]
        print(f"| {name} | {total:.2f} | " + " | ".join(cells) + " |")


main()

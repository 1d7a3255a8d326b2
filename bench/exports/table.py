#!/usr/bin/env python3
"""What becomes of exported models, a row each: head, layers without a kernel of ours, difference to ONNX Runtime, what
8 bits cost, time, and agreement with the exporter's own predictor. Standard library only.

    bench/exports/table.py MODEL.onnx ... --pictures FOLDER [--calibration FOLDER]
                           [--truth FOLDER --compare SCRIPT] [--bin build/release/bin] [--json FILE]

ONNX Runtime is compared with where FOVEA_ORT_ROOT names it. TRUTH has <model>.json for a model, in the form that
`fovea predict --json` writes; SCRIPT TRUTH.json OURS.json [--coarse] prints one line and exits 0 when they agree
(--coarse for 16-bit models). Nothing is kept but the engine cache.
"""
import argparse, json, os, subprocess, sys, tempfile

OPTIONS = ["--builder-optimization-level", "1"]


def run(*command, check=True):
    """What a program writes to stdout; None and its last words where it fails."""
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    words = done.stderr.strip().splitlines()
    if check and done.returncode != 0:
        return None, words[-1] if words else f"exit {done.returncode}"
    return done.stdout, words[-1] if words else ""


def from_json(text):
    try:
        return json.loads(text) if text else None
    except ValueError:
        return None


def row_of(model, options):
    tool = os.path.join(options.bin, "fovea")
    name = os.path.basename(model).removesuffix(".onnx")
    row = {"model": name}
    inspected, problem = run(tool, "engine", "inspect", "--onnx", model, "--json")
    head = (from_json(inspected) or {}).get("model", {}).get("head") or {}
    row["head"] = " ".join(str(head.get(k) or "") for k in ("task", "kind")).strip() or "none"

    profile, problem = run(tool, "engine", "profile", "--onnx", model, "--duration", "0.3", "--json", *OPTIONS)
    profiled = from_json(profile)
    if profiled is None:
        row["refused"] = problem
        return row
    row["provider"] = profiled["provider"]
    row["ms"] = round(profiled["ms"], 2)
    reference = sorted({layer["operation"].split()[0] for layer in profiled["layers"] if layer["kernel"] == "reference"})
    share = sum(layer["share_pct"] for layer in profiled["layers"] if layer["kernel"] == "reference")
    row["reference"] = f"{', '.join(reference)} ({share:.0f} %)" if reference else "none"

    if os.environ.get("FOVEA_ORT_ROOT"):
        verified = from_json(run(tool, "engine", "verify", "--onnx", model, "--against", "onnxruntime", "--json",
                                 *OPTIONS, check=False)[0])
        if verified:
            row["difference"] = max(output["max_difference"] for output in verified["outputs"])
            row["cosine"] = min(output["cosine"] for output in verified["outputs"])

    if options.calibration:
        with tempfile.TemporaryDirectory() as folder:
            built = from_json(run(tool, "engine", "build", "--onnx", model, "--precision", "int8", "--calib",
                                  options.calibration, "--max-map-loss", "100", "--min-agreement", "0",
                                  "--save-engine", os.path.join(folder, "engine"), "--json", *OPTIONS)[0])
            trials = ((built or {}).get("accuracy") or {}).get("trials") or [{}]
            row["int8"] = trials[-1].get("agreement")

    if options.pictures:
        with tempfile.TemporaryDirectory() as folder:
            ours = os.path.join(folder, "ours.json")
            done, problem = run(os.path.join(options.bin, "fovea-predict"), model, options.pictures,
                                "score_threshold:=0.25", "iou_threshold:=0.7", "max_detections:=300",
                                "max_candidates:=30000", "builder_optimization_level:=1", "--json", ours)
            truth = os.path.join(options.truth or "", name + ".json")
            if done is None:
                row["agreement"] = "not decoded"
            elif options.compare and os.path.exists(truth):
                coarse = ["--coarse"] if "q16" in name or "q8" in name else []
                said, _ = run(sys.executable, options.compare, truth, ours, *coarse, check=False)
                row["agreement"] = said.strip()
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    for option in ("pictures", "calibration", "truth", "compare", "json"):
        parser.add_argument("--" + option)
    parser.add_argument("--bin", default="build/release/bin")
    options = parser.parse_args()
    rows = []
    print("| model | head | provider | on the reference | difference to ONNX Runtime | int8 keeps | f32 ms | agreement |")
    print("|---|---|---|---|---|---|---|---|")
    for model in options.models:
        row = row_of(model, options)
        rows.append(row)
        kept = f"{row['int8']:.0f} %" if row.get("int8") is not None else "-"
        difference = f"{row['difference']:.2g} (cosine {row['cosine']:.6f})" if "difference" in row else "-"
        if "refused" in row:
            print(f"| {row['model']} | {row['head']} | refused: {row['refused']} | | | | | |", flush=True)
        else:
            print(f"| {row['model']} | {row['head']} | {row['provider']} | {row['reference']} | {difference} | {kept} | {row['ms']} "
                  f"| {row.get('agreement', '-')} |", flush=True)
    if options.json:
        with open(options.json, "w") as file:
            json.dump(rows, file, indent=1)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Quantises an ONNX model for OpenVINO as its users do it, with NNCF's defaults.

    pip install openvino nncf opencv-python-headless      # in an environment outside the project
    python3 bench/engine/openvino_int8.py model.onnx FOLDER_WITH_PICTURES model.int8.xml

fovea-bench-engine takes `model.int8.xml` beside `model.onnx` as OpenVINO's INT8 contestant. The input size is the model's,
or 640 x 640 where it is open.
"""
import pathlib
import sys

import cv2
import nncf
import numpy as np
import openvino as ov


def main() -> int:
    if len(sys.argv) != 4:
        print(__doc__, file=sys.stderr)
        return 2
    model_file, folder, target = sys.argv[1:]
    model = ov.Core().read_model(model_file)
    shape = model.inputs[0].partial_shape
    size = [640 if shape[i].is_dynamic else shape[i].get_length() for i in (2, 3)]
    model.reshape({model.inputs[0]: [1, 3, *size]})
    files = sorted(f for f in pathlib.Path(folder).rglob("*") if f.suffix.lower() in (".jpg", ".jpeg", ".png", ".bmp"))
    if not files:
        print(f"{folder}: no pictures", file=sys.stderr)
        return 1

    def planes(file: pathlib.Path) -> np.ndarray:
        picture = cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB)
        picture = cv2.resize(picture, (size[1], size[0]))
        return picture.transpose(2, 0, 1)[None].astype(np.float32) / 255

    quantised = nncf.quantize(model, nncf.Dataset(files, planes), subset_size=min(300, len(files)))
    ov.save_model(quantised, target)
    return 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Small models with the heads of YOLOX, YOLOv6 (also of gray pictures), YOLO-NAS, DAMO-YOLO and PP-YOLOE, of random weights and without metadata,
as their exporters write them; and what ONNX Runtime and each family's published rule find with them, beside `fovea predict`.

    bench/exports/families.py PICTURES... [--bin build/release/bin] [--keep FOLDER]

Needs numpy, onnx, onnxruntime and OpenCV. Objects pair by class, score (0.01) and overlap (0.95). Exit status 1 where
more than 4 of 100 have no partner: among hundreds of random objects a byte of the resized picture moves a few.
"""
import argparse, json, os, subprocess, sys, tempfile

import cv2
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

SIDE = 320
STRIDES = (8, 16, 32)
CLASSES = 6
BINS = 17
SCORE, OVERLAP, MOST = 0.3, 0.7, 300


class Graph:
    """Nodes and constants, by name of their output."""

    def __init__(self, seed):
        self.random = np.random.default_rng(seed)
        self.nodes, self.constants = [], []
        self.channels = 3

    def constant(self, array):
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def add(self, op, *inputs, **attributes):
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], **attributes))
        return name

    def conv(self, x, channels, out, kernel=1, stride=1, spread=1.0, bias=0.0):
        weights = self.random.normal(0, spread / np.sqrt(channels * kernel * kernel), (out, channels, kernel, kernel))
        return self.add("Conv", x, self.constant(weights.astype(np.float32)),
                        self.constant(np.full(out, bias, np.float32)), kernel_shape=[kernel, kernel],
                        strides=[stride, stride], pads=[kernel // 2] * 4)

    def silu(self, x):
        return self.add("Mul", x, self.add("Sigmoid", x))

    def slice(self, x, first, end, axis, step=1):
        return self.add("Slice", x, *(self.constant(np.array([v], np.int64)) for v in (first, end, axis, step)))

    def flat(self, x, channels):
        return self.add("Reshape", x, self.constant(np.array([1, channels, -1], np.int64)))

    def save(self, path, outputs, opset):
        value = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
        nodes = self.nodes + [helper.make_node("Identity", [v], [name]) for name, v in outputs]
        graph = helper.make_graph(nodes, "family", [helper.make_tensor_value_info(
            "images", TensorProto.FLOAT, [1, self.channels, SIDE, SIDE])], [value(name) for name, _ in outputs], self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
        onnx.save(onnx.shape_inference.infer_shapes(model), path)


def grid(offset=0.0):
    cells = [np.stack(np.meshgrid(np.arange(SIDE // s), np.arange(SIDE // s)), -1).reshape(-1, 2) for s in STRIDES]
    return (np.concatenate(cells)[None] + offset).astype(np.float32)


def strides():
    return np.concatenate([np.full((SIDE // s) ** 2, s) for s in STRIDES]).reshape(1, -1, 1).astype(np.float32)


def backbone(g, focus, scale):
    """A feature map per stride. `scale` brings values of a picture to about one."""
    x = g.add("Mul", "images", g.constant(np.float32(scale))) if not focus else "images"
    channels = g.channels
    if focus:
        parts = [g.slice(g.slice("images", i % 2, 1 << 30, 2, 2), i // 2, 1 << 30, 3, 2) for i in range(4)]
        x, channels = g.add("Concat", *parts, axis=1), 12
    x = g.silu(g.conv(x, channels, 16, 3, 1 if focus else 2, 3.0 * (scale if focus else 1)))
    x = g.silu(g.conv(x, 16, 24, 3, 2, 3.0))
    maps = []
    for _ in STRIDES:
        x = g.silu(g.conv(x, 24, 24, 3, 2, 3.0))
        maps.append(x)
    return maps


def yolox(path, seed, decoded):
    g = Graph(seed)
    levels = []
    for x in backbone(g, True, 1 / 128):
        parts = [g.conv(x, 24, 4, spread=0.6), g.add("Sigmoid", g.conv(x, 24, 1, spread=3.0)),
                 g.add("Sigmoid", g.conv(x, 24, CLASSES, spread=3.0, bias=-2.0))]
        levels.append(g.flat(g.add("Concat", *parts, axis=1), 5 + CLASSES))
    rows = g.add("Transpose", g.add("Concat", *levels, axis=2), perm=[0, 2, 1])
    if decoded:
        at, by = g.constant(grid()), g.constant(strides())
        xy = g.add("Mul", g.add("Add", g.slice(rows, 0, 2, 2), at), by)
        wh = g.add("Mul", g.add("Exp", g.slice(rows, 2, 4, 2)), by)
        rows = g.add("Concat", xy, wh, g.slice(rows, 4, 5 + CLASSES, 2), axis=2)
    g.save(path, [("output", rows)], 11)


def distances(g, scale):
    """Sides [1, anchors, 4] in cells, out of distributions, and scores [1, anchors, classes]."""
    boxes, scores = [], []
    for x in backbone(g, False, scale):
        boxes.append(g.flat(g.conv(x, 24, 4 * BINS, spread=1.5), 4 * BINS))
        scores.append(g.flat(g.add("Sigmoid", g.conv(x, 24, CLASSES, spread=0.05, bias=-2.0)), CLASSES))
    turned = lambda parts: g.add("Transpose", g.add("Concat", *parts, axis=2), perm=[0, 2, 1])
    bins = g.add("Reshape", turned(boxes), g.constant(np.array([1, -1, 4, BINS], np.int64)))
    mean = g.add("MatMul", g.add("Softmax", bins, axis=3), g.constant(np.arange(BINS, dtype=np.float32).reshape(-1, 1)))
    return g.add("Reshape", mean, g.constant(np.array([1, -1, 4], np.int64))), turned(scores)


def corners(g, sides, offset):
    at, by = g.constant(grid(offset)), g.constant(strides())
    both = g.add("Concat", g.add("Sub", at, g.slice(sides, 0, 2, 2)), g.add("Add", at, g.slice(sides, 2, 4, 2)), axis=2)
    return g.add("Mul", both, by)


def yolov6(path, seed, channels=3):
    g = Graph(seed)
    g.channels = channels
    sides, scores = distances(g, 1.0)
    box = corners(g, sides, 0.5)
    low, high = g.slice(box, 0, 2, 2), g.slice(box, 2, 4, 2)
    centre = g.add("Mul", g.add("Add", low, high), g.constant(np.float32(0.5)))
    ones = g.constant(np.ones((1, strides().shape[1], 1), np.float32))
    g.save(path, [("outputs", g.add("Concat", centre, g.add("Sub", high, low), ones, scores, axis=2))], 13)


def pair(path, seed, offset, scale, columns=False, scores_first=False):
    g = Graph(seed)
    sides, scores = distances(g, scale)
    if columns:
        scores = g.add("Transpose", scores, perm=[0, 2, 1])
    outputs = [("boxes", corners(g, sides, offset)), ("scores", scores)]
    g.save(path, outputs[::-1] if scores_first else outputs, 13)


def letterbox(picture, top_left, border):
    height, width = picture.shape[:2]
    ratio = min(SIDE / height, SIDE / width)
    w, h = (int(width * ratio), int(height * ratio)) if top_left else (round(width * ratio), round(height * ratio))
    x, y = (0, 0) if top_left else (round((SIDE - w) / 2 - 0.1), round((SIDE - h) / 2 - 0.1))
    out = np.full((SIDE, SIDE, 3), border, np.uint8)
    out[y:y + h, x:x + w] = cv2.resize(picture, (w, h), interpolation=cv2.INTER_LINEAR)
    return out, lambda p: (p - (x, y)) / (w / width, h / height)


def fed(picture, kind):
    """float32 [1, 3, h, w] as the family's own tools make it of BGR, and the way back of points."""
    if kind == "stretch":
        image = cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
        back = lambda p: p * (picture.shape[1] / SIDE, picture.shape[0] / SIDE)
    else:
        image, back = letterbox(picture, kind in ("yolox", "damo"), 0 if kind == "damo" else 114)
    if kind == "gray":
        gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(np.float32) / 255
        return gray[None, None], back
    if kind != "yolox":
        image = image[..., ::-1]
    values = image.astype(np.float32)
    if kind not in ("yolox", "damo"):
        values /= 255
    return np.ascontiguousarray(values.transpose(2, 0, 1)[None]), back


def boxes_of(name, outputs):
    """Corners [n, 4] and scores [n, classes] by the published rule."""
    if name.startswith(("yolox", "yolov6")):
        rows = outputs["output" if name.startswith("yolox") else "outputs"][0].copy()
        if name == "yolox":
            rows[:, :2] = (rows[:, :2] + grid()[0]) * strides()[0]
            rows[:, 2:4] = np.exp(rows[:, 2:4]) * strides()[0]
        half = rows[:, 2:4] / 2
        return np.concatenate([rows[:, :2] - half, rows[:, :2] + half], 1), rows[:, 4:5] * rows[:, 5:]
    scores = outputs["scores"][0]
    return outputs["boxes"][0], scores.T if name == "ppyoloe" else scores


def iou(box, boxes):
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    inner = np.prod(np.clip(high - low, 0, None), 1)
    area = lambda b: np.prod(b[..., 2:] - b[..., :2], -1)
    return inner / np.maximum(area(box) + area(boxes) - inner, 1e-9)


def truth(name, kind, session, picture):
    values, back = fed(picture, kind)
    names = [o.name for o in session.get_outputs()]
    boxes, scores = boxes_of(name, dict(zip(names, session.run(None, {"images": values}))))
    limit = np.array([picture.shape[1], picture.shape[0]] * 2)
    boxes = np.concatenate([back(boxes[:, :2]), back(boxes[:, 2:])], 1)
    clipped = np.clip(boxes, 0, limit)
    best, label = scores.max(1), scores.argmax(1)
    order = [i for i in np.argsort(-best, kind="stable") if best[i] > SCORE]
    order = [i for i in order if (clipped[i, 2:] > clipped[i, :2]).all()]
    kept = []
    for i in order:
        rivals = [k for k in kept if label[k] == label[i]]
        if not rivals or iou(boxes[i], boxes[rivals]).max() <= OVERLAP:
            kept.append(i)
    return [(int(label[i]), float(best[i]), clipped[i]) for i in kept[:MOST]]


def unpaired(wanted, got):
    left = list(got)
    missing = 0
    for label, score, box in wanted:
        near = [k for k, (l, s, b) in enumerate(left)
                if l == label and abs(s - score) <= 0.01 and iou(np.array(box), np.array([b]))[0] >= 0.95]
        if near:
            left.pop(near[0])
        else:
            missing += 1
    return missing, len(left)


MODELS = {
    "yolox": ("yolox", lambda path: yolox(path, 1, False)),
    "yolox_decoded": ("yolox", lambda path: yolox(path, 2, True)),
    "yolov6": ("usual", lambda path: yolov6(path, 3)),
    "yolov6_gray": ("gray", lambda path: yolov6(path, 15, 1)),
    "yolonas": ("usual", lambda path: pair(path, 4, 0.5, 1.0)),
    "damoyolo": ("damo", lambda path: pair(path, 5, 0.0, 1 / 255, scores_first=True)),
    "ppyoloe": ("stretch", lambda path: pair(path, 6, 0.5, 1.0, columns=True)),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", nargs="+")
    parser.add_argument("--bin", default="build/release/bin")
    parser.add_argument("--keep")
    options = parser.parse_args()
    folder = options.keep or tempfile.mkdtemp(prefix="fovea_families_")
    os.makedirs(folder, exist_ok=True)
    bad = False
    for name, (kind, make) in MODELS.items():
        path = os.path.join(folder, name + ".onnx")
        make(path)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        done = subprocess.run([os.path.join(options.bin, "fovea-predict"), path, *options.pictures, "--json", "-",
                               f"score_threshold:={SCORE}", f"iou_threshold:={OVERLAP}", f"max_detections:={MOST}",
                               "max_candidates:=4096", "builder_optimization_level:=0"], capture_output=True, text=True)
        if done.returncode != 0:
            print(f"{name}: {done.stderr.strip().splitlines()[-1]}")
            bad = True
            continue
        count = missing = beyond = 0
        for entry in json.loads(done.stdout)["pictures"]:
            wanted = truth(name, kind, session, cv2.imread(entry["file"]))
            got = [(d["class_id"], d["score"], d["box"]) for d in entry["detections"]]
            lost, more = unpaired(wanted, got)
            count, missing, beyond = count + len(wanted), missing + lost, beyond + more
        print(f"{name}: {count - missing} of {count} objects found, {beyond} beyond")
        bad = bad or count == 0 or missing + beyond > 0.04 * count
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()

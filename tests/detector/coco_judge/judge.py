"""Scores answers by COCO's own evaluation, so that ours can be compared with it. Prints {"map50_95", "map50",
"box_map50_95"} as JSON; exit code 77 where it lacks what the task needs.

    judge.py FILE

FILE: {"task", "pictures": [{"width", "height", "truth": [OBJECT], "found": [OBJECT]}]}, an OBJECT of {"class",
"box": [x1, y1, x2, y2], "score", "runs", "keypoints": [[x, y, visibility]], "turned": [x, y, width, height, theta]};
of a classifier pictures of {"truth": class, "found": [classes, best first]}. Where COCO's rules leave a choice, it is
the one that nodes/detector/accuracy states: no limit of detections, no areas, a person covers 0.53 of a box.
"""
import contextlib
import io
import json
import sys

import numpy
from pycocotools import mask as runs
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

PERSON_COVERS = 0.53


def annotation(of, picture, number, entry, size):
    x1, y1, x2, y2 = entry["box"]
    made = {"id": number, "image_id": picture, "category_id": entry["class"] + 1, "bbox": [x1, y1, x2 - x1, y2 - y1],
            "area": (x2 - x1) * (y2 - y1), "iscrowd": 0, "score": entry.get("score", 0)}
    if of == "segm":
        made["segmentation"] = runs.frPyObjects({"counts": entry["runs"], "size": size}, *size)
    if of == "keypoints":
        made["keypoints"] = [value for x, y, shown in entry["keypoints"] for value in (x, y, 2 if shown >= 0.5 else 0)]
        made["num_keypoints"] = sum(point[2] >= 0.5 for point in entry["keypoints"])
        made["area"] *= PERSON_COVERS
    return made


class TurnedEvaluation(COCOeval):
    """With Ultralytics' ProbIoU in the place of the overlap of upright boxes."""

    turned = {}  # by id of an annotation, of truth and of what was found

    def computeIoU(self, image, category):
        truth, found = self._gts[image, category], self._dts[image, category]
        if not truth or not found:
            return []
        found = [found[i] for i in numpy.argsort([-one["score"] for one in found], kind="mergesort")]
        import torch
        from ultralytics.utils.metrics import batch_probiou

        boxes = [torch.tensor([self.turned[kind, one["id"]] for one in some], dtype=torch.float64)
                 for kind, some in (("found", found), ("truth", truth))]
        return batch_probiou(*boxes).numpy()


def score(of, case):
    truth, found, turned = [], [], {}
    for number, picture in enumerate(case["pictures"], 1):
        size = [picture["height"], picture["width"]]
        for kind, to in (("truth", truth), ("found", found)):
            for entry in picture[kind]:
                to.append(annotation(of, number, len(to) + 1, entry, size))
                turned[kind, len(to)] = entry.get("turned")
    classes = sorted({one["category_id"] for one in truth + found})
    images = [{"id": number, "width": picture["width"], "height": picture["height"]}
              for number, picture in enumerate(case["pictures"], 1)]

    def coco(annotations):
        made = COCO()
        made.dataset = {"images": images, "annotations": annotations, "categories": [{"id": c} for c in classes]}
        made.createIndex()
        return made

    with contextlib.redirect_stdout(io.StringIO()):
        kind = TurnedEvaluation if of == "turned" else COCOeval
        evaluation = kind(coco(truth), coco(found), "bbox" if of == "turned" else of)
        if of == "turned":
            evaluation.turned = turned
        evaluation.params.maxDets = [10000]
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        if of == "keypoints":
            points = len(truth[0]["keypoints"]) // 3
            if points != 17:
                evaluation.params.kpt_oks_sigmas = numpy.full(points, 1 / points)
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][:, :, :, 0, 0]  # threshold, recall, class
    of_truth = precision[:, :, (precision >= 0).all((0, 1))]
    return float(of_truth.mean()), float(of_truth[0].mean())


case = json.load(open(sys.argv[1]))
if case["task"] == "classify":
    first = numpy.mean([p["found"][:1] == [p["truth"]] for p in case["pictures"]])
    five = numpy.mean([p["truth"] in p["found"][:5] for p in case["pictures"]])
    print(json.dumps({"map50_95": float(first), "map50": float(five)}))
    sys.exit()
if case["task"] == "obb":
    try:
        import ultralytics  # noqa: F401
    except ImportError:
        print("turned boxes are judged by Ultralytics, which is not installed", file=sys.stderr)
        sys.exit(77)
own, lax = score({"segment": "segm", "pose": "keypoints", "obb": "turned"}.get(case["task"], "bbox"), case)
print(json.dumps({"map50_95": own, "map50": lax, "box_map50_95": score("bbox", case)[0]}))

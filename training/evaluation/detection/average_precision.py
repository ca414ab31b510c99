"""COCO's and LVIS's average precision, by pycocotools."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from alphaclip.errors import AlphaClipError
from alphaclip.regions.rle import Rle
from alphaclip.training.datasets.examples import SIZES, Size
from alphaclip.training.datasets.expressions import Box
from alphaclip.training.evaluation.detection.detection_truth import Federated, Truth

Kind = Literal["bbox", "segm"]


@dataclass(frozen=True)
class Detection:
    """An object that was found and named.

    Attributes:
        example: the picture's id
        category: id of its class
        box: in pixels
        score: higher is surer
        rle: its mask, for ``segm``
    """

    example: str
    category: int
    box: Box
    score: float
    rle: Rle | None = None


class AveragePrecision:
    """Precision at every recall, of which means are taken.

    Args:
        precision: float64 (thresholds, recalls, classes, sizes), -1 where a class has no object
        thresholds: of the IoU
        categories: ids in the order of the third axis
    """

    def __init__(
        self, precision: np.ndarray, thresholds: Sequence[float], categories: Sequence[int]
    ) -> None:
        self._precision = precision
        self._thresholds = np.asarray(thresholds)
        self._categories = categories

    def mean(
        self,
        categories: Collection[int] | None = None,
        threshold: float | None = None,
        size: Size | Literal["all"] = "all",
    ) -> float:
        """Average precision in percent.

        Args:
            categories: mean over these classes; None takes all. Classes without objects do not
                count
            threshold: of the IoU; None takes the mean over 0.50, 0.55 ... 0.95
            size: of the objects, by COCO's limits

        Returns:
            NaN where no class has an object
        """
        found = self._precision[..., ("all", *SIZES).index(size)]
        if categories is not None:
            found = found[:, :, [place in categories for place in self._categories]]
        if threshold is not None:
            found = found[np.isclose(self._thresholds, threshold)]
        known = found[found > -1]
        return 100 * float(known.mean()) if known.size else float("nan")


def average_precision(
    truth: Truth, detections: Iterable[Detection], kind: Kind = "bbox", most: int = 100
) -> AveragePrecision:
    """Compares detections with the truth.

    With ``truth.federated``, LVIS's rules hold exactly (Gupta et al. 2019, and the ``lvis``
    package 0.5.3): the ``most`` surest detections of a picture are taken over all classes; those
    of classes that are not known to be present or absent are dropped; those that fit no object of
    a class which is not annotated throughout do not count. Else COCO's hold: ``most`` detections
    of each class and picture, and those that fit a crowd do not count.

    Args:
        truth: what is there
        detections: what was found, of pictures in ``truth``
        kind: whether boxes or masks are compared
        most (100): see above; 300 is LVIS's

    Raises:
        AlphaClipError: if a detection is of an unknown picture, or has no mask for ``segm``
    """
    found = list(detections)
    _check(truth, found, kind)
    if truth.federated is not None:
        found = _known(truth, truth.federated, _surest(found, most))
    with redirect_stdout(io.StringIO()):
        numbers = _numbers(truth)
        objects = _coco(truth, truth.objects, numbers)
        results = _coco(truth, _results(found, kind), numbers)
        judge = _evaluator(truth, objects, results, kind, numbers)
        judge.params.maxDets = [most]
        judge.evaluate()
        judge.accumulate()
    return AveragePrecision(
        judge.eval["precision"][..., 0], judge.params.iouThrs, judge.params.catIds
    )


def _check(truth: Truth, detections: Sequence[Detection], kind: Kind) -> None:
    pictures = {example.id for example in truth.examples}
    for found in detections:
        if found.example not in pictures:
            raise AlphaClipError(f"a detection is of picture {found.example}, not in {truth.name}")
        if kind == "segm" and found.rle is None:
            raise AlphaClipError(
                f"a detection of picture {found.example} has no mask: compare boxes ('bbox'), or "
                "take proposals with masks"
            )


def _surest(detections: Sequence[Detection], most: int) -> list[Detection]:
    of_picture: dict[str, list[Detection]] = defaultdict(list)
    for found in sorted(detections, key=lambda found: -found.score):
        if len(of_picture[found.example]) < most:
            of_picture[found.example].append(found)
    return [found for some in of_picture.values() for found in some]


def _known(truth: Truth, rules: Federated, detections: Iterable[Detection]) -> list[Detection]:
    present = {(found["image_id"], found["category_id"]) for found in truth.objects}
    return [
        found
        for found in detections
        if (found.example, found.category) in present
        or found.category in rules.absent.get(found.example, frozenset())
    ]


def _results(detections: Iterable[Detection], kind: Kind) -> list[dict[str, Any]]:
    from pycocotools import mask as coco_mask

    return [
        {
            "id": place,
            "image_id": found.example,
            "category_id": found.category,
            "bbox": list(found.box),
            "segmentation": found.rle,
            "area": found.box[2] * found.box[3]
            if kind == "bbox" or found.rle is None
            else float(coco_mask.area(found.rle)),
            "score": found.score,
            "iscrowd": 0,
        }
        for place, found in enumerate(detections, start=1)
    ]


def _numbers(truth: Truth) -> dict[str, int]:
    """Of each picture; equal scores are ranked in their order, which is that of the file's ids."""
    ids = [example.id for example in truth.examples]
    if all(picture.isdecimal() for picture in ids):
        return {picture: int(picture) for picture in ids}
    return {picture: place for place, picture in enumerate(ids)}


def _coco(truth: Truth, annotations: Iterable[Any], numbers: Mapping[str, int]) -> Any:
    from pycocotools.coco import COCO

    coco = COCO()
    coco.dataset = {
        "images": [
            {"id": numbers[example.id], "height": example.height, "width": example.width}
            for example in truth.examples
        ],
        "categories": [{"id": place, "name": name} for place, name in truth.classes.items()],
        "annotations": [
            {**annotation, "image_id": numbers[annotation["image_id"]]}
            for annotation in annotations
        ],
    }
    coco.createIndex()
    return coco


def _evaluator(
    truth: Truth, objects: Any, results: Any, kind: Kind, numbers: Mapping[str, int]
) -> Any:
    from pycocotools.cocoeval import COCOeval

    known = {} if truth.federated is None else truth.federated.partial
    partial = {numbers[picture]: some for picture, some in known.items() if picture in numbers}

    class Evaluator(COCOeval):
        """With LVIS's rule for classes that are not annotated throughout."""

        def evaluateImg(self, picture: int, category: int, area: Any, most: int) -> Any:
            judged = super().evaluateImg(picture, category, area, most)
            if judged is not None and category in partial.get(picture, ()):
                judged["dtIgnore"] = judged["dtIgnore"] | (judged["dtMatches"] == 0)
            return judged

    return Evaluator(objects, results, kind)

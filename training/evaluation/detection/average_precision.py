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
from alphaclip.training.datasets.examples import SIZES, Box, Size
from alphaclip.training.evaluation.detection.truth import Federated, Truth
from alphaclip.training.evaluation.outcomes import percent

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


@dataclass(frozen=True, eq=False)
class AveragePrecision:
    """Precision at every recall, of which means are taken.

    Attributes:
        precision: float64 (thresholds, recalls, classes, sizes), -1 where a class has no object
        thresholds: of the IoU
        categories: ids in the order of the third axis
    """

    precision: np.ndarray
    thresholds: np.ndarray
    categories: Sequence[int]

    def mean(
        self,
        categories: Collection[int] | None = None,
        threshold: float | None = None,
        size: Size | Literal["all"] = "all",
    ) -> float:
        """Average precision in percent; NaN where no class has an object.

        Args:
            categories: mean over these classes; None takes all. Classes without objects do not
                count
            threshold: of the IoU; None takes the mean over 0.50, 0.55 ... 0.95
            size: of the objects, by COCO's limits
        """
        precision = self.precision[..., ("all", *SIZES).index(size)]
        if categories is not None:
            precision = precision[:, :, [key in categories for key in self.categories]]
        if threshold is not None:
            precision = precision[np.isclose(self.thresholds, threshold)]
        return percent(precision[precision > -1])


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
    some = list(detections)
    _check(truth, some, kind)
    if truth.federated is not None:
        some = _federated(truth, truth.federated, some, most)
    numbers = _numbers(truth)
    results = [
        {
            "image_id": numbers[one.example],
            "category_id": one.category,
            "score": one.score,
            **({"bbox": list(one.box)} if kind == "bbox" else {"segmentation": one.rle}),
        }
        for one in some
    ]
    with redirect_stdout(io.StringIO()):  # pycocotools prints what it does
        judge = _evaluator(truth, results, kind, numbers)
        judge.params.maxDets = [most]
        judge.evaluate()
        judge.accumulate()
    precision = judge.eval["precision"][..., 0]
    return AveragePrecision(precision, np.asarray(judge.params.iouThrs), judge.params.catIds)


def _check(truth: Truth, detections: Sequence[Detection], kind: Kind) -> None:
    pictures = {example.id for example in truth.examples}
    for one in detections:
        if one.example not in pictures:
            raise AlphaClipError(f"a detection is of picture {one.example}, not in {truth.name}")
        if kind == "segm" and one.rle is None:
            raise AlphaClipError(
                f"a detection of picture {one.example} has no mask: compare boxes ('bbox'), or "
                "take proposals with masks"
            )


def _federated(
    truth: Truth, rules: Federated, detections: Sequence[Detection], most: int
) -> list[Detection]:
    """The surest of each picture, of classes that are known to be there or known to be absent."""
    of_picture: dict[str, list[Detection]] = defaultdict(list)
    for one in sorted(detections, key=lambda one: -one.score):
        if len(of_picture[one.example]) < most:
            of_picture[one.example].append(one)
    present = {(entry["image_id"], entry["category_id"]) for entry in truth.objects}
    return [
        one
        for some in of_picture.values()
        for one in some
        if (one.example, one.category) in present
        or one.category in rules.absent.get(one.example, frozenset())
    ]


def _numbers(truth: Truth) -> dict[str, int]:
    """Of each picture; equal scores are ranked in their order, which is that of the file's ids."""
    ids = [example.id for example in truth.examples]
    if all(picture.isdecimal() for picture in ids):
        return {picture: int(picture) for picture in ids}
    return {picture: number for number, picture in enumerate(ids)}


def _evaluator(
    truth: Truth, results: list[dict[str, Any]], kind: Kind, numbers: Mapping[str, int]
) -> Any:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    objects = COCO()
    objects.dataset = {
        "images": [
            {"id": numbers[example.id], "height": example.height, "width": example.width}
            for example in truth.examples
        ],
        "categories": [{"id": key, "name": name} for key, name in truth.classes.items()],
        # Ids of their own: pycocotools takes a match with the id 0 for none, and a text for no id.
        "annotations": [
            {**one, "id": number, "image_id": numbers[one["image_id"]]}
            for number, one in enumerate(truth.objects, 1)
        ],
    }
    objects.createIndex()
    listed = {} if truth.federated is None else truth.federated.partial
    partial = {numbers[picture]: some for picture, some in listed.items() if picture in numbers}

    class Evaluator(COCOeval):
        """With LVIS's rule for classes that are not annotated throughout."""

        def evaluateImg(self, picture: int, category: int, area: Any, most: int) -> Any:
            judged = super().evaluateImg(picture, category, area, most)
            if judged is not None and category in partial.get(picture, ()):
                judged["dtIgnore"] = judged["dtIgnore"] | (judged["dtMatches"] == 0)
            return judged

    # loadRes looks at the first result, so it cannot load none
    return Evaluator(objects, objects.loadRes(results) if results else COCO(), kind)

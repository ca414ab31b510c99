"""Average precision by COCO's and LVIS's rules, on cases computed by hand."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alphaclip.errors import AlphaClipError
from alphaclip.regions.rle import encode_rle
from alphaclip.training.datasets.examples import Example
from alphaclip.training.evaluation.detection.average_precision import Detection, average_precision
from alphaclip.training.evaluation.detection.truth import Federated, Truth

CAT, DOG = 1, 2
HERE, THERE = (10.0, 10.0, 40.0, 40.0), (60.0, 60.0, 20.0, 20.0)


def picture(name: str) -> Example:
    return Example(name, Path(name), 100, 100, ())


def found_at(number: int, example: str, category: int, box: Any, crowd: int = 0) -> dict[str, Any]:
    return {
        "id": number,
        "image_id": example,
        "category_id": category,
        "bbox": list(box),
        "area": box[2] * box[3],
        "iscrowd": crowd,
    }


@pytest.fixture
def truth() -> Truth:
    """A cat in each of two pictures, a dog in the first."""
    objects = (
        found_at(1, "1", CAT, HERE),
        found_at(2, "1", DOG, THERE),
        found_at(3, "2", CAT, HERE),
    )
    pictures = (picture("1"), picture("2"))
    return Truth("two", pictures, {CAT: "cat", DOG: "dog"}, objects)


PERFECT = [
    Detection("1", CAT, HERE, 0.9),
    Detection("1", DOG, THERE, 0.8),
    Detection("2", CAT, HERE, 0.7),
]


def test_average_precision__perfect(truth: Truth) -> None:
    judged = average_precision(truth, PERFECT)
    assert judged.mean() == pytest.approx(100)
    assert judged.mean(threshold=0.75) == pytest.approx(100)
    assert judged.mean({DOG}) == pytest.approx(100)
    assert judged.mean(size="small") == pytest.approx(100)
    assert judged.mean(size="medium") == pytest.approx(100)
    assert np.isnan(judged.mean(size="large"))


def test_average_precision__nothing_found(truth: Truth) -> None:
    assert average_precision(truth, []).mean() == 0


def test_average_precision__one_wrong_class(truth: Truth) -> None:
    called_cat = [PERFECT[0], replace(PERFECT[1], category=CAT), PERFECT[2]]
    judged = average_precision(truth, called_cat)
    assert judged.mean({DOG}) == 0
    # cats: right at 0.9, wrong at 0.8, right at 0.7: precision 1 up to recall 0.5 (51 of the 101
    # points), 2/3 beyond
    assert judged.mean({CAT}) == pytest.approx(100 * (51 + 50 * 2 / 3) / 101)
    assert judged.mean() == pytest.approx(judged.mean({CAT}) / 2)


def test_average_precision__loose_box_counts_up_to_its_overlap(truth: Truth) -> None:
    wide = (10.0, 10.0, 40.0, 64.0)  # IoU 40 / 64 = 0.625
    loose = [replace(found, box=wide) if found.category == CAT else found for found in PERFECT]
    judged = average_precision(truth, loose)
    assert judged.mean({CAT}, 0.5) == pytest.approx(100)
    assert judged.mean({CAT}, 0.75) == 0
    assert judged.mean({CAT}) == pytest.approx(30)  # 0.50, 0.55 and 0.60 of ten thresholds


def test_average_precision__a_second_box_on_the_same_object_is_wrong(truth: Truth) -> None:
    twice = [*PERFECT, Detection("1", DOG, THERE, 0.99)]
    assert average_precision(truth, twice).mean({DOG}) == pytest.approx(100)
    before = [*PERFECT, Detection("1", DOG, (0.0, 0.0, 5.0, 5.0), 0.99)]
    assert average_precision(truth, before).mean({DOG}) == pytest.approx(50)


def test_average_precision__crowds_take_any_number_and_give_none(truth: Truth) -> None:
    crowd = found_at(4, "2", DOG, (0.0, 0.0, 100.0, 100.0), crowd=1)
    judged = average_precision(
        replace(truth, objects=(*truth.objects, crowd)),
        [*PERFECT, Detection("2", DOG, HERE, 0.99), Detection("2", DOG, THERE, 0.98)],
    )
    assert judged.mean({DOG}) == pytest.approx(100)


def test_average_precision__at_most_so_many_of_a_class(truth: Truth) -> None:
    junk = [Detection("1", CAT, (0.0, 0.0, 5.0, 5.0), 0.95), *PERFECT]
    assert average_precision(truth, junk, most=2).mean({CAT}) < 100
    assert average_precision(truth, junk, most=1).mean({CAT}) == pytest.approx(100 * 0.5 * 51 / 101)


def test_average_precision__masks(truth: Truth) -> None:
    def mask(box: tuple[float, ...]) -> dict[str, Any]:
        x, y, w, h = map(int, box)
        canvas = np.zeros((100, 100), bool)
        canvas[y : y + h, x : x + w] = True
        return dict(encode_rle(canvas))

    objects = tuple({**o, "segmentation": mask(o["bbox"])} for o in truth.objects)
    masked = replace(truth, objects=objects)
    right = [replace(found, rle=mask(found.box)) for found in PERFECT]
    assert average_precision(masked, right, "segm").mean() == pytest.approx(100)
    half = [replace(found, rle=mask((*found.box[:3], found.box[3] / 2))) for found in PERFECT]
    assert average_precision(masked, half, "segm").mean(threshold=0.5) == pytest.approx(100)
    assert average_precision(masked, half, "segm").mean(threshold=0.75) == 0
    with pytest.raises(AlphaClipError, match="has no mask"):
        average_precision(masked, PERFECT, "segm")


def test_average_precision__unknown_picture(truth: Truth) -> None:
    with pytest.raises(AlphaClipError, match="picture 9, not in two"):
        average_precision(truth, [Detection("9", CAT, HERE, 0.5)])


def test_average_precision__names_that_are_no_numbers(truth: Truth) -> None:
    pictures = (picture("a"), picture("1"))
    objects = tuple({**o, "image_id": {"1": "a", "2": "1"}[o["image_id"]]} for o in truth.objects)
    found = [replace(d, example={"1": "a", "2": "1"}[d.example]) for d in PERFECT]
    assert average_precision(
        replace(truth, examples=pictures, objects=objects), found
    ).mean() == pytest.approx(100)


def federated(absent: dict[str, set[int]], partial: dict[str, set[int]]) -> Federated:
    return Federated(
        {name: frozenset(ids) for name, ids in absent.items()},
        {name: frozenset(ids) for name, ids in partial.items()},
    )


DOG_IN_2 = Detection("2", DOG, HERE, 0.99)


def test_average_precision__lvis_does_not_judge_what_nobody_looked_for(truth: Truth) -> None:
    unknown = replace(truth, federated=federated({}, {}))
    absent = replace(truth, federated=federated({"2": {DOG}}, {}))
    assert average_precision(truth, [*PERFECT, DOG_IN_2]).mean({DOG}) == pytest.approx(50)
    assert average_precision(unknown, [*PERFECT, DOG_IN_2]).mean({DOG}) == pytest.approx(100)
    assert average_precision(absent, [*PERFECT, DOG_IN_2]).mean({DOG}) == pytest.approx(50)


def test_average_precision__lvis_forgives_where_not_all_are_annotated(truth: Truth) -> None:
    wrong = [*PERFECT, Detection("1", DOG, HERE, 0.99)]
    rules = federated({}, {"1": {DOG}})
    assert average_precision(truth, wrong).mean({DOG}) == pytest.approx(50)
    assert average_precision(replace(truth, federated=rules), wrong).mean({DOG}) == pytest.approx(
        100
    )


def test_average_precision__lvis_limits_a_picture_over_all_classes(truth: Truth) -> None:
    rules = replace(truth, federated=federated({}, {}))
    assert average_precision(rules, PERFECT, most=1).mean({DOG}) == 0
    assert average_precision(rules, PERFECT, most=1).mean({CAT}) == pytest.approx(100)
    assert average_precision(truth, PERFECT, most=1).mean({DOG}) == pytest.approx(100)


def test_average_precision__agrees_with_cocos_own_summary(truth: Truth) -> None:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    rng = np.random.default_rng(0)
    pictures = tuple(picture(str(number)) for number in range(1, 21))
    objects, found = [], []
    for number in range(1, 61):
        example, category = str(rng.integers(1, 21)), int(rng.integers(1, 3))
        box = [*rng.uniform(0, 50, 2), *rng.uniform(4, 50, 2)]
        objects.append(found_at(number, example, category, box, int(rng.random() < 0.1)))
        near = tuple(np.maximum(np.array(box) + rng.normal(0, 4, 4), 1))
        found.append(Detection(example, category, near, round(float(rng.random()), 1)))
    many = replace(truth, examples=pictures, objects=tuple(objects))

    coco = COCO()
    coco.dataset = {
        "images": [{"id": number, "height": 100, "width": 100} for number in range(1, 21)],
        "categories": [{"id": CAT, "name": "cat"}, {"id": DOG, "name": "dog"}],
        "annotations": [{**o, "image_id": int(o["image_id"])} for o in objects],
    }
    coco.createIndex()
    results = [
        {
            "image_id": int(d.example),
            "category_id": d.category,
            "bbox": list(d.box),
            "score": d.score,
        }
        for d in found
    ]
    official = COCOeval(coco, coco.loadRes(results), "bbox")
    official.evaluate()
    official.accumulate()
    official.summarize()
    judged = average_precision(many, found)
    ours = [
        judged.mean(),
        judged.mean(threshold=0.5),
        judged.mean(threshold=0.75),
        judged.mean(size="small"),
        judged.mean(size="medium"),
    ]
    assert ours == pytest.approx(list(100 * official.stats[:5]), abs=1e-12)
    assert 5 < ours[0] < 95

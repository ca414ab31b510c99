"""Proposals from files and from SAM, and the file that keeps them."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alphaclip.errors import AlphaClipError, EmptyRegionError, ImageError
from alphaclip.regions.rle import encode_rle
from alphaclip.sam.masks import MaskLimits
from alphaclip.sam.sam import SamModel, load_sam
from alphaclip.training.datasets.examples import Example
from alphaclip.training.datasets.proposals import Proposal, read_proposals
from alphaclip.training.datasets.sources import MissingDataError
from alphaclip.training.evaluation.sam_proposals import (
    kept_in_file,
    masks_of_boxes,
    masks_of_everything,
    sam_settings,
)
from recipes.small_sam.scenes import ShapeScene, draw_scene

WEIGHTS = Path(__file__).parents[2] / "sam_vit_nano.safetensors"
LIMITS = MaskLimits(min_quality=0.7, min_stability=0.9)
BOX = (10.0, 20.0, 30.0, 40.0)


@pytest.fixture(scope="module")
def small() -> SamModel:
    return load_sam(WEIGHTS, "cpu")


@pytest.fixture(scope="module")
def scene() -> ShapeScene:
    drawn = (draw_scene(np.random.default_rng(2_000_000 + number)) for number in range(40))
    return next(scene for scene in drawn if len(scene.shapes) > 2)


@pytest.fixture
def example(scene: ShapeScene, tmp_path: Path) -> Example:
    path = tmp_path / "scene.png"
    Image.fromarray(scene.image).save(path)
    height, width = scene.image.shape[:2]
    return Example("7", path, width, height, ())


def boxes_of(scene: ShapeScene) -> list[tuple[float, ...]]:
    height, width = scene.image.shape[:2]
    return [tuple(np.array(s.box) * (width, height, width, height)) for s in scene.shapes]


def write(path: Path, entries: object) -> Path:
    path.write_text(json.dumps(entries))
    return path


def entry(picture: int, box: Sequence[float], score: float) -> dict:
    return {"image_id": picture, "category_id": 1, "bbox": list(box), "score": score}


def test_read_proposals__surest_first_and_at_most_so_many(tmp_path: Path) -> None:
    scores = (0.2, 0.9, 0.5, 0.04)
    entries = [entry(3, (n, 0, 5, 5), score) for n, score in enumerate(scores)]
    read = read_proposals(write(tmp_path / "p.json", entries), most=2)
    assert [p.objectness for p in read["3"]] == [0.9, 0.5]
    assert read["3"][0].box == (1, 0, 5, 5)


def test_read_proposals__a_box_named_twice_is_one_proposal(tmp_path: Path) -> None:
    entries = [entry(3, BOX, 0.4), {**entry(3, BOX, 0.6), "category_id": 2}, entry(4, BOX, 0.1)]
    read = read_proposals(write(tmp_path / "p.json", entries))
    assert {picture: [p.objectness for p in some] for picture, some in read.items()} == {
        "3": [0.6],
        "4": [0.1],
    }


def test_read_proposals__masks_have_their_own_boxes(tmp_path: Path) -> None:
    mask = np.zeros((50, 80), bool)
    mask[20:30, 40:60] = True
    masked = {"image_id": 3, "segmentation": dict(encode_rle(mask)), "score": 1}
    (read,) = read_proposals(write(tmp_path / "p.json", [masked]))["3"]
    assert read.box == (40, 20, 20, 10)
    example = Example("3", Path("x"), 80, 50, ())
    assert ((read.region(example).alpha_map(50, 80) > 127) == mask).all()
    with pytest.raises(AlphaClipError, match="mask of 50 x 80"):
        read.region(replace(example, width=90))


@pytest.mark.parametrize(
    "bad",
    [
        {"image_id": 3, "score": 0.5},
        {"bbox": [0, 0, 5, 5], "score": 0.5},
        entry(3, (0, 0, 5), 0.5),
        entry(3, (0, 0, 5, float("nan")), 0.5),
        entry(3, BOX, 7.0),
        {**entry(3, BOX, 0.5), "segmentation": [[0, 0, 5, 0, 5, 5]]},
        "box",
    ],
)
def test_read_proposals__bad_entry_is_named(tmp_path: Path, bad: object) -> None:
    path = write(tmp_path / "p.json", [entry(3, BOX, 0.5), bad])
    with pytest.raises(AlphaClipError, match=r"p\.json, entry 1"):
        read_proposals(path)


def test_read_proposals__no_such_file_or_another(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="COCO's format of results"):
        read_proposals(tmp_path / "none.json")
    with pytest.raises(AlphaClipError, match="expected a list"):
        read_proposals(write(tmp_path / "p.json", {"images": []}))
    (tmp_path / "torn.json").write_text('[{"image_id"')
    with pytest.raises(AlphaClipError, match="cannot be read as JSON"):
        read_proposals(tmp_path / "torn.json")


def test_proposal__box_without_area_or_outside() -> None:
    example = Example("3", Path("x"), 80, 50, ())
    for box in ((1.0, 1.0, 0.0, 5.0), (90.0, 1.0, 5.0, 5.0)):
        with pytest.raises(EmptyRegionError):
            Proposal(box).region(example)


def test_proposal__empty_mask_stands_for_its_box() -> None:
    empty = Proposal(BOX, 1.0, encode_rle(np.zeros((100, 100), bool)))
    seen = empty.region(Example("3", Path("x"), 100, 100, ())).alpha_map(100, 100)
    assert seen[20:60, 10:40].all()
    assert seen.sum() == 255 * 30 * 40


def test_masks_of_boxes__fit_better_than_the_boxes(
    small: SamModel, scene: ShapeScene, example: Example
) -> None:
    boxes = boxes_of(scene)
    found = masks_of_boxes(small, example, [*boxes, (5.0, 5.0, 0.0, 3.0)])
    assert [p.box for p in found] == [*boxes, (5.0, 5.0, 0.0, 3.0)]
    assert found[-1].rle is None
    ious = []
    for proposal, shape in zip(found[:-1], scene.shapes, strict=True):
        mask = proposal.region(example).alpha_map(example.height, example.width) > 127
        ious.append((mask & shape.mask).sum() / (mask | shape.mask).sum())
    filled = [s.mask.mean() / (s.box[2] * s.box[3]) for s in scene.shapes]
    assert np.mean(ious) > np.mean(filled)


def test_masks_of_everything__are_sure_and_keep_their_boxes(
    small: SamModel, example: Example
) -> None:
    found = masks_of_everything(small, example, LIMITS, points=16)
    assert found
    assert [p.objectness for p in found] == sorted((p.objectness for p in found), reverse=True)
    for proposal in found:
        left, top, right, bottom = proposal.region(example).bounds(example.height, example.width)
        assert proposal.box == pytest.approx((left, top, right - left, bottom - top))


def test_kept_in_file__made_once_and_read_back(tmp_path: Path, example: Example) -> None:
    made: list[str] = []

    def make(shown: Example) -> list[Proposal]:
        made.append(shown.id)
        mask = np.zeros((shown.height, shown.width), bool)
        mask[:3] = True
        return [Proposal(BOX, 0.5), Proposal(BOX, 0.25, encode_rle(mask))]

    examples = [example, replace(example, id="8")]
    first, _ = kept_in_file(examples, make, {"set": "val"}, tmp_path)
    again, _ = kept_in_file(examples, make, {"set": "val"}, tmp_path)
    assert made == ["7", "8"]
    assert first == again
    kept_in_file(examples, make, {"set": "testA"}, tmp_path)
    assert made == ["7", "8", "7", "8"]


def test_kept_in_file__a_picture_that_changed_is_done_again(
    tmp_path: Path, example: Example
) -> None:
    kept_in_file([example], lambda shown: [Proposal(BOX)], {}, tmp_path)
    other = (1.0, 2.0, 3.0, 4.0)
    found, _ = kept_in_file([example], lambda shown: [Proposal(other)], {}, tmp_path)
    assert found["7"][0].box == BOX
    Image.new("RGB", (example.width, example.height)).save(example.path)
    found, _ = kept_in_file([example], lambda shown: [Proposal(other)], {}, tmp_path)
    assert found["7"][0].box == other


def test_kept_in_file__goes_on_after_a_torn_line(tmp_path: Path, example: Example) -> None:
    examples = [replace(example, id=name) for name in "abc"]
    kept_in_file(examples, lambda shown: [Proposal(BOX)], {}, tmp_path)
    (file,) = tmp_path.glob("proposals-*.jsonl")
    whole = file.read_bytes()
    file.write_bytes(whole[:-20])
    made: list[str] = []
    found, _ = kept_in_file(
        examples, lambda shown: made.append(shown.id) or [Proposal(BOX)], {}, tmp_path
    )
    assert made == ["c"]
    assert set(found) == {"a", "b", "c"}
    assert file.read_bytes() == whole


def test_kept_in_file__a_digit_that_changed_is_not_believed(
    tmp_path: Path, example: Example
) -> None:
    """Lines of earlier versions, without a checksum, are."""
    kept_in_file([example], lambda shown: [Proposal((1.0, 2.0, 3.0, 4.0))], {}, tmp_path)
    (file,) = tmp_path.glob("proposals-*.jsonl")
    changed = file.read_text().replace("3.0", "7.0")
    file.write_text(changed)
    found, _ = kept_in_file([example], lambda shown: [Proposal(BOX)], {}, tmp_path)
    assert found["7"][0].box == BOX
    key, rows, _ = json.loads(changed)
    file.write_text(json.dumps([key, rows]) + "\n")
    found, _ = kept_in_file([example], lambda shown: [Proposal(BOX)], {}, tmp_path)
    assert found["7"][0].box == (1.0, 2.0, 7.0, 4.0)


def test_kept_in_file__a_bad_picture_is_reported_and_tried_again(
    tmp_path: Path, example: Example
) -> None:
    def fail(shown: Example) -> list[Proposal]:
        raise ImageError("torn")

    found, skipped = kept_in_file([example], fail, {}, tmp_path)
    assert (found, skipped) == ({}, ["picture 7: torn"])
    found, skipped = kept_in_file([example], lambda shown: [Proposal(BOX)], {}, tmp_path)
    assert (list(found), skipped) == (["7"], [])


def test_sam_settings__say_what_decides_the_masks(small: SamModel) -> None:
    settings = sam_settings(small, LIMITS, 16)
    assert settings["points"] == 16
    assert settings["limits"]["min_quality"] == 0.7
    assert settings != sam_settings(small, replace(LIMITS, min_quality=0.8), 16)

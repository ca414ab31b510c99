"""Masks of concepts, on drawn scenes, with a detector that knows where the shapes are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

from alphaclip.cli import main
from alphaclip.detectors import phrase_detectors
from alphaclip.detectors.boxes import FoundBox
from alphaclip.errors import AlphaClipError
from alphaclip.indexing import segment
from alphaclip.indexing.dataset.labels import label_region
from alphaclip.sam.sam import load_sam
from recipes.small_sam.scenes import ShapeScene, draw_scene

WEIGHTS = Path(__file__).parents[2] / "sam_vit_nano.safetensors"
DRAWN = [draw_scene(np.random.default_rng(3_000_000 + number)) for number in range(20)]
SCENES = [scene for scene in DRAWN if len(scene.shapes) > 1][:3]


class Knowing:
    """Finds the first shape of each scene as "first", and all others as "other"."""

    name = "knowing"

    def ground(self, image: np.ndarray, phrases: Sequence[str]) -> list[list[FoundBox]]:
        scene = next(one for one in SCENES if np.array_equal(one.image, image))
        boxes = [FoundBox((x, y, x + w, y + h), 0.75) for x, y, w, h in boxes_of(scene)]
        known = {"first": boxes[:1], "other": boxes[1:]}
        return [known.get(phrase, []) for phrase in phrases]


def boxes_of(scene: ShapeScene) -> list[list[float]]:
    return [list(shape.box) for shape in scene.shapes]


@pytest.fixture(autouse=True)
def knowing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phrase_detectors, "load_detector", lambda *options: Knowing())


@pytest.fixture
def dataset(dataset_factory: Callable, tmp_path: Path) -> fo.Dataset:
    """In the first picture, the first shape has a label."""
    dataset = dataset_factory("concepts")
    for number, scene in enumerate(SCENES):
        path = tmp_path / f"scene-{number}.png"
        Image.fromarray(scene.image).save(path)
        dataset.add_sample(fo.Sample(path))
    label = fo.Detection(label="a shape", bounding_box=boxes_of(SCENES[0])[0])
    first = dataset.first()
    first["labels"] = fo.Detections(detections=[label])
    first.save()
    return dataset


def test_segment__concepts(dataset: fo.Dataset) -> None:
    options = {"model": load_sam(WEIGHTS, "cpu"), "detector": "folder", "progress": False}
    report = segment(dataset, into="found", concepts=["first", "other", "nothing"], **options)
    counts = dataset.count_values("found.detections.label")
    shapes = sum(len(scene.shapes) for scene in SCENES)
    assert report.dropped["overlap with a label"] == 1
    assert counts["first"] <= 2 and sum(counts.values()) == report.added >= shapes - 3
    for mask in dataset.values("found.detections", unwind=True):
        assert (mask.source, mask.confidence) == ("folder", 0.75)
    last = dataset.last().found.detections
    covered = label_region(last[0]).alpha_map(*SCENES[2].image.shape[:2]) > 127
    shape = SCENES[2].shapes[0].mask
    assert last[0].label == "first" and (covered & shape).sum() / (covered | shape).sum() > 0.7

    again = segment(dataset, into="found", concepts=["first", "other", "nothing"], **options)
    assert (again.added, again.done_before) == (0, 3)
    with pytest.raises(AlphaClipError, match="was made with concepts"):
        segment(dataset, into="found", concepts=["first"], **options)


def test_segment__concepts_of_a_broken_picture(dataset: fo.Dataset, tmp_path: Path) -> None:
    (tmp_path / "scene-1.png").write_bytes(b"no picture")
    report = segment(
        dataset, into="found", model=str(WEIGHTS), concepts=["other"], detector="folder"
    )
    assert [Path(skipped.filepath).name for skipped in report.skipped] == ["scene-1.png"]
    assert report.samples == 3 and dataset.exists("found").count() == 2


@pytest.mark.parametrize("concepts", ["a dog", [""], ["a dog", 3]])
def test_segment__what_are_no_concepts(dataset: fo.Dataset, concepts: Sequence[str]) -> None:
    with pytest.raises(AlphaClipError, match="concepts"):
        segment(dataset, model=str(WEIGHTS), concepts=concepts, detector="folder")
    assert not dataset.has_sample_field("masks")


def test_segment__concepts_and_boxes_are_two_things(dataset: fo.Dataset) -> None:
    with pytest.raises(AlphaClipError, match="not both"):
        segment(dataset, "labels", concepts=["first"], detector="folder")


def test_segment__no_detector_is_fetched_unasked(
    dataset: fo.Dataset, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("alphaclip.weights.hub.try_to_load_from_cache", lambda *names: None)
    command = ["segment", dataset.name, "--model", str(WEIGHTS), "--concepts", "first"]
    assert main(command) == 1
    assert "alphaclip models IDEA-Research/grounding-dino-tiny --install" in capsys.readouterr().err
    assert main([*command, "other", "--detector", "folder", "--into", "found"]) == 0
    assert set(dataset.distinct("found.detections.label")) == {"first", "other"}

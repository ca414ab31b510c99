"""Masks for boxes, automatic masks and parts of segmentations, written into a dataset."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from alphaclip.errors import AlphaClipError, MissingWeightsError, ModelNotFoundError
from alphaclip.indexing.dataset.labels import FieldError, label_region
from alphaclip.indexing.dataset.schema import mask_settings
from alphaclip.indexing.masks.materializing import materialize
from alphaclip.indexing.masks.segmenters import MASKS, PROMPTS
from alphaclip.indexing.masks.segmenting import segment, segment_one
from alphaclip.sam.masks import PROMPTED_LIMITS, MaskLimits, crop_mask
from alphaclip.sam.sam import SamModel, load_sam
from recipes.small_sam.scenes import ShapeScene, draw_scene

if TYPE_CHECKING:
    import fiftyone as fo

WEIGHTS = Path(__file__).parents[2] / "sam_vit_nano.safetensors"
DRAWN = [draw_scene(np.random.default_rng(3_000_000 + number)) for number in range(20)]
SCENES = [scene for scene in DRAWN if len(scene.shapes) > 1][:4]
ALL = MaskLimits(0.0, 0.0, 0.0, 1.0, 1.0)
LOOSE = MaskLimits(0.5, 0.5, 0.0005, 0.9, 0.7)


@pytest.fixture(scope="module")
def small() -> SamModel:
    return load_sam(WEIGHTS, "cpu")


@pytest.fixture
def scenes(dataset_factory: Callable, tmp_path: Path) -> fo.Dataset:
    """Four scenes, the first stored turned: ``boxes``, every second with a mask, ``outlines``."""
    import fiftyone as fo

    dataset = dataset_factory("scenes")
    for number, scene in enumerate(SCENES):
        path = tmp_path / f"scene-{number}.png"
        save_picture(path, scene, turned=number == 0)
        boxes = [detection(scene, i) for i in range(len(scene.shapes))]
        lines = [
            fo.Polyline(label=s.name, points=[s.points.tolist()], filled=True, closed=True)
            for s in scene.shapes
        ]
        fields = {
            "boxes": fo.Detections(detections=boxes),
            "outlines": fo.Polylines(polylines=lines),
        }
        dataset.add_sample(fo.Sample(path, **fields))
    return dataset


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    save_picture(tmp_path / "picture.png", SCENES[1])
    return tmp_path / "picture.png"


def save_picture(path: Path, scene: ShapeScene, turned: bool = False) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6 if turned else 1
    Image.fromarray(np.rot90(scene.image, int(turned)).copy()).save(path, exif=exif)


def detection(scene: ShapeScene, number: int) -> fo.Detection:
    import fiftyone as fo

    shape = scene.shapes[number]
    cropped = crop_mask(shape.mask, 1.0).mask if number % 2 else None
    return fo.Detection(label=shape.name, bounding_box=shape.box, mask=cropped)


def silent(*_: Any) -> None:
    """A progress that shows nothing."""


def masks_in(dataset: fo.Dataset, field: str = "masks") -> list[Any]:
    return [m for s in dataset for m in (s[field].detections if s[field] is not None else [])]


def content(dataset: fo.Dataset, field: str = "masks") -> list[tuple]:
    return [(m.id, m.label, m.bounding_box, m.mask.tobytes()) for m in masks_in(dataset, field)]


def iou(one: Any, other: Any) -> float:
    first, second = (label_region(label).alpha_map(240, 320) > 127 for label in (one, other))
    return float((first & second).sum() / max(1, (first | second).sum()))


def test_segment__boxes(scenes: fo.Dataset, small: SamModel) -> None:
    told: list[tuple] = []
    report = segment(scenes, "boxes", model=small, progress=lambda *counts: told.append(counts))
    labels = {label.id: label for sample in scenes for label in sample.boxes.detections}
    masks = masks_in(scenes)
    assert report.added == len(masks) > 0.8 * len(labels)
    assert report.added + sum(report.dropped.values()) == len(labels)
    assert told[-1] == ("pictures segmented", 4, 4)
    for mask in masks:
        assert mask.label == labels[mask.source_id].label
        assert mask.source == "boxes"
        assert PROMPTED_LIMITS.min_quality <= mask.quality <= 1
        assert mask.mask.dtype == bool
    known = [(mask, labels[mask.source_id]) for mask in masks if labels[mask.source_id].has_mask]
    assert np.mean([iou(mask, label) for mask, label in known]) > 0.6
    assert scenes.count_values("masks.detections.source") == {"boxes": len(masks)}
    assert scenes.bounds("masks.detections.quality")[1] <= 1


def test_segment__polylines(scenes: fo.Dataset, small: SamModel) -> None:
    segment(scenes, "outlines", "filled", model=small, limits=ALL, progress=silent)
    outlines = {label.id: label for sample in scenes for label in sample.outlines.polylines}
    masks = masks_in(scenes, "filled")
    assert {mask.source_id for mask in masks} == set(outlines)
    assert np.mean([iou(mask, outlines[mask.source_id]) for mask in masks]) > 0.6


def test_segment__automatic(scenes: fo.Dataset, small: SamModel) -> None:
    view = scenes[1:3]
    settings: dict[str, Any] = {"model": small, "limits": LOOSE, "points_per_side": 12}
    report = segment(view, into="found", progress=silent, **settings)
    masks = masks_in(scenes, "found")
    assert report.added == len(masks) > 0
    assert {(mask.label, mask.source) for mask in masks} == {(None, "automatic")}
    known = [label for sample in view for label in sample.outlines.polylines]
    per_sample = {s.id: s.found.detections for s in view}
    best = [
        max((iou(label, mask) for mask in per_sample[s.id]), default=0)
        for s in view
        for label in s.outlines.polylines
    ]
    assert len(best) == len(known)
    assert np.mean(np.array(best) > 0.5) >= 0.5
    before = content(scenes, "found")
    again = segment(scenes[1:2], into="found", progress=silent, **settings)
    assert (again.done_before, again.added) == (1, 0)
    assert content(scenes, "found") == before


def test_segment__again_changes_nothing(scenes: fo.Dataset, small: SamModel) -> None:
    segment(scenes, "boxes", model=small, progress=silent)
    before = content(scenes)
    report = segment(scenes, "boxes", model=small, progress=silent)
    assert (report.samples, report.done_before, report.added) == (4, 4, 0)
    assert content(scenes) == before


def test_segment__goes_on_after_a_stop(scenes: fo.Dataset, small: SamModel) -> None:
    def stop(_what: str, done: int, _total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        segment(scenes, "boxes", model=small, progress=stop)
    before = content(scenes)
    assert before
    report = segment(scenes, "boxes", model=small, progress=silent)
    assert report.done_before == 2
    after = content(scenes)
    assert after[: len(before)] == before
    assert len(after) > len(before)


def test_segment__only_what_was_edited(scenes: fo.Dataset, small: SamModel) -> None:
    segment(scenes, "boxes", model=small, limits=ALL, progress=silent)
    before = {mask.source_id: mask.id for mask in masks_in(scenes)}
    sample = next(sample for sample in scenes if len(sample.boxes.detections) > 1)
    edited, gone = sample.boxes.detections[0], sample.boxes.detections[1]
    edited.bounding_box = [0.2, 0.2, 0.4, 0.4]
    edited.mask = None
    sample.boxes.detections.remove(gone)
    sample.save()
    report = segment(scenes, "boxes", model=small, limits=ALL, progress=silent)
    after = {mask.source_id: mask.id for mask in masks_in(scenes)}
    assert (report.added, report.done_before) == (1, 3)
    assert set(after) == set(before) - {gone.id}
    assert [i for i in after if after[i] != before[i]] == [edited.id]


def test_segment__other_settings_are_refused(scenes: fo.Dataset, small: SamModel) -> None:
    segment(scenes[:1], "boxes", model=small, progress=silent)
    before = content(scenes)
    with pytest.raises(FieldError, match=r"field 'boxes', not 'outlines'.*overwrite=True"):
        segment(scenes, "outlines", model=small, progress=silent)
    with pytest.raises(FieldError, match="limits"):
        segment(scenes, "boxes", model=small, limits=ALL, progress=silent)
    assert content(scenes) == before
    segment(scenes[1:2], "boxes", model=small, limits=ALL, overwrite=True, progress=silent)
    assert [sample.masks is None for sample in scenes] == [True, False, True, True]
    settings = mask_settings(scenes, "masks")
    assert settings is not None
    assert settings["limits"]["min_quality"] == 0


def test_segment__limits(scenes: fo.Dataset, small: SamModel) -> None:
    view = scenes[1:2]
    everything = segment(view, "boxes", "everything", model=small, limits=ALL, progress=silent)
    strict = MaskLimits(0.999, 0.0, 0.0, 1.0, 1.0)
    nothing = segment(view, "boxes", "nothing", model=small, limits=strict, progress=silent)
    assert everything.added == nothing.dropped["quality"] + nothing.added
    assert nothing.dropped["quality"] > 0
    sample = view.first()
    sample.boxes.detections.append(sample.boxes.detections[0].copy())
    sample.save()
    once = segment(view, "boxes", "once", model=small, progress=silent)
    assert once.dropped["duplicate"] == 1


def test_segment__broken_picture_and_label(
    scenes: fo.Dataset, small: SamModel, tmp_path: Path
) -> None:
    import fiftyone as fo

    outside = fo.Detection(label="outside", bounding_box=[2, 2, 0.1, 0.1])
    flat = fo.Detection(label="flat", bounding_box=[0.1, 0.1, 0, 0.1])
    first = scenes.first()
    first.boxes.detections.extend([outside, flat])
    first.save()
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"not a picture")
    box = fo.Detection(label="lost", bounding_box=[0.1, 0.1, 0.2, 0.2])
    scenes.add_sample(fo.Sample(broken, boxes=fo.Detections(detections=[box])))
    report = segment(scenes, "boxes", model=small, progress=silent)
    skipped = {(skip.filepath, skip.label_id) for skip in report.skipped}
    assert skipped == {(first.filepath, outside.id), (first.filepath, flat.id), (str(broken), "")}
    assert scenes.last().masks is None
    assert report.added > 5
    save_picture(tmp_path / "mended.png", SCENES[1])
    (tmp_path / "mended.png").replace(broken)
    report = segment(scenes, "boxes", model=small, progress=silent)
    assert report.done_before == 4
    assert scenes.last().masks is not None


def test_segment__bad_fields(scenes: fo.Dataset, small: SamModel) -> None:
    import fiftyone as fo

    scenes.add_sample_field("empty", fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections)
    scenes.add_sample_field("note", fo.StringField)
    cases = {
        "no field 'missing'": ("missing", "masks"),
        "holds no labels": ("empty", "masks"),
        "not made here": ("boxes", "outlines"),
        "cannot go into 'boxes'": ("boxes", "boxes"),
        "field 'note' holds": ("note", "masks"),
        "letters, digits and underscores": ("boxes", "a.b"),
        "at most 100": ("boxes", "x" * 10_000),
    }
    for message, (field, into) in cases.items():
        with pytest.raises(FieldError, match=message):
            segment(scenes, field, into, model=small, overwrite=True, progress=silent)
    assert not scenes.has_sample_field("masks")
    assert all(len(sample.boxes.detections) for sample in scenes)


def test_segment__bad_samples(
    scenes: fo.Dataset, dataset_factory: Callable, small: SamModel
) -> None:
    videos = dataset_factory("videos")
    videos.media_type = "video"
    with pytest.raises(AlphaClipError, match="to_frames"):
        segment(videos, model=small)
    with pytest.raises(AlphaClipError, match="PatchesView"):
        segment(scenes.to_patches("boxes"), "boxes", model=small)
    with pytest.raises(AlphaClipError, match="no samples"):
        segment(dataset_factory(), model=small)


def test_segment__bad_models(
    scenes: fo.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALPHACLIP_MODELS", str(tmp_path))
    with pytest.raises(ModelNotFoundError):
        segment(scenes, "boxes", model="sam-of-another-day")
    with pytest.raises(MissingWeightsError, match="alphaclip segment --install"):
        segment(scenes, "boxes")
    with pytest.raises(ModelNotFoundError, match="zoo has no model"):
        segment(scenes, "boxes", model="segment-anything-of-another-day")
    with pytest.raises(MissingWeightsError, match="download_zoo_model"):
        segment(scenes, "boxes", model="segment-anything-vitb-torch")
    assert not scenes.has_sample_field("masks")


def test_segment__grouped_by_slice(
    dataset_factory: Callable, small: SamModel, picture: Path
) -> None:
    import fiftyone as fo

    dataset = dataset_factory("grouped")
    dataset.add_group_field("group", default="left")
    group = fo.Group()
    box = {"label": "thing", "bounding_box": [0.1, 0.1, 0.5, 0.5]}
    for name in ("left", "right"):
        boxes = fo.Detections(detections=[fo.Detection(**box)])
        dataset.add_sample(fo.Sample(picture, group=group.element(name), boxes=boxes))
    report = segment(dataset, "boxes", model=small, limits=ALL, progress=silent)
    slices = {s: dataset.select_group_slices(s).first() for s in ("left", "right")}
    assert report.samples == 1
    assert slices["left"].masks is not None
    assert slices["right"].masks is None
    right = dataset.select_group_slices("right")
    assert segment(right, "boxes", model=small, limits=ALL, progress=silent).added == 1


def test_segment__frames_of_a_video(
    dataset_factory: Callable, small: SamModel, picture: Path
) -> None:
    import fiftyone as fo

    videos = dataset_factory("videos")
    sample = fo.Sample("film.mp4")
    for number in (1, 2):
        box = fo.Detection(label="thing", bounding_box=[0.1, 0.1, 0.5, 0.5])
        sample.frames[number] = fo.Frame(
            filepath=str(picture), boxes=fo.Detections(detections=[box])
        )
    videos.add_sample(sample)
    frames = videos.to_frames(sample_frames=False).clone()
    try:
        report = segment(frames, "boxes", model=small, limits=ALL, progress=silent)
        assert (report.samples, report.added) == (2, 2)
    finally:
        frames.delete()


class StandIn:
    """Answers in place of a zoo model: a mask that fills the left half of each box."""

    def __init__(self) -> None:
        self.prompts: list[int] = []

    def apply(self, view: Any, model: Any, label_field: str, **kwargs: Any) -> None:
        assert model is self
        assert kwargs.pop("skip_failures") is True
        prompted = kwargs.pop("prompt_field", None)
        assert kwargs == {"progress": False}
        for sample in view:
            boxes = [[0.2, 0.2, 0.4, 0.4]]
            if prompted:
                boxes = [box.bounding_box for box in sample[prompted].detections]
            sample[label_field] = self._answer(sample, boxes, prompted)
            sample.save()

    def _answer(self, sample: Any, boxes: list, prompted: str | None) -> Any:
        import fiftyone as fo

        self.prompts.append(len(boxes))
        mask = np.zeros((20, 20), bool)
        mask[:, :10] = True
        names = [box.label for box in sample[prompted].detections] if prompted else [None]
        found = [
            fo.Detection(label=name, bounding_box=box, mask=mask, confidence=0.9)
            for name, box in zip(names, boxes, strict=True)
        ]
        return fo.Detections(detections=found)


@pytest.fixture
def zoo(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    import fiftyone.zoo as foz
    from fiftyone.core.collections import SampleCollection

    stand_in = StandIn()
    monkeypatch.setattr(foz, "is_zoo_model_downloaded", lambda name: True)
    monkeypatch.setattr(foz, "load_zoo_model", lambda name: stand_in)

    def apply_model(view: Any, model: Any, **kwargs: Any) -> None:
        stand_in.apply(view, model, **kwargs)

    monkeypatch.setattr(SampleCollection, "apply_model", apply_model)
    return stand_in


@pytest.mark.parametrize("field", ["boxes", "outlines"])
def test_segment__zoo_model_with_boxes(scenes: fo.Dataset, zoo: StandIn, field: str) -> None:
    report = segment(
        scenes, field, model="segment-anything-vitb-torch", limits=ALL, progress=silent
    )
    kind = "detections" if field == "boxes" else "polylines"
    labels = {label.id: label for sample in scenes for label in sample[field][kind]}
    masks = masks_in(scenes)
    assert {mask.source_id for mask in masks} == set(labels)
    assert sum(zoo.prompts) == report.added == len(labels)
    assert all(mask.label == labels[mask.source_id].label for mask in masks)
    assert {mask.quality for mask in masks} == {0.9}
    for mask in masks:
        box = label_region(labels[mask.source_id]).bounds(240, 320)
        left, width = (box[0] / 320, (box[2] - box[0]) / 320)
        assert mask.bounding_box[0] == pytest.approx(left, abs=0.02)
        assert mask.bounding_box[2] == pytest.approx(width / 2, abs=0.02)
    assert not {PROMPTS, MASKS} & set(scenes.get_field_schema())
    again = segment(scenes, field, model="segment-anything-vitb-torch", limits=ALL, progress=silent)
    assert (again.done_before, again.added) == (4, 0)


def test_segment__zoo_model_automatic(scenes: fo.Dataset, zoo: StandIn) -> None:
    name = "segment-anything-2-hiera-tiny-image-torch"
    report = segment(scenes, model=name, limits=LOOSE, progress=silent)
    assert report.added == len(zoo.prompts) == 4
    assert {mask.source for mask in masks_in(scenes)} == {"automatic"}


def test_segment__sam_3_takes_boxes_in_its_visual_mode(
    scenes: fo.Dataset, zoo: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the mode that it starts in, a box is an example of what to look for."""
    import fiftyone.zoo as foz

    loaded: list[dict] = []
    monkeypatch.setattr(foz, "load_zoo_model", lambda name, **how: loaded.append(how) or zoo)
    name = "segment-anything-3-image-torch"
    assert segment(scenes, "boxes", model=name, limits=ALL, progress=silent).added > 0
    assert loaded == [{"operation_mode": "visual"}]
    with pytest.raises(AlphaClipError, match="not of everything in a picture"):
        segment(scenes, into="all", model=name, progress=silent)
    assert not scenes.has_sample_field("all")


def test_segment__zoo_model_that_fails(
    scenes: fo.Dataset, zoo: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fiftyone.core.collections import SampleCollection

    monkeypatch.setattr(SampleCollection, "apply_model", lambda *args, **kwargs: None)
    report = segment(scenes, "boxes", model="segment-anything-vitb-torch", progress=silent)
    assert [skip.label_id for skip in report.skipped] == [""] * 4
    assert report.added == 0
    assert scenes.count("masks") == 0


@pytest.mark.parametrize("field", ["boxes", None])
def test_segment__zoo_model_class_with_the_small_network(
    scenes: fo.Dataset, small: SamModel, monkeypatch: pytest.MonkeyPatch, field: str | None
) -> None:
    """FiftyOne's own class for SAM, as the zoo makes it, but with our weights."""
    import fiftyone.utils.sam as fous
    import fiftyone.zoo as foz

    config = fous.SegmentAnythingModelConfig(
        {
            "model_path": str(WEIGHTS),
            "entrypoint_fcn": lambda **_: small.network,
            "output_processor_cls": "fiftyone.utils.sam.SAMSegmenterOutputProcessor",
            "auto_kwargs": {"points_per_side": 8, "pred_iou_thresh": 0.5},
            "raw_inputs": True,
        }
    )
    model = fous.SegmentAnythingModel(config)
    monkeypatch.setattr(foz, "is_zoo_model_downloaded", lambda name: True)
    monkeypatch.setattr(foz, "load_zoo_model", lambda name: model)
    view = scenes[1:3]
    name = "segment-anything-vitb-torch"
    report = segment(view, field, "by_zoo", model=name, limits=ALL, progress=silent)
    assert not report.skipped
    assert report.added > 0
    if field:
        ours = segment(view, field, "by_us", model=small, limits=ALL, progress=silent)
        assert report.added == ours.added
        masks = {mask.source_id: mask for mask in masks_in(scenes, "by_us")}
        overlap = [iou(mask, masks[mask.source_id]) for mask in masks_in(scenes, "by_zoo")]
        assert np.mean(overlap) > 0.7


def semantic() -> np.ndarray:
    mask = np.zeros((20, 30), np.uint8)
    mask[2:6, 2:6] = 1
    mask[10:14, 10:20] = 1
    mask[15:18, 1:4] = 7
    return mask


@pytest.fixture
def segmented(dataset_factory: Callable, tmp_path: Path, picture: Path) -> fo.Dataset:
    import fiftyone as fo

    dataset = dataset_factory("segmented")
    Image.fromarray(semantic()).save(tmp_path / "mask.png")
    for fields in (
        {"parts": fo.Segmentation(mask=semantic())},
        {"parts": fo.Segmentation(mask_path=str(tmp_path / "mask.png"))},
        {},
    ):
        dataset.add_sample(fo.Sample(picture, **fields))
    dataset.mask_targets = {"parts": {1: "tree"}}
    dataset.save()
    return dataset


def test_materialize__one_region_for_each_part(segmented: fo.Dataset) -> None:
    report = materialize(segmented, "parts", "regions", progress=silent)
    assert (report.samples, report.added) == (3, 6)
    for sample in segmented[:2]:
        parts = sample.regions.detections
        assert sorted(part.label for part in parts) == ["7", "tree", "tree"]
        assert {part.source for part in parts} == {"parts"}
        together = sum(label_region(part).alpha_map(20, 30) for part in parts)
        assert ((together > 0) == (semantic() > 0)).all()
    assert segmented.last().regions is None


def test_materialize__again_changes_nothing(segmented: fo.Dataset) -> None:
    materialize(segmented, "parts", "regions", progress=silent)
    before = content(segmented, "regions")
    report = materialize(segmented, "parts", "regions", progress=silent)
    assert (report.added, report.kept, report.done_before) == (0, 0, 2)
    assert content(segmented, "regions") == before
    sample = segmented.first()
    sample.parts.mask = np.where(semantic() == 7, 0, semantic())
    sample.save()
    report = materialize(segmented, "parts", "regions", progress=silent)
    assert (report.added, report.kept, report.done_before) == (0, 2, 1)
    assert {row[0] for row in content(segmented, "regions")} < {row[0] for row in before}


def test_materialize__rgb_and_small_parts(segmented: fo.Dataset) -> None:
    import fiftyone as fo

    plane = semantic()
    rgb = np.dstack([plane, plane * 0, plane * 2])
    segmented.add_sample_field("rgb", fo.EmbeddedDocumentField, embedded_doc_type=fo.Segmentation)
    segmented.mask_targets["rgb"] = {"#010002": "tree"}
    segmented.save()
    sample = segmented.first()
    sample["rgb"] = fo.Segmentation(mask=rgb)
    sample.save()
    report = materialize(segmented, "rgb", "colored", min_area=10 / 600, progress=silent)
    assert report.dropped == {"area": 1}
    assert [part.label for part in segmented.first().colored.detections] == ["tree", "tree"]
    materialize(segmented, "rgb", "all_colored", progress=silent)
    labels = {part.label for part in segmented.first().all_colored.detections}
    assert labels == {"tree", "#07000e"}


def stripes(dtype: type = np.uint8, value: int = 1) -> np.ndarray:
    """Two parts of one class, of 3 x 20 and 5 x 20 pixels."""
    mask = np.zeros((20, 30), dtype)
    mask[:, 2:5] = mask[:, 10:15] = value
    return mask


SEGMENTATIONS = {
    "bool": stripes(bool),
    "third side": stripes()[..., None],
    "first side": stripes()[None],
    "negative": stripes(np.int16, -1),
    "int64": stripes(np.int64, 2**40),
    "uint64": stripes(np.uint64, 2**63),
    "float": stripes(np.float32, 7),
    "RGBA": np.dstack([stripes(), stripes() * 0, stripes() * 2, stripes() * 255]),
    "transparent": np.dstack([stripes() * 0 + 9] * 3 + [stripes()]),
}
NO_CLASSES = {
    "scores": stripes(np.float32) * 0.5,
    "NaN": np.full((20, 30), np.nan),
    "infinite": np.full((20, 30), np.inf),
    "five channels": np.zeros((20, 30, 5), np.uint8),
    "four sides": np.zeros((1, 1, 20, 30), np.uint8),
    "row": np.zeros(20, np.uint8),
}


def test_materialize__every_kind_of_mask(segmented: fo.Dataset, picture: Path) -> None:
    import fiftyone as fo

    for name, mask in (SEGMENTATIONS | NO_CLASSES).items():
        segmented.add_sample(fo.Sample(picture, kinds=fo.Segmentation(mask=mask), tags=[name]))
    report = materialize(segmented, "kinds", "kind_parts", progress=silent)
    assert len(report.skipped) == len(NO_CLASSES)
    labels = {}
    for name in SEGMENTATIONS:
        parts = segmented.match_tags(name).first().kind_parts.detections
        widths = sorted(round(part.bounding_box[2] * 30) for part in parts)
        assert widths == [3, 5], name
        labels[name] = {part.label for part in parts}
    assert labels["bool"] == {"1"}
    assert labels["negative"] == {"-1"}
    assert labels["uint64"] == {str(2**63)}
    assert labels["float"] == {"7"}
    assert labels["RGBA"] == {"#010002"}
    before = content(segmented, "kind_parts")
    assert materialize(segmented, "kinds", "kind_parts", progress=silent).added == 0
    assert content(segmented, "kind_parts") == before


def test_materialize__bad_input(segmented: fo.Dataset, small: SamModel, tmp_path: Path) -> None:
    import fiftyone as fo

    with pytest.raises(FieldError, match="has no Segmentation field 'masks'; it has: parts"):
        materialize(segmented, "masks", "regions")
    with pytest.raises(FieldError, match="is empty"):
        materialize(segmented[2:], "parts", "regions")
    with pytest.raises(FieldError, match=r"indexing\.materialize\("):
        segment(segmented, "parts", model=small)
    with pytest.raises(AlphaClipError, match="min_area"):
        materialize(segmented, "parts", "regions", min_area=1.5)
    with pytest.raises(FieldError, match="was not made here"):
        materialize(segmented, "parts", "parts")
    sample = segmented.last()
    sample["parts"] = fo.Segmentation(mask_path=str(tmp_path / "gone.png"))
    sample.save()
    report = materialize(segmented, "parts", "regions", progress=silent)
    assert [skip.filepath for skip in report.skipped] == [sample.filepath]
    assert report.added == 6


def test_build__on_materialized_parts(segmented: fo.Dataset, encoder: Any) -> None:
    from alphaclip import indexing

    materialize(segmented, "parts", "regions", progress=silent)
    index = indexing.build(segmented, "regions", encoder, key="parts")
    assert len(index) == 6


def command(*arguments: str) -> int:
    import argparse

    from alphaclip.indexing.cli.segment_cli import add_segment_parser

    parser = argparse.ArgumentParser()
    add_segment_parser(parser.add_subparsers())
    parsed = parser.parse_args(["segment", *arguments])
    return parsed.run(parsed)


def test_command__boxes_and_parts(
    scenes: fo.Dataset, segmented: fo.Dataset, capsys: pytest.CaptureFixture
) -> None:
    options = ["--model", str(WEIGHTS), "--min-quality", "0"]
    assert command(scenes.name, "boxes", *options) == 0
    assert "masks added to 'masks', 4 samples" in capsys.readouterr().out
    scenes.reload()
    assert len(masks_in(scenes)) > 5
    assert command(scenes.name, "boxes", *options) == 0
    assert "0 masks added to 'masks', 4 samples" in capsys.readouterr().out
    assert command(segmented.name, "parts", "--into", "regions") == 0
    assert "6 masks added to 'regions'" in capsys.readouterr().out


def test_command__installs_the_users_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALPHACLIP_MODELS", str(tmp_path))
    with pytest.raises(AlphaClipError, match="is not the published"):
        command("--install", "sam-vit-b", "--file", str(WEIGHTS))
    assert command("--install", "sam-mine", "--file", str(WEIGHTS)) == 0
    assert (tmp_path / "sam-mine.safetensors").is_file()
    with pytest.raises(AlphaClipError, match="expected sam-NAME"):
        command("--install", "../sam-mine", "--file", str(WEIGHTS))
    with pytest.raises(AlphaClipError, match="name a dataset"):
        command()


def test_command__nothing_could_be_read(
    dataset_factory: Callable, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    import fiftyone as fo

    dataset = dataset_factory()
    dataset.add_sample(fo.Sample(tmp_path / "missing.jpg"))
    assert command(dataset.name, "--model", str(WEIGHTS)) == 1
    assert "missing.jpg : " in capsys.readouterr().out


@pytest.mark.parametrize("field", ["boxes", None])
def test_segment_one__as_segment_would_and_nothing_is_written(
    scenes: fo.Dataset, small: SamModel, field: str | None
) -> None:
    before = sorted(scenes.get_field_schema(flat=True))
    options: dict[str, Any] = {"limits": LOOSE, "points_per_side": 4, "model": small}
    trial = segment_one(scenes, field, **options)
    assert sorted(scenes.get_field_schema(flat=True)) == before
    segment(scenes.limit(1), field, into="masks", **options)
    written = scenes.first().masks.detections
    assert [mask.bounding_box for mask in trial.masks] == [one.bounding_box for one in written]
    assert (trial.sample_id, trial.pictures) == (scenes.first().id, 4)
    assert trial.report.added == len(written)


def test_segment_one__the_picture_that_is_asked_for(scenes: fo.Dataset, small: SamModel) -> None:
    last = scenes.last()
    options: dict[str, Any] = {"field": "boxes", "model": small, "limits": ALL}
    assert segment_one(scenes, sample_id=last.id, **options).sample_id == last.id
    first = scenes.first()
    first.boxes = None
    first.save()
    assert segment_one(scenes, **options).sample_id == scenes.skip(1).first().id
    with pytest.raises(AlphaClipError, match="no such picture here"):
        segment_one(scenes, sample_id=first.id, **options)


def test_segment_one__a_broken_picture_is_said(scenes: fo.Dataset, small: SamModel) -> None:
    Path(scenes.first().filepath).write_bytes(b"no picture")
    trial = segment_one(scenes, "boxes", model=small)
    assert (trial.masks, len(trial.report.skipped)) == ([], 1)

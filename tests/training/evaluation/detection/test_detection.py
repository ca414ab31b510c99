"""Naming proposals: by an encoder of colours, and by alphaclip-nano on the sample's pictures."""

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from alphaclip.errors import AlphaClipError, MissingWeightsError
from alphaclip.regions.region import Region
from alphaclip.regions.rle import encode_rle
from alphaclip.training.datasets.examples import Example, LabelledRegion, RegionSet
from alphaclip.training.datasets.proposals import Proposal
from alphaclip.training.datasets.sources import MissingDataError
from alphaclip.training.evaluation.detection.average_precision import Detection, average_precision
from alphaclip.training.evaluation.detection.detection import (
    TASK,
    run,
)
from alphaclip.training.evaluation.detection.naming import (
    DetectionEntry,
    DetectionProtocol,
    name_proposals,
)
from alphaclip.training.evaluation.detection.truth import (
    BASE,
    NOVEL,
    coco_truth,
    first_pictures,
    lvis_truth,
    split_classes,
    truth_of,
)
from alphaclip.training.evaluation.outcomes import Means

from ..conftest import ColourEncoder

SAMPLE = Path(__file__).parents[4] / "sample"
CLASSES = ("red", "green", "blue")


@pytest.fixture(autouse=True)
def colours(colour_encoder: ColourEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    """``colours`` is a name that can be loaded."""
    from alphaclip.training.evaluation.detection import detection

    load = detection.load
    monkeypatch.setattr(
        detection,
        "load",
        lambda name, *rest: colour_encoder if name == "colours" else load(name, *rest),
    )


def stripes(example: Example, objectness: float = 1.0) -> list[Proposal]:
    """The boxes of a painted picture's stripes."""
    count = len(example.regions)
    return [Proposal((10.0 * place, 0.0, 10.0, 20.0), objectness) for place in range(count)]


@pytest.fixture
def entry(paint: Callable[..., Example]) -> DetectionEntry:
    """Two pictures whose stripes are labelled right and proposed."""
    examples = paint("a", "red", "green"), paint("b", "green", "blue", "red")
    truth = truth_of(RegionSet("colours", examples, CLASSES))
    return DetectionEntry(truth, {e.id: stripes(e) for e in examples}, "stripes")


def judge(entry: DetectionEntry, means: Means | None = None) -> dict[str, float]:
    return dict(run("colours", entry, means or Means()).metrics)


def test_run__perfect_proposals_and_names(entry: DetectionEntry) -> None:
    outcome = run("colours", entry, Means())
    assert outcome.metrics["AP"] == pytest.approx(100)
    assert outcome.metrics["AP50"] == pytest.approx(100)
    assert outcome.metrics["AP small"] == pytest.approx(100)
    assert np.isnan(outcome.metrics["AP large"])
    assert outcome.metrics["proposals"] == 5
    assert (outcome.task, outcome.primary, outcome.estimator) == ("detection", "AP", "none")
    assert outcome.settings["setting"] == "stripes, bbox"
    assert outcome.settings["rules"] == "COCO's"
    assert outcome.skipped == ()


def test_run__a_wrong_label_costs_its_classes(paint: Callable[..., Example]) -> None:
    example = paint("a", "red", ("red", "green"), "blue")
    truth = truth_of(RegionSet("colours", (example,), CLASSES))
    parts = split_classes(truth, {c: [c] for c in CLASSES})
    first, second, third = stripes(example)
    proposals = {"a": [first, replace(second, objectness=0.5), third]}
    found = judge(DetectionEntry(parts, proposals, "stripes"))
    assert found["AP blue"] == pytest.approx(100)
    # of two stripes that look red the surer is the one that is called so
    assert found["AP red"] == pytest.approx(100)
    # nothing looks green: all score next to nothing, the one that is called so the least
    assert found["AP green"] == pytest.approx(100 / 3)
    assert found["AP"] == pytest.approx(np.mean([found[f"AP {c}"] for c in CLASSES]))


def test_run__pictures_without_proposals_or_objects(
    entry: DetectionEntry, paint: Callable[..., Example]
) -> None:
    assert judge(replace(entry, proposals={}))["AP"] == 0
    bare = replace(paint("c", "red"), regions=())
    more = replace(entry.truth, examples=(*entry.truth.examples, bare))
    unsure = {e.id: stripes(e, 0.5) for e in entry.truth.examples}
    wrong = {**unsure, "c": [Proposal((0.0, 0.0, 10.0, 20.0))]}
    assert judge(replace(entry, truth=more, proposals=unsure))["AP"] == pytest.approx(100)
    # red: wrong, right, right; green and blue: the wrong one scores nothing
    found = judge(replace(entry, truth=more, proposals=wrong))
    assert found["AP"] == pytest.approx((100 * 2 / 3 + 100 + 100) / 3)


def test_run__what_cannot_be_encoded_is_reported(entry: DetectionEntry, tmp_path: Path) -> None:
    (tmp_path / "b.png").write_bytes(b"no picture")
    outside = Proposal((500.0, 0.0, 5.0, 5.0))
    proposals = {**entry.proposals, "a": [outside, *entry.proposals["a"]]}
    outcome = run("colours", replace(entry, proposals=proposals), Means())
    assert any(line.startswith("proposal a/0:") for line in outcome.skipped)
    assert any(line.startswith("picture b:") for line in outcome.skipped)
    assert 0 < outcome.metrics["AP"] < 100


def test_run__second_run_takes_vectors_from_the_cache(
    entry: DetectionEntry, colour_encoder: ColourEncoder, tmp_path: Path
) -> None:
    means = Means(cache=tmp_path / "cache")
    first = judge(entry, means)
    assert colour_encoder.opened == ["a", "b"]
    assert judge(entry, means) == pytest.approx(first, nan_ok=True)
    assert colour_encoder.opened == ["a", "b"]


def vectors(*rows: tuple[float, ...]) -> np.ndarray:
    return np.array(rows, np.float32)


TEXTS = np.eye(3, dtype=np.float32)


def named(entry: DetectionEntry, proposals: list[Proposal], rows: np.ndarray, **protocol: Any):
    changed = replace(entry, protocol=DetectionProtocol(logit_scale=1.0, **protocol))
    texts = np.vstack([TEXTS, *[TEXTS[2:]] * len(changed.protocol.background)])
    return name_proposals("a", proposals, rows, texts, changed)


FAR = (100.0, 0.0, 10.0, 10.0)
NEAR = (0.0, 0.0, 10.0, 10.0)


def test_name_proposals__scores_are_the_softmax_times_objectness(entry: DetectionEntry) -> None:
    rows = vectors((1, 0, 0), (0, 1, 0))
    proposals = [Proposal(NEAR, 0.9), Proposal(FAR, 0.4)]
    right, other = np.e / (np.e + 2), 1 / (np.e + 2)
    found = {(d.box, d.category): d.score for d in named(entry, proposals, rows)}
    assert found[NEAR, 1] == pytest.approx(0.9 * right)
    assert found[NEAR, 2] == pytest.approx(0.9 * other)
    assert found[FAR, 2] == pytest.approx(0.4 * right)
    assert len(found) == 6
    plain = {(d.box, d.category): d.score for d in named(entry, proposals, rows, gamma=0.0)}
    assert plain[FAR, 2] == pytest.approx(right)
    root = {(d.box, d.category): d.score for d in named(entry, proposals, rows, gamma=0.5)}
    assert root[FAR, 2] == pytest.approx(np.sqrt(0.4) * right)


def test_name_proposals__background_takes_its_share_and_is_not_found(
    entry: DetectionEntry,
) -> None:
    rows = vectors((1, 0, 0))
    found = named(entry, [Proposal(NEAR)], rows, background=("stuff",))
    assert sorted(d.category for d in found) == [1, 2, 3]
    assert found[0].score == pytest.approx(np.e / (np.e + 3))


def test_name_proposals__overlapping_boxes_of_a_class_are_one_detection(
    entry: DetectionEntry,
) -> None:
    close = (1.0, 0.0, 10.0, 10.0)  # IoU 9 / 11
    rows = vectors((1, 0, 0), (0.9, 0, 0))
    proposals = [Proposal(close, 0.5), Proposal(NEAR, 0.9)]
    found = named(entry, proposals, rows)
    assert [d.box for d in found] == [NEAR] * 3
    assert len(named(entry, proposals, rows, max_overlap=0.9)) == 6
    assert len(named(entry, proposals, rows, max_overlap=1.0)) == 6


def test_name_proposals__surest_first_and_at_most_so_many(entry: DetectionEntry) -> None:
    rows = vectors((1, 0, 0), (0, 1, 0))
    proposals = [Proposal(NEAR, 0.5), Proposal(FAR, 0.9)]
    found = named(entry, proposals, rows, most=2)
    assert [(d.box, d.category) for d in found] == [(FAR, 2), (NEAR, 1)]


def test_name_proposals__without_a_vector_or_proposal(entry: DetectionEntry) -> None:
    rows = vectors((np.nan,) * 3, (0, 1, 0))
    found = named(entry, [Proposal(NEAR), Proposal(FAR)], rows)
    assert {d.box for d in found} == {FAR}
    assert named(entry, [], np.zeros((0, 3), np.float32)) == []


def test_run__masks(entry: DetectionEntry) -> None:
    def masked(example: Example, proposal: Proposal) -> Proposal:
        mask = proposal.region(example).alpha_map(example.height, example.width) > 127
        return replace(proposal, rle=encode_rle(mask))

    protocol = DetectionProtocol(kind="segm")
    proposals = {e.id: [masked(e, p) for p in stripes(e)] for e in entry.truth.examples}
    whole = replace(entry, proposals=proposals, protocol=protocol)
    assert judge(whole)["AP"] == pytest.approx(100)
    with pytest.raises(AlphaClipError, match="stripes: 5 proposals have no mask"):
        judge(replace(entry, protocol=protocol))
    bare = tuple({**found, "segmentation": []} for found in entry.truth.objects)
    with pytest.raises(AlphaClipError, match="5 objects have no mask"):
        judge(replace(whole, truth=replace(entry.truth, objects=bare)))


@pytest.mark.parametrize(
    "wrong", [{"gamma": -1.0}, {"max_overlap": 2.0}, {"most": 0}, {"logit_scale": 0.0}]
)
def test_detection_protocol__out_of_range(wrong: dict[str, Any]) -> None:
    with pytest.raises(AlphaClipError):
        DetectionProtocol(**wrong)


def test_run__no_classes(entry: DetectionEntry) -> None:
    with pytest.raises(AlphaClipError, match="no classes"):
        judge(replace(entry, truth=replace(entry.truth, classes={}, objects=())))


def test_split__has_48_and_17_classes() -> None:
    assert (len(set(BASE)), len(set(NOVEL))) == (48, 17)
    assert not set(BASE) & set(NOVEL)


def test_split_classes__leaves_the_others_out(entry: DetectionEntry) -> None:
    chosen = split_classes(entry.truth, {"novel": ["blue"], "base": ["red"]})
    assert list(chosen.classes.values()) == ["red", "blue"]
    assert {found["category_id"] for found in chosen.objects} == {1, 3}
    assert chosen.groups == {"novel": {3}, "base": {1}}
    with pytest.raises(AlphaClipError, match="no class pink"):
        split_classes(entry.truth, {"novel": ["pink"]})


def test_truth_of__keeps_boxes_exactly_and_masks_as_they_are(tmp_path: Path) -> None:
    mask = np.zeros((50, 80), bool)
    mask[10:20, 30:70] = True
    regions = (
        LabelledRegion("1", Region.from_box((0.1, 0.2, 0.333, 0.5)), 7.0, "red", crowd=True),
        LabelledRegion("2", Region.from_mask(mask), 400.0, "green"),
        LabelledRegion("3", Region.from_mask(mask), 400.0, "pink"),
    )
    example = Example("a", tmp_path, 80, 50, regions)
    truth = truth_of(RegionSet("some", (example,), ("red", "green")))
    box, masked = truth.objects
    assert box["bbox"] == pytest.approx([8.0, 10.0, 26.64, 25.0], abs=1e-12)
    assert (box["iscrowd"], box["area"]) == (1, 7.0)
    assert masked["bbox"] == [30, 10, 40, 10]
    assert truth.skipped == ("region 3: 'pink' is not among the classes",)


def coco_folder(
    data: Path, paint: Callable[..., Example], name: str, folder: str, **image: Any
) -> list[Example]:
    """Three pictures in COCO's layout; the second has no object, the third is not there."""
    (data / "annotations").mkdir(parents=True)
    (data / folder).mkdir()
    examples = [paint("one", "red", "green"), paint("two", "blue")]
    images, annotations = [], []
    for number, example in zip((30, 4), examples, strict=True):
        example.path.rename(data / folder / f"{number}.png")
        size = {"width": example.width, "height": example.height}
        images.append({"id": number, **size, **named_as(folder, number), **image})
    images.append({"id": 5, "width": 10, "height": 10, **named_as(folder, 5), **image})
    for place, (category, picture) in enumerate(((7, 30), (9, 30), (7, 5))):
        box = [10.0 * place, 0.0, 10.0, 20.0]
        annotation = {"id": place + 1, "image_id": picture, "category_id": category, "bbox": box}
        annotations.append({**annotation, "area": 200.0, "segmentation": []})
    categories = [
        {"id": number, "name": colour, "frequency": frequency}
        for number, colour, frequency in ((7, "red", "r"), (9, "green", "f"), (12, "blue", "c"))
    ]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (data / "annotations" / name).write_text(json.dumps(content))
    return examples


def named_as(folder: str, number: int) -> dict[str, str]:
    return {
        "file_name": f"{number}.png",
        "coco_url": f"http://images.cocodataset.org/{folder}/{number}.png",
    }


def test_coco_truth__pictures_without_objects_count(
    tmp_path: Path, paint: Callable[..., Example]
) -> None:
    coco_folder(tmp_path / "coco", paint, "instances_val2017.json", "val2017")
    truth = coco_truth(tmp_path / "coco")
    assert [example.id for example in truth.examples] == ["30", "4"]
    assert truth.classes == {7: "red", 9: "green", 12: "blue"}
    assert [found["image_id"] for found in truth.objects] == ["30", "30"]
    assert len(truth.skipped) == 1
    assert "5.png" in truth.skipped[0]
    boxes = [Proposal((10.0 * place, 0.0, 10.0, 20.0)) for place in range(2)]
    entry = DetectionEntry(truth, {"30": boxes}, "some")
    assert judge(entry)["AP"] == pytest.approx(100)
    assert [e.id for e in first_pictures(truth, 1).examples] == ["30"]
    assert first_pictures(truth, 1).objects == truth.objects


def test_coco_truth__bad_annotations_are_left_out(
    tmp_path: Path, paint: Callable[..., Example]
) -> None:
    coco_folder(tmp_path / "coco", paint, "instances_val2017.json", "val2017")
    path = tmp_path / "coco/annotations/instances_val2017.json"
    content = json.loads(path.read_text())
    content["annotations"][0]["category_id"] = 99
    content["annotations"][1]["bbox"][0] = float("nan")
    path.write_text(json.dumps(content))
    truth = coco_truth(tmp_path / "coco")
    assert truth.objects == ()
    assert len([line for line in truth.skipped if "annotations[" in line]) == 2


@pytest.mark.parametrize("area", [None, float("nan"), "large", -1])
def test_coco_truth__area_that_is_no_number_is_that_of_the_box(
    tmp_path: Path, paint: Callable[..., Example], area: object
) -> None:
    coco_folder(tmp_path / "coco", paint, "instances_val2017.json", "val2017")
    path = tmp_path / "coco/annotations/instances_val2017.json"
    content = json.loads(path.read_text())
    for entry in (*content["images"], *content["categories"], *content["annotations"]):
        entry["id"] = f"text-{entry['id']}"
    for entry in content["annotations"]:
        entry |= {name: f"text-{entry[name]}" for name in ("image_id", "category_id")}
        entry["area"] = area
    path.write_text(json.dumps(content), "utf-8-sig")
    truth = coco_truth(tmp_path / "coco")
    assert [one["area"] for one in truth.objects] == [200.0, 200.0]
    found = [
        Detection(one["image_id"], one["category_id"], tuple(one["bbox"]), 0.5)
        for one in truth.objects
    ]
    assert len(found) == 2
    assert average_precision(truth, found).mean() == pytest.approx(100)


def test_lvis_truth__knows_frequencies_and_what_is_not_known(
    tmp_path: Path, paint: Callable[..., Example]
) -> None:
    rules = {"neg_category_ids": [12], "not_exhaustive_category_ids": [9]}
    coco_folder(tmp_path / "lvis", paint, "lvis_v1_val.json", "val2017", **rules)
    truth = lvis_truth(tmp_path / "lvis")
    assert truth.groups["novel"] == truth.groups["rare"] == {7}
    assert truth.groups["base"] == {9, 12}
    assert truth.federated.absent["30"] == {12}
    assert truth.federated.partial["30"] == {9}
    boxes = [Proposal((10.0 * place, 0.0, 10.0, 20.0)) for place in range(2)]
    outcome = run("colours", DetectionEntry(truth, {"30": boxes}, "some"), Means())
    assert outcome.metrics["AP novel"] == pytest.approx(100)
    assert outcome.settings["rules"] == "LVIS's federated"


def test_lvis_truth__without_the_federated_fields(
    tmp_path: Path, paint: Callable[..., Example]
) -> None:
    coco_folder(tmp_path / "lvis", paint, "lvis_v1_val.json", "val2017")
    with pytest.raises(AlphaClipError, match="neg_category_ids"):
        lvis_truth(tmp_path / "lvis")


def arguments(*given: str, **common: Any) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    TASK.add_arguments(parser)
    known = {"data": None, "limit": None, "cache": None, "device": None, **common}
    return argparse.Namespace(**vars(parser.parse_args(given)), **known)


def test_task__from_files_to_figures(tmp_path: Path, paint: Callable[..., Example]) -> None:
    coco_folder(tmp_path / "coco", paint, "instances_val2017.json", "val2017")
    results = [
        {"image_id": 30, "bbox": [10 * place, 0, 10, 20], "score": 0.5} for place in range(2)
    ]
    (tmp_path / "rpn.json").write_text(json.dumps(results))
    args = arguments("--proposals", str(tmp_path / "rpn.json"), data=tmp_path / "coco")
    (entry,) = TASK.load(args)
    assert entry.protocol == DetectionProtocol()
    outcome = TASK.run("colours", entry, Means())
    assert (outcome.set, outcome.setting) == ("coco-val2017", "rpn.json, bbox")
    assert outcome.metrics["AP"] == pytest.approx(100)


def test_task__open_vocabulary_coco_needs_its_classes(
    tmp_path: Path, paint: Callable[..., Example]
) -> None:
    coco_folder(tmp_path / "coco", paint, "instances_val2017.json", "val2017")
    args = arguments("--set", "ov-coco", "--proposals", "x.json", data=tmp_path / "coco")
    with pytest.raises(AlphaClipError, match="has no class"):
        TASK.load(args)


def test_task__options_that_do_not_do(tmp_path: Path) -> None:
    with pytest.raises(AlphaClipError, match="--data is missing"):
        TASK.load(arguments("--proposals", "x.json"))
    with pytest.raises(AlphaClipError, match="needs --dataset"):
        TASK.load(arguments("--predictions-field", "found"))
    with pytest.raises(MissingDataError, match="instances_val2017"):
        TASK.load(arguments("--proposals", "x.json", data=tmp_path))


def test_task__sam_that_is_not_installed(tmp_path: Path, paint: Callable[..., Example]) -> None:
    coco_folder(tmp_path / "coco", paint, "instances_val2017.json", "val2017")
    with pytest.raises(MissingWeightsError):
        TASK.load(arguments("--sam", "sam-vit-b", data=tmp_path / "coco"))


def test_run__nano_names_the_samples_objects() -> None:
    scenes = json.loads((SAMPLE / "scenes.json").read_text())["scenes"][:8]
    examples = tuple(sample_example(str(place), scene) for place, scene in enumerate(scenes))
    labels = sorted({region.label for example in examples for region in example.regions})
    truth = truth_of(RegionSet("sample", examples, tuple(labels)))
    boxes = {example.id: [] for example in examples}
    for found in truth.objects:
        boxes[found["image_id"]].append(Proposal(tuple(found["bbox"])))
    templates = ("a drawing of {}",)
    entry = DetectionEntry(truth, boxes, "true boxes", DetectionProtocol(templates))
    found = dict(run("alphaclip-nano", entry, Means()).metrics)
    chance = 100 / len(labels)
    assert found["AP50"] > 40 > 4 * chance


def sample_example(name: str, scene: dict[str, Any]) -> Example:
    path = SAMPLE / scene["image"]
    width, height = ImageOps.exif_transpose(Image.open(path)).size
    regions = []
    for place, row in enumerate(scene["regions"]):
        region = (
            Region.from_polygon(row["polygon"]) if "polygon" in row else Region.from_box(row["box"])
        )
        label = row.get("true_label", row["label"])
        regions.append(LabelledRegion(f"{name}-{place}", region, 2000.0, label))
    return Example(name, path, width, height, tuple(regions))

"""The operator that makes masks, through FiftyOne, without the App."""

import shutil
import time
from pathlib import Path

import fiftyone as fo
import fiftyone.operators as foo
import numpy as np
import pytest
from fiftyone.operators.executor import ExecutionContext, ExecutionError

from alphaclip.detectors import phrase_detectors
from alphaclip.detectors.boxes import FoundBox
from alphaclip.indexing.masks.segmenters import SamSegmenter
from alphaclip.sam import checkpoints as sam_checkpoints

from ..conftest import plugin_module

SEGMENT = "@alphaclip/regions/segment_regions"
WEIGHTS = Path(__file__).parents[2] / "sam_vit_nano.safetensors"
LOOSE = {"min_quality": 0.0, "max_overlap": 1.0}


@pytest.fixture(autouse=True)
def operator(plugins_dir, monkeypatch, tmp_path):
    """The operator, and the small SAM installed in the place of the released one."""
    if not foo.operator_exists(SEGMENT):
        pytest.fail("plugin/__init__.py does not register SegmentRegions")
    models = tmp_path / "models"
    models.mkdir()
    monkeypatch.setenv("ALPHACLIP_MODELS", str(models))
    shutil.copy(WEIGHTS, models / "sam-vit-b.safetensors")
    return foo.get_operator(SEGMENT)


def form(dataset, view=None, **params):
    request = {
        "dataset_name": None if dataset is None else dataset.name,
        "params": params,
        "view": None if view is None else view._serialize(),
    }
    operator = foo.get_operator(SEGMENT)
    return operator.resolve_type(ExecutionContext(request, operator_uri=SEGMENT), "inputs").type


def fields(dataset, view=None, **params):
    return form(dataset, view, **params).properties


def choices(prop):
    return [choice.value for choice in prop.view.choices]


def shown(result):
    requests = result.executor.to_json()["requests"]
    return {r["operator_uri"].split("/")[-1]: r["params"] for r in requests}


def run(dataset, view=None, **params):
    result = foo.execute_operator(SEGMENT, dataset=dataset, view=view, params={**LOOSE, **params})
    return shown(result)["show_output"]["results"]


def test_config__modes_and_risk(operator):
    assert operator.config.risk_level.name == "MEDIUM"
    assert operator.config.allow_immediate_execution
    assert operator.config.allow_delegated_execution


def test_form__offers_boxes_automatic_masks_and_parts(shapes):
    assert not {"min_quality", "min_area"} & set(fields(shapes))
    found = fields(shapes, more=True)
    assert choices(found["source"]) == ["boxes:ground_truth", "automatic", "words"]
    assert choices(found["model"]) == ["sam-vit-b", "sam-vit-l", "sam-vit-h"]
    assert found["into"].default == "ground_truth_masks"
    assert found["min_quality"].default == 0.5
    shapes.add_sample_field("scene", fo.EmbeddedDocumentField, embedded_doc_type=fo.Segmentation)
    assert choices(fields(shapes)["source"])[-1] == "parts:scene"
    parts = fields(shapes, source="parts:scene", more=True)
    assert not {"model", "try_one"} & set(parts)
    assert "min_quality" not in parts
    assert parts["into"].default == "scene_masks"
    automatic = fields(shapes, source="automatic", more=True)
    assert automatic["min_quality"].default == 0.88
    assert automatic["min_stability"].default == 0.95
    assert automatic["points"].default == 32
    assert not {"min_stability", "points"} & set(found)


def test_form__offers_a_sam_of_the_users_own(shapes, tmp_path):
    models = tmp_path / "models"
    shutil.copy(WEIGHTS, models / "sam-cells-2.safetensors")
    shutil.copy(WEIGHTS, models / "sam-<b>x.safetensors")
    shutil.copy(WEIGHTS, models / "other.safetensors")
    assert choices(fields(shapes)["model"])[:2] == ["sam-vit-b", "sam-cells-2"]
    (models / "sam-vit-b.safetensors").unlink()
    model = fields(shapes)["model"]
    assert model.default == "sam-cells-2"
    assert model.view.choices[0].label == "sam-cells-2, installed by you"
    assert model.view.choices[1].label == "sam-vit-b, Segment Anything (download: 375 MB)"
    assert run(shapes, source="boxes:ground_truth")["added"] > 0
    info = shapes.get_field("ground_truth_masks").info
    assert info["alphaclip"]["model"] == "sam-cells-2"


def test_form__zoo_models_have_a_grid_of_their_own(shapes, monkeypatch):
    import fiftyone.zoo as foz

    name = "segment-anything-vitb-torch"
    monkeypatch.setattr(foz, "list_downloaded_zoo_models", lambda: {name: None})
    asked = fields(shapes, source="automatic", model=name, more=True)
    assert "min_quality" in asked
    assert not {"min_stability", "points"} & set(asked)
    assert {"min_stability", "points"} <= set(fields(shapes, source="automatic", more=True))


@pytest.mark.parametrize("points", [0, 41, 1.5, "many"])
def test_form__points_out_of_range(shapes, points):
    prop = fields(shapes, source="automatic", points=points)["points"]
    assert prop.invalid
    assert "whole number from 1 to 40" in prop.error_message


@pytest.mark.parametrize("name", ["ground_truth", "a.b", "_a", "<b>", "“x”", "x" * 10_000, "🍎"])
def test_form__field_that_cannot_be_written(shapes, name):
    prop = fields(shapes, into=name)["into"]
    assert prop.invalid
    assert "field" in prop.error_message


@pytest.mark.parametrize(
    "params",
    [
        {"min_area": 1.5},
        {"min_quality": -0.1},
        {"max_overlap": 7},
        {"min_stability": 1.1},
        {"max_area": "large"},
    ],
)
def test_form__share_out_of_range(shapes, params):
    prop = fields(shapes, source="automatic", **params)[next(iter(params))]
    assert prop.invalid
    assert "from 0 to 1" in prop.error_message


def test_form__areas_the_wrong_way_round(shapes):
    prop = fields(shapes, min_area=0.5, max_area=0.1)["min_area"]
    assert prop.invalid
    assert "above the largest" in prop.error_message


def test_form__cannot_run_here(dataset_factory):
    assert "No dataset is open" in fields(None)["refusal"].error_message
    assert "is empty" in fields(dataset_factory())["refusal"].error_message
    videos = dataset_factory()
    videos.media_type = "video"
    assert "to_frames" in fields(videos)["refusal"].error_message


def test_form__a_sam_that_is_not_here_is_offered_and_its_size_said(shapes, monkeypatch, tmp_path):
    monkeypatch.setenv("ALPHACLIP_MODELS", str(tmp_path / "none"))
    asked = fields(shapes)
    assert choices(asked["model"]) == ["sam-vit-b", "sam-vit-l", "sam-vit-h"]
    note = asked["model_note"].view
    assert note.label == "It is downloaded first"
    assert "375 MB" in note.description
    assert "commercial use is allowed" in note.description
    assert not any(prop.invalid for prop in asked.values())


@pytest.mark.parametrize("params", [{"more": True}, {"min_quality": 0.2}, {"points": 8}])
def test_form__more_where_it_is_asked_for_or_set(shapes, params):
    assert "min_quality" in fields(shapes, source="automatic", **params)
    usual = {"min_quality": 0.88, "points": 32, "more": False}
    assert "min_quality" not in fields(shapes, source="automatic", **usual)


def test_segment__tried_on_one_picture(shapes):
    before = set(shapes.get_field_schema())
    last = shapes.last()
    params = {**LOOSE, "source": "boxes:ground_truth", "try_one": True}
    selected = foo.execute_operator(SEGMENT, dataset=shapes, selected=[last.id], params=params)
    results = shown(selected)["show_output"]["results"]
    assert results["sample_id"] == last.id
    assert results["count"] == 1
    assert results["about"].startswith("1 mask in ")
    assert "all 6 pictures take about" in results["about"]
    assert results["picture"].startswith("data:image/jpeg;base64,")
    assert set(shapes.get_field_schema()) == before
    assert run(shapes, source="boxes:ground_truth", try_one=True)["sample_id"] == shapes.first().id


def test_segment__downloads_a_model_that_is_not_here(shapes, monkeypatch, tmp_path):
    def install(name, source=None, progress=None):
        progress("MB of sam.pth", 1, 2)
        shutil.copy(WEIGHTS, tmp_path / "models" / f"{name}.safetensors")

    monkeypatch.setattr(sam_checkpoints, "install_sam", install)
    models = plugin_module(foo.get_operator(SEGMENT), "common.models")
    monkeypatch.setattr(models, "install_sam", install)
    assert run(shapes, source="boxes:ground_truth", model="sam-vit-l")["added"] > 0
    assert shapes.get_field("ground_truth_masks").info["alphaclip"]["model"] == "sam-vit-l"


def test_segment__boxes(shapes):
    results = run(shapes, source="boxes:ground_truth")
    masks = [mask for sample in shapes for mask in sample.ground_truth_masks.detections]
    assert results["added"] == len(masks) > 0
    assert results["into"] == "ground_truth_masks"
    assert {mask.source_id for mask in masks} <= set(
        shapes.values("ground_truth.detections.id", unwind=True)
    )
    again = run(shapes, source="boxes:ground_truth")
    assert (again["added"], again["done_before"]) == (0, 6)
    assert "overwrite" in fields(shapes, source="boxes:ground_truth")
    assert choices(fields(shapes)["source"]) == ["boxes:ground_truth", "automatic", "words"]


def test_segment__current_view(shapes):
    run(shapes, shapes.limit(2), source="boxes:ground_truth", view_target="CURRENT_VIEW")
    assert shapes.count("ground_truth_masks") == 2


def test_segment__images_behind_patches(shapes):
    patches = shapes.to_patches("ground_truth").limit(3)
    run(shapes, patches, source="boxes:ground_truth", view_target="CURRENT_VIEW")
    assert shapes.count("ground_truth_masks") == 3


def test_segment__parts(shapes):
    mask = np.zeros((96, 128), np.uint8)
    mask[:10, :10] = mask[50:60, 50:60] = 3
    shapes.add_sample_field("scene", fo.EmbeddedDocumentField, embedded_doc_type=fo.Segmentation)
    sample = shapes.first()
    sample["scene"] = fo.Segmentation(mask=mask)
    sample.save()
    results = run(shapes, source="parts:scene", into="parts")
    assert results["added"] == 2
    assert [part.label for part in shapes.first().parts.detections] == ["3", "3"]


def test_segment__other_settings_are_an_error(shapes):
    run(shapes, source="boxes:ground_truth")
    with pytest.raises(ExecutionError, match="overwrite=True"):
        run(shapes, source="boxes:ground_truth", min_area=0.5)
    results = run(shapes, source="boxes:ground_truth", min_area=0.5, overwrite=True)
    assert results["dropped"]["area"] > 0


def test_segment__broken_picture_is_reported(shapes, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"not a picture")
    detection = fo.Detection(label="red", bounding_box=[0.1, 0.1, 0.2, 0.2])
    shapes.add_sample(fo.Sample(str(broken), ground_truth=fo.Detections(detections=[detection])))
    results = run(shapes, source="boxes:ground_truth")
    assert results["skipped"] == 1
    assert results["skipped_items"][0]["filepath"] == str(broken)


def test_segment__source_not_offered(shapes):
    with pytest.raises(ExecutionError, match=r"There is no .* here: expected one of"):
        run(shapes, source="boxes:tags")


@pytest.mark.parametrize("model", ["sam-other", "../sam", "/dev/zero", str(WEIGHTS)])
def test_segment__model_not_offered(shapes, model):
    with pytest.raises(ExecutionError, match=r"There is no .* here: expected one of"):
        run(shapes, source="automatic", model=model)
    assert not shapes.has_sample_field("masks")


def test_segment__everything_in_the_picture(shapes):
    limits = {"points": 6, "min_stability": 0.5, "max_area": 0.5}
    results = run(shapes, shapes.limit(1), source="automatic", view_target="CURRENT_VIEW", **limits)
    assert results["added"] == shapes.count("masks.detections") > 0
    made_with = shapes.get_field("masks").info["alphaclip"]
    assert (made_with["points_per_side"], made_with["limits"]["min_stability"]) == (6, 0.5)


def test_segment__stopped_then_goes_on(shapes, operator, monkeypatch):
    jobs = plugin_module(operator, "common.jobs")
    monkeypatch.setattr(jobs, "BEAT_SECONDS", 0.01)
    find, calls, seen = SamSegmenter.find, [], []

    def press_stop_at_the_third(self, asked):
        calls.append(asked)
        if len(calls) == 3:
            seen.extend(jobs.running(shapes))
            jobs.stop(shapes, seen[0]["id"])
            time.sleep(1)

        return find(self, asked)

    monkeypatch.setattr(SamSegmenter, "find", press_stop_at_the_third)
    with pytest.raises(ExecutionError, match="Stopped at 3 of 6 pictures segmented"):
        run(shapes, source="boxes:ground_truth")
    assert [job["title"] for job in seen] == ["Segmenting into ground_truth_masks"]
    assert jobs.running(shapes) == []
    before = shapes.values("ground_truth_masks.detections.id", unwind=True)
    assert len(shapes.exists("ground_truth_masks")) == 3
    assert before
    key = "masks:ground_truth_masks"
    (left,) = jobs.resumable(shapes)
    title = "Segmenting into ground_truth_masks"
    assert left == {"key": key, "title": title, "done": 3, "total": 6}
    done = shapes.count("ground_truth_masks.detections")
    jobs.resume(shapes, key)
    deadline = time.monotonic() + 60
    while (told := jobs.outcome(shapes, key)) is None:
        assert time.monotonic() < deadline
    assert told["severity"] == "success"
    assert not told["reshaped"]
    assert jobs.resumable(shapes) == []
    assert len(shapes.exists("ground_truth_masks")) == 6
    after = shapes.values("ground_truth_masks.detections.id", unwind=True)
    assert after[: len(before)] == before
    assert len(after) > done == len(before)


def test_segment__delegated(shapes):
    from fiftyone.operators.delegated import DelegatedOperationService

    params = {**LOOSE, "source": "boxes:ground_truth"}
    queued = foo.execute_operator(SEGMENT, dataset=shapes, params=params, request_delegation=True)
    service = DelegatedOperationService()
    service.execute_queued_operations(operator=SEGMENT, limit=1)
    operation = service.get(queued.result["id"])
    assert operation.run_state == "completed", operation.result
    assert operation.result.result["added"] > 0
    assert operation.status.progress == 1


def test_words__are_looked_for_by_a_detector(shapes, monkeypatch):
    class Detector:
        name = "a detector"

        def ground(self, image, phrases):
            return [[FoundBox((0.2, 0.2, 0.8, 0.8), 0.9)] for _ in phrases]

    refused = fields(shapes, source="words", concepts="a square")["concepts"]
    assert "detector" in refused.error_message and refused.invalid
    shapes.delete_sample_field("ground_truth")
    monkeypatch.setattr(phrase_detectors, "installed_detector", lambda: "a detector")
    monkeypatch.setattr(phrase_detectors, "load_detector", lambda *options: Detector())
    offered = fields(shapes, source="words", concepts="a square, ")
    assert not offered["concepts"].invalid and "try_one" not in offered
    made = run(shapes, source="words", concepts="a square, ", into="named")
    assert made["added"] == len(shapes)
    assert shapes.count_values("named.detections.label") == {"a square": len(shapes)}
    with pytest.raises(ExecutionError, match="concepts"):
        run(shapes, source="words", concepts=" ", into="others")

"""Both operators through FiftyOne, without the App."""

import subprocess
import sys
import time
from pathlib import Path

import fiftyone as fo
import fiftyone.operators as foo
import numpy as np
import pytest
from fiftyone.operators.executor import ExecutionContext, ExecutionError, Executor

from alphaclip.indexing import build, load
from alphaclip.indexing.dataset.locations import index_folder, index_keys
from alphaclip.indexing.store.manifests import manifest_path

ROOT = Path(__file__).parents[3]
EMBED = "@alphaclip/regions/embed_regions"
SEARCH = "@alphaclip/regions/search_regions"
SEGMENT = "@alphaclip/regions/segment_regions"
HEAVY = ("torch", "faiss", "open_clip", "segment_anything")
OPEN = f"""
import sys, fiftyone as fo, fiftyone.operators as foo
from fiftyone.operators.executor import ExecutionContext
from tests.plugin.panel.panel_driver import PanelDriver
name, fo.config.plugins_dir, *heavy = sys.argv[1:]
assert foo.operator_exists({EMBED!r}) and foo.operator_exists({SEARCH!r})
request = {{"dataset_name": name, "params": {{"source": "automatic"}}}}
context = ExecutionContext(request, operator_uri={SEGMENT!r})
print("model" in foo.get_operator({SEGMENT!r}).resolve_type(context, "inputs").type.properties)
panel = PanelDriver(fo.load_dataset(name))
print([index["key"] for index in panel.do("about")["indexes"]])
print([module for module in heavy if module in sys.modules])
"""
NANO = {"encoder": "alphaclip-nano"}

pytestmark = pytest.mark.usefixtures("plugins_dir")


def form(uri, dataset, view=None, **params):
    request = {
        "dataset_name": None if dataset is None else dataset.name,
        "params": params,
        "view": None if view is None else view._serialize(),
    }
    operator = foo.get_operator(uri)
    resolved = operator.resolve_type(ExecutionContext(request, operator_uri=uri), "inputs")
    return resolved.type.properties


def choices(prop):
    return [choice.value for choice in prop.view.choices]


def requests(result):
    return {
        request["operator_uri"].split("/")[-1]: request["params"]
        for request in result.executor.to_json()["requests"]
    }


def test_register__a_form_and_the_panel_import_nothing_heavy(plugins_dir, embedded):
    embedded.persistent = True
    command = [sys.executable, "-c", OPEN, embedded.name, plugins_dir, *HEAVY]
    run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert run.stdout.splitlines()[-3:] == ["True", "['regions']", "[]"], run.stderr


def test_register__declares_risk_and_modes():
    embed, search = foo.get_operator(EMBED).config, foo.get_operator(SEARCH).config
    assert (embed.risk_level.name, search.risk_level.name) == ("MEDIUM", "LOW")
    assert embed.allow_immediate_execution and embed.allow_delegated_execution
    assert search.allow_immediate_execution and search.allow_delegated_execution


def test_embed_form__offers_only_fields_with_regions(shapes):
    shapes.add_sample_field("caption", fo.StringField)
    shapes.add_sample_field("lane", fo.EmbeddedDocumentField, embedded_doc_type=fo.Polylines)
    shapes.add_sample_field("scene", fo.EmbeddedDocumentField, embedded_doc_type=fo.Classification)
    fields = form(EMBED, shapes)
    assert choices(fields["field"]) == ["ground_truth", "lane"]
    assert "alphaclip-nano" in choices(fields["encoder"])
    assert not fields["key"].invalid


def test_embed_form__no_field_with_regions(dataset_factory):
    dataset = dataset_factory()
    dataset.add_sample(fo.Sample("image.png", scene=fo.Classification(label="indoor")))
    refusal = form(EMBED, dataset)["refusal"]
    assert refusal.invalid
    assert "no field with regions" in refusal.error_message


def test_embed_form__empty_dataset(dataset_factory):
    assert "is empty" in form(EMBED, dataset_factory())["refusal"].error_message


def test_embed_form__video(dataset_factory):
    dataset = dataset_factory()
    dataset.media_type = "video"
    assert "no field with regions" in form(EMBED, dataset)["refusal"].error_message
    dataset.add_frame_field("boxes", fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections)
    fields = form(EMBED, dataset)
    assert choices(fields["field"]) == ["frames.boxes"]
    assert fields["every"].default == 1
    assert (
        "to_frames" in form("@alphaclip/regions/finetune_encoder", dataset)["refusal"].error_message
    )


def test_embed_form__no_dataset():
    assert "No dataset is open" in form(EMBED, None)["refusal"].error_message


def test_embed_form__says_what_nano_is(shapes):
    note = form(EMBED, shapes, **NANO)["encoder_note"].view
    assert "not photographs" in note.description
    assert "commercial use is allowed" in note.description


@pytest.mark.parametrize("key", ["Regions", "1st", "../outside", "a" * 65, ""])
def test_embed_form__malformed_key(shapes, key):
    prop = form(EMBED, shapes, key=key)["key"]
    assert prop.invalid
    assert "lowercase" in prop.error_message


def test_embed_form__key_taken(shapes):
    build(shapes, "ground_truth", key="regions", **NANO)
    fields = form(EMBED, shapes, key="regions")
    assert "There is an index 'regions'" in fields["key"].error_message
    assert not form(EMBED, shapes, key="regions", overwrite=True)["key"].invalid


def test_embed__whole_dataset(shapes):
    params = {"field": "ground_truth", "key": "boxes", **NANO}
    result = foo.execute_operator(EMBED, dataset=shapes, params=params)
    shown = requests(result)
    assert shown["show_output"]["results"]["regions"] == 6
    assert shown["show_output"]["results"]["skipped"] == 0
    assert "set_progress" in shown
    assert len(load(shapes, "boxes")) == 6


def test_embed__current_view(shapes):
    params = {"field": "ground_truth", "view_target": "CURRENT_VIEW", **NANO}
    foo.execute_operator(EMBED, view=shapes.limit(2), params=params)
    assert len(load(shapes)) == 2


def test_embed__images_behind_patches(shapes):
    patches = shapes.to_patches("ground_truth").limit(3)
    params = {"field": "ground_truth", "view_target": "CURRENT_VIEW", **NANO}
    foo.execute_operator(EMBED, dataset=shapes, view=patches, params=params)
    index = load(shapes)
    assert set(index.search("a box", k=9).sample_ids) == set(patches.values("sample_id"))


def test_embed__bad_image_is_reported(shapes, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"not a picture")
    detection = fo.Detection(label="red", bounding_box=[0.1, 0.1, 0.2, 0.2])
    shapes.add_sample(fo.Sample(str(broken), ground_truth=fo.Detections(detections=[detection])))
    params = {"field": "ground_truth", **NANO}
    result = foo.execute_operator(EMBED, dataset=shapes, params=params)
    results = requests(result)["show_output"]["results"]
    assert (results["regions"], results["skipped"]) == (6, 1)
    assert results["skipped_items"][0]["filepath"] == str(broken)


def test_embed__nothing_could_be_embedded(dataset_factory, tmp_path):
    dataset = dataset_factory()
    detection = fo.Detection(label="red", bounding_box=[0.1, 0.1, 0.2, 0.2])
    missing = str(tmp_path / "missing.png")
    dataset.add_sample(fo.Sample(missing, ground_truth=fo.Detections(detections=[detection])))
    params = {"field": "ground_truth", **NANO}
    with pytest.raises(ExecutionError, match="no region of 'ground_truth' could be embedded"):
        foo.execute_operator(EMBED, dataset=dataset, params=params)
    assert index_keys(dataset) == []


def test_embed__field_not_offered(shapes):
    with pytest.raises(ExecutionError, match="no 'tags' here"):
        foo.execute_operator(EMBED, dataset=shapes, params={"field": "tags", **NANO})


def test_embed__in_the_background(shapes):
    params = {"field": "ground_truth", "background": True, **NANO}
    shown = requests(foo.execute_operator(EMBED, dataset=shapes, params=params))
    assert "Region search" in shown["notify"]["message"]
    assert shown["open_panel"]["name"] == "region_search"
    deadline = time.monotonic() + 120
    while not index_keys(shapes):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert len(load(shapes)) == 6


def test_embed__delegated(shapes):
    from fiftyone.operators.delegated import DelegatedOperationService

    params = {"field": "ground_truth", **NANO}
    queued = foo.execute_operator(EMBED, dataset=shapes, params=params, request_delegation=True)
    assert queued.delegated
    service = DelegatedOperationService()
    service.execute_queued_operations(operator=EMBED, limit=1)
    operation = service.get(queued.result["id"])
    assert operation.run_state == "completed", operation.result
    assert operation.result.result["regions"] == 6
    assert operation.status.progress == 1
    assert len(load(shapes)) == 6


def test_search_form__before_anything_is_embedded(shapes):
    refusal = form(SEARCH, shapes)["refusal"]
    assert refusal.invalid
    assert "Embed regions" in refusal.error_message


def test_search_form__offers_the_indexes(shapes):
    build(shapes, "ground_truth", key="first", **NANO)
    build(shapes.limit(2), "ground_truth", key="second", **NANO)
    fields = form(SEARCH, shapes)
    assert choices(fields["key"]) == ["first", "second"]
    assert fields["key"].view.choices[1].label.startswith("second: 2 regions of ground_truth")
    assert not fields["query"].invalid


def test_search_form__searches_everything_again_after_a_search(shapes):
    build(shapes, "ground_truth", **NANO)
    found = load(shapes).search("red", k=2).view()
    assert form(SEARCH, shapes, view=found)["view_target"].default == "DATASET_VIEW"
    assert form(SEARCH, shapes, view=shapes.limit(3))["view_target"].default == "CURRENT_VIEW"


@pytest.mark.parametrize("params", [{"query": "  "}, {"query": "red", "k": 0}, {}])
def test_search__bad_input(shapes, params):
    build(shapes, "ground_truth", **NANO)
    with pytest.raises(ExecutionError):
        foo.execute_operator(SEARCH, dataset=shapes, params={"key": "regions", **params})


def test_search__sets_the_view_that_the_index_gives(shapes):
    index = build(shapes, "ground_truth", **NANO)
    params = {"query": "a green box", "key": "regions", "k": 4}
    shown = requests(foo.execute_operator(SEARCH, dataset=shapes, params=params))
    hits = index.search("a green box", k=4)
    view = fo.DatasetView._build(shapes, shown["set_view"]["view"])
    assert view.values("id") == hits.label_ids.tolist()
    assert shown["notify"]["message"].startswith("4 regions for “a green box”, cosine ")


def test_search__inside_the_current_view(shapes):
    build(shapes, "ground_truth", **NANO)
    inside = shapes.skip(4)
    params = {"query": "red", "key": "regions", "view_target": "CURRENT_VIEW"}
    shown = requests(foo.execute_operator(SEARCH, view=inside, params=params))
    found = fo.DatasetView._build(shapes, shown["set_view"]["view"])
    assert set(found.values("sample_id")) == set(inside.values("id"))


def test_search__view_without_embedded_regions(shapes):
    build(shapes.limit(2), "ground_truth", **NANO)
    params = {"query": "red", "key": "regions", "view_target": "CURRENT_VIEW"}
    shown = requests(foo.execute_operator(SEARCH, view=shapes.skip(4), params=params))
    assert "No region" in shown["notify"]["message"]
    assert "set_view" not in shown


def test_search__index_built_anew_is_opened_anew(shapes):
    params = {"query": "red", "key": "regions"}
    build(shapes.limit(2), "ground_truth", **NANO)
    foo.execute_operator(SEARCH, dataset=shapes, params=params)
    build(shapes, "ground_truth", overwrite=True, **NANO)
    shown = requests(foo.execute_operator(SEARCH, dataset=shapes, params=params))
    assert len(fo.DatasetView._build(shapes, shown["set_view"]["view"])) == 6


def test_search__labels_that_were_deleted_are_counted(shapes):
    build(shapes, "ground_truth", **NANO)
    sample = shapes.first()
    sample.ground_truth.detections = []
    sample.save()
    params = {"query": "red", "key": "regions", "k": 6}
    result = foo.execute_operator(SEARCH, dataset=shapes, params=params)
    told = requests(result)["notify"]["message"]
    assert told.startswith("1 of them are no labels of this dataset any more")


def test_search_form__leaves_a_damaged_index_out(shapes):
    build(shapes, "ground_truth", key="first", **NANO)
    build(shapes, "ground_truth", key="second", **NANO)
    manifest_path(index_folder(shapes, "second"), 1).write_text("{")
    fields = form(SEARCH, shapes)
    assert choices(fields["key"]) == ["first"]
    assert "is damaged" in fields["damaged"].view.description
    manifest_path(index_folder(shapes, "first"), 1).write_text("{")
    assert "is damaged" in form(SEARCH, shapes)["refusal"].error_message


def test_embed_form__key_of_another_brain_run(shapes):
    import fiftyone.brain as fob

    points = np.random.default_rng(0).random((6, 2))
    fob.compute_visualization(shapes, points=points, brain_key="points")
    prop = form(EMBED, shapes, key="points")["key"]
    assert prop.invalid
    assert "of another kind" in prop.error_message


def test_embed__any_error_is_shown(shapes, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError("no space left on the disk")

    monkeypatch.setattr("alphaclip.indexing.embedding.building.make_plan", fail)
    operator, executor = foo.get_operator(EMBED), Executor()
    request = {"dataset_name": shapes.name, "params": {"field": "ground_truth", **NANO}}
    context = ExecutionContext(request, executor=executor, operator_uri=EMBED)
    with pytest.raises(OSError, match="no space"):
        list(operator.execute(context))
    assert "no space left on the disk" in str(executor.to_json()["requests"][-1])

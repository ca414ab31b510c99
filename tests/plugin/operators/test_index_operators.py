"""The operators on an index that exists, through FiftyOne, without the App."""

import json
import shutil
import sys

import fiftyone as fo
import fiftyone.operators as foo
import fiftyone.plugins as fop
import pytest
from bson import json_util
from fiftyone.brain import compute_similarity
from fiftyone.operators.executor import ExecutionContext, ExecutionError, Executor
from PIL import Image

from alphaclip.indexing import Example, build, load
from alphaclip.indexing.dataset.locations import index_folder, index_keys

URI = "@alphaclip/regions/"
NAMES = (
    "update_index",
    "delete_index",
    "export_index",
    "compute_region_visualization",
    "find_odd_regions",
)

pytestmark = pytest.mark.usefixtures("plugins_dir")


def run(dataset, name, **params):
    result = foo.execute_operator(URI + name, dataset=dataset, params={"key": "regions", **params})
    requests = result.executor.to_json()["requests"]
    return {one["operator_uri"].split("/")[-1]: one["params"] for one in requests}


def form(dataset, name, **params):
    context = ExecutionContext(
        {"dataset_name": dataset.name, "params": params}, operator_uri=URI + name
    )
    return foo.get_operator(URI + name).resolve_type(context, "inputs").type.properties


@pytest.mark.parametrize("name", NAMES)
def test_forms__without_an_index(drawings, name):
    assert "Embed regions" in form(drawings, name)["refusal"].error_message


def test_risk__is_declared():
    risks = {name: foo.get_operator(URI + name).config.risk_level.name for name in NAMES}
    assert risks == dict(zip(NAMES, ["MEDIUM", "HIGH", "MEDIUM", "MEDIUM", "LOW"], strict=True))


def test_forms__offer_the_background_where_the_operator_takes_it(embedded):
    for name in set(NAMES) - {"delete_index"}:
        offered = "background" in form(embedded, name)
        assert foo.get_operator(URI + name).offers_background == offered == (name == "update_index")


def test_update__embeds_what_was_edited(embedded):
    sample = embedded.first()
    sample.shapes.detections[0].bounding_box = [0.5, 0.5, 0.3, 0.3]
    sample.save()
    results = run(embedded, "update_index")["show_output"]["results"]
    assert (results["edited"], results["kept"]) == (1, 23)


def test_update__delegated(embedded):
    from fiftyone.operators.delegated import DelegatedOperationService

    uri = URI + "update_index"
    params = {"key": "regions"}
    queued = foo.execute_operator(uri, dataset=embedded, params=params, request_delegation=True)
    service = DelegatedOperationService()
    service.execute_queued_operations(operator=uri, limit=1)
    operation = service.get(queued.result["id"])
    assert operation.run_state == "completed", operation.result
    assert operation.result.result["regions"] == 24


def test_delete__asks_for_the_name(embedded):
    assert form(embedded, "delete_index", key="regions", confirm="region")["confirm"].invalid
    with pytest.raises(ExecutionError):
        run(embedded, "delete_index")
    with pytest.raises(ExecutionError):
        run(embedded, "delete_index", confirm="another")
    run(embedded, "delete_index", confirm="regions")
    assert index_keys(embedded) == []
    assert embedded.count("shapes.detections") == 24


def test_delete__goes_on_where_the_vectors_are_gone(drawings):
    build(drawings, "shapes", encoder="alphaclip-nano")  # a clone has the vectors of the other
    shutil.rmtree(index_folder(drawings, "regions"))
    with pytest.raises(ExecutionError, match="vectors are not in"):
        run(drawings, "update_index")
    assert form(drawings, "delete_index")["key"].view.values() == ["regions"]
    run(drawings, "delete_index", confirm="regions")
    assert drawings.list_brain_runs() == []
    assert "refusal" in form(drawings, "delete_index")


def test_export__goes_on_with_what_was_cut_off(embedded):
    compute_similarity(
        embedded,
        patches_field="shapes",
        embeddings=False,
        backend="sklearn",
        brain_key="copy",
        alphaclip_unfinished=True,
    )
    assert not form(embedded, "export_index", brain_key="copy")["brain_key"].invalid
    run(embedded, "export_index", backend="sklearn", brain_key="copy")
    assert embedded.load_brain_results("copy").total_index_size == 24
    assert form(embedded, "export_index", brain_key="copy")["brain_key"].invalid


def test_export__copies_to_another_backend(embedded):
    assert form(embedded, "export_index", brain_key="a b")["brain_key"].invalid
    assert form(embedded, "export_index", brain_key="regions")["brain_key"].invalid
    run(embedded, "export_index", backend="sklearn", brain_key="copy")
    assert embedded.load_brain_results("copy").total_index_size == 24


def test_visualization__into_the_embeddings_panel(embedded):
    assert "pca" in form(embedded, "compute_region_visualization")["method"].view.values()
    shown = run(embedded, "compute_region_visualization", method="pca", brain_key="points")
    assert shown["open_panel"]["name"] == "Embeddings"
    assert len(embedded.load_brain_results("points").points) == 24


def test_odd__near_duplicates_and_outliers(embedded):
    twin = embedded.first().copy()
    twin.shapes = fo.Detections(detections=[one.copy() for one in twin.shapes.detections])
    embedded.add_sample(twin)
    load(embedded).update()
    shown = run(embedded, "find_odd_regions", kind="duplicates", similarity=0.999)
    view = fo.DatasetView._build(embedded, shown["set_view"]["view"])
    both = [*embedded.first().shapes.detections, *twin.shapes.detections]
    assert {one.id for one in both} <= set(view.values("id"))
    shown = run(embedded, "find_odd_regions", kind="outliers", count=5)
    assert len(fo.DatasetView._build(embedded, shown["set_view"]["view"])) == 5


def test_odd__label_errors(embedded):
    names = embedded.values("shapes.detections.label")
    right, names[2][0] = names[2][0], "red circle"
    embedded.set_values("shapes.detections.label", names)
    sent = {"kind": "label errors", "count": 5}
    assert form(embedded, "find_odd_regions", **sent)["attribute"].view.values() == ["label"]
    shown = run(embedded, "find_odd_regions", **sent)
    results = shown["show_output"]["results"]
    wrong = embedded.skip(2).first().shapes.detections[0].id
    view = fo.DatasetView._build(embedded, shown["set_view"]["view"])
    assert view.values("id") == results["label_ids"]
    assert len(view) == results["count"] == len(results["given"]) == 5
    place = results["label_ids"].index(wrong)
    assert results["given"][place] == "red circle"
    assert results["suggested"][place].split()[0] == right.split()[0] == "green"
    assert 0 <= results["probabilities"][place] < 0.5
    assert results["rows"][place]["given"] == names[2][0]
    assert results["judged"] + results["left_out"] == 24
    json.dumps(shown["show_output"])


def test_odd__label_errors_without_cleanlab(embedded, monkeypatch):
    monkeypatch.setitem(sys.modules, "cleanlab.experimental.label_issues_batched", None)
    with pytest.raises(ExecutionError, match="pip install cleanlab"):
        run(embedded, "find_odd_regions", kind="label errors")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    kind = form(embedded, "find_odd_regions", kind="label errors")["kind"]
    assert "pip install cleanlab" in kind.error_message


@pytest.mark.parametrize("attribute", ["../up", "tags", 7])
def test_odd__no_such_attribute(embedded, attribute):
    with pytest.raises(ExecutionError, match="attribute"):
        run(embedded, "find_odd_regions", kind="label errors", attribute=attribute)


def test_similar__to_selected_patches_and_to_labels_in_a_picture(embedded):
    one, other = embedded.first().shapes.detections
    patches = embedded.to_patches("shapes")
    request = {"dataset_name": embedded.name, "view": patches._serialize(), "selected": [one.id]}
    found = similar(embedded, request).values("id")
    assert found[0] == one.id
    assert found == load(embedded).search(Example(one.id), k=5).label_ids.tolist()
    picked = {"label_id": other.id, "sample_id": embedded.first().id, "field": "shapes"}
    found = similar(embedded, {**request, "view": None, "selected_labels": [picked]})
    assert found.first().id == other.id


def test_similar__to_a_label_that_was_copied(embedded):
    """Each of two labels of one id is found for itself, in the grid and in pictures."""
    copy = add_copy(embedded)
    index = load(embedded)
    index.update()
    one = copy.shapes.detections[0].id
    picked = {"label_id": one, "sample_id": copy.id, "field": "shapes"}
    patches = embedded.select(copy.id).to_patches("shapes")
    in_grid = {"view": patches._serialize(), "selected": [one]}
    for request in ({"view": None, "selected_labels": [picked]}, in_grid):
        found = similar(embedded, {"dataset_name": embedded.name, **request}, k=1)
        assert found.values("sample_id") == [copy.id]
        assert found.values("id") == [one]


def test_odd__of_labels_that_were_copied(embedded):
    copy = add_copy(embedded)
    load(embedded).update()
    for kind in ("duplicates", "outliers"):
        shown = run(embedded, "find_odd_regions", kind=kind, count=26, similarity=0.5)
        # As the server reads what the App sends
        stages = json_util.loads(json.dumps(shown["set_view"]["view"]))
        view = fo.DatasetView._build(embedded, stages)
        assert view.select(copy.id).count("shapes.detections") == 2
        assert view.count("shapes.detections") == 26


def add_copy(dataset):
    """A picture whose labels are those of the first, turned upside down."""
    first = dataset.first()
    path = first.filepath.replace(".png", "-copy.png")
    Image.open(first.filepath).rotate(180).save(path)
    copied = fo.Detections.from_dict(first.shapes.to_dict())
    copy = fo.Sample(path, shapes=copied)
    dataset.add_sample(copy)
    return copy


def test_similar__nothing_selected(embedded):
    assert "Select patches" in form(embedded, "find_similar_regions")["refusal"].error_message
    with pytest.raises(ExecutionError, match="Nothing is selected"):
        run(embedded, "find_similar_regions")


def similar(dataset, request, k=5):
    """The regions that the operator shows."""
    executor = Executor()
    uri = URI + "find_similar_regions"
    params = {"params": {"key": "regions", "k": k}}
    context = ExecutionContext({**request, **params}, executor=executor, operator_uri=uri)
    list(foo.get_operator(uri).execute(context))
    sent = {one["operator_uri"].split("/")[-1]: one for one in executor.to_json()["requests"]}
    return fo.DatasetView._build(dataset, sent["set_view"]["params"]["view"])


def test_similar_button__finds_at_once_where_one_index_holds_what_is_selected(embedded):
    sample = embedded.first()
    label = {"label_id": sample.shapes.detections[0].id, "sample_id": sample.id, "field": "shapes"}
    unknown = {**label, "label_id": "f" * 24}
    assert press_similar(embedded, label) == ({"key": "regions"}, True)
    assert press_similar(embedded) == press_similar(embedded, label, unknown) == ({}, False)
    other = build(embedded, "shapes", "alphaclip-nano", key="other", progress=False)
    assert press_similar(embedded, label) == ({}, False)
    other.delete()


def press_similar(dataset, *labels):
    """What the button opens the operator with, and whether without its form."""
    context = {"dataset": dataset, "selected_labels": list(labels)}
    executor = foo.execute_operator(URI + "similar_regions_button", context).executor
    (sent,) = executor.to_json()["requests"]
    return sent["params"]["params"], sent["params"]["skip_prompt"]


def test_panel_button__opens_it(embedded):
    assert run(embedded, "open_region_search")["open_panel"]["name"] == "region_search"


def test_skill__is_listed():
    assert "region-search" in fop.get_plugin("@alphaclip/regions").skills

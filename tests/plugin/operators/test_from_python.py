"""Operators as a program calls them: what they give back, and what they say of odd parameters."""

import importlib.util
import inspect
import json

import fiftyone as fo
import fiftyone.brain as fob
import fiftyone.operators as foo
import numpy as np
import pytest
from fiftyone.operators.delegated import DelegatedOperationService
from fiftyone.operators.executor import ExecutionContext, ExecutionError, Executor
from PIL import Image

from alphaclip import indexing
from alphaclip.errors import AlphaClipError
from alphaclip.indexing import Example, build, load, register_backend, undo
from alphaclip.indexing.dataset.locations import index_keys

from ..conftest import draw_shape, plugin_module

URI = "@alphaclip/regions/"
NANO = "alphaclip-nano"

pytestmark = pytest.mark.usefixtures("plugins_dir")


@pytest.fixture(scope="module")
def indexed(dataset_factory, tmp_path_factory):
    """Fourteen drawings of two shapes each, 28 regions, and their index."""
    folder, dataset = tmp_path_factory.mktemp("drawings"), dataset_factory("python")
    for number in range(14):
        picture = Image.new("RGB", (320, 240), "#f4efe6")
        left = draw_shape(picture, 2 * number, (12 + 3 * number, 16, 120 + 2 * number, 110))
        right = draw_shape(picture, 2 * number + 1, (150, 80, 260 + 3 * number, 210))
        path = folder / f"{number}.png"
        picture.save(path)
        shapes = fo.Detections(detections=[left, right])
        dataset.add_sample(fo.Sample(str(path), shapes=shapes))
    build(dataset, "shapes", NANO, progress=False)
    return dataset


@pytest.fixture
def selected(indexed):
    sample = indexed.first()
    label_id = sample.shapes.detections[0].id
    return [{"label_id": label_id, "sample_id": sample.id, "field": "shapes"}]


def run(dataset, name, selected_labels=(), **params):
    """What the operator gives back, which is JSON."""
    ctx = {"dataset": dataset, "params": params, "selected_labels": list(selected_labels)}
    result = foo.execute_operator(URI + name, ctx).result
    json.dumps(result, allow_nan=False)
    return result


def run_queued(dataset, name, selected_labels=(), **params):
    ctx = {"dataset": dataset, "params": params, "selected_labels": list(selected_labels)}
    queued = foo.execute_operator(URI + name, ctx, request_delegation=True)
    assert queued.delegated
    service = DelegatedOperationService()
    service.execute_queued_operations(operator=URI + name, limit=1)
    operation = service.get(queued.result["id"])
    assert operation.run_state == "completed", operation.result
    return operation.result.result


def of_hits(hits):
    return hits.label_ids.tolist(), hits.sample_ids.tolist(), pytest.approx(hits.scores, abs=1e-5)


def of_result(result):
    return result["label_ids"], result["sample_ids"], result["scores"]


@pytest.mark.parametrize("call", [run, run_queued])
def test_search__gives_ids_and_scores(indexed, call):
    found = call(indexed, "search_regions", key="regions", query="a red circle", k=4)
    assert of_result(found) == of_hits(load(indexed).search("a red circle", k=4))
    assert (found["index"], found["count"], found["gone"]) == ("regions", 4, 0)


def test_search__k_of_numpy_is_a_number(indexed):
    assert run(indexed, "search_regions", key="regions", query="red", k=np.int64(3))["count"] == 3


def test_search__nothing_in_the_view(indexed):
    params = {"key": "regions", "query": "red", "view_target": "CURRENT_VIEW"}
    view = indexed.limit(0)
    result = foo.execute_operator(URI + "search_regions", view=view, params=params).result
    assert (result["count"], result["label_ids"]) == (0, [])


@pytest.mark.parametrize("call", [run, run_queued])
def test_similar__gives_ids_and_scores(indexed, selected, call):
    found = call(indexed, "find_similar_regions", selected, key="regions", k=5)
    example = Example(selected[0]["label_id"])
    assert of_result(found) == of_hits(load(indexed).search(example, k=5))


def test_odd__gives_groups_scores_and_counts(indexed):
    found = run(indexed, "find_odd_regions", key="regions", similarity=0.9)
    grouped = [label_id for group in found["groups"] for label_id in group]
    assert set(grouped) == set(found["label_ids"])
    assert found["count"] == len(found["label_ids"])
    odd = run(indexed, "find_odd_regions", key="regions", kind="outliers", count=3)
    assert odd["count"] == len(odd["label_ids"]) == len(odd["scores"]) == 3


def test_embed_update_and_delete__say_what_they_did(indexed):
    made = run(indexed, "embed_regions", field="shapes", encoder=NANO, key="other")
    assert (made["index"], made["regions"], made["added"]) == ("other", 28, 28)
    assert run(indexed, "update_index", key="other")["kept"] == 28
    assert run(indexed, "delete_index", key="other", confirm="other") == {"deleted": "other"}
    assert index_keys(indexed) == ["regions"]


def test_embed__by_workers(indexed, monkeypatch):
    asked = []

    def build_here(*args, engine, workers, **kwargs):
        asked.append((engine, workers))
        return build(*args, **kwargs)

    monkeypatch.setattr(indexing, "build", build_here)
    by = {"field": "shapes", "encoder": NANO, "key": "other", "engine": "local", "workers": 3}
    assert run(indexed, "embed_regions", **by)["added"] == 28
    assert asked == [("local", 3)]
    with pytest.raises(ExecutionError, match="expected one of"):
        run(indexed, "embed_regions", **{**by, "overwrite": True, "engine": "spark"})
    run(indexed, "delete_index", key="other", confirm="other")


def test_update__in_the_background_says_so(indexed, monkeypatch):
    base = plugin_module(foo.get_operator(URI + "update_index"), "common.operators")
    monkeypatch.setattr(base, "run_alone", lambda work: work())
    told = run(indexed, "update_index", key="regions", background=True)
    assert told == {"in_background": "Updating regions"}


def test_open_panel__says_which(indexed):
    assert run(indexed, "open_region_search") == {"panel": "region_search"}


def test_act__takes_words_and_a_threshold(indexed):
    above = load(indexed).search("a red circle", k=5)
    least = float(above.scores[-1]) - 1e-6
    params = {"asked": {"words": "a red circle"}, "min_score": least}
    listed = run(indexed, "act_on_regions", action="export", **params)
    assert of_result(listed) == of_hits(above)
    done = run(indexed, "act_on_regions", action="tag", value="python", **params)
    assert (done["kind"], done["count"], done["left"]) == ("tag", len(above), 0)
    assert indexed.count_label_tags() == {"python": len(above)}
    assert undo(indexed, done["action"]).restored == len(above)


def test_act__takes_ids(indexed, selected):
    ids = [selected[0]["label_id"]]
    params = {"action": "tag", "value": "one", "asked": {"words": "red"}, "label_ids": ids}
    done = run(indexed, "act_on_regions", **params)
    assert done["count"] == 1
    undo(indexed, done["action"])


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, "Nothing was searched"),
        ({"asked": {"words": "red"}}, "action is None"),
        ({"asked": {"words": "red"}, "action": "burn"}, "action is 'burn'"),
        ({"asked": {"words": "red"}, "action": ["tag"]}, "expected a text"),
        ({"asked": {"words": "red"}, "action": "tag"}, "min_score is missing"),
        ({"asked": {"words": "red"}, "action": "tag", "min_score": "0.2"}, "expected a cosine"),
        ({"asked": {"words": "red"}, "action": "tag", "label_ids": "abc"}, "a list of texts"),
        ({"asked": "red", "action": "tag"}, "asked is 'red': expected a dict"),
        ({"asked": {"word": "red"}, "action": "tag"}, "Say what to look for"),
        ({"asked": {"words": 7}, "action": "tag"}, "words is 7"),
        ({"asked": {"words": "a", "like": "abc"}, "action": "tag"}, "like is 'abc'"),
        ({"asked": {"words": "a", "k": 0}, "action": "tag"}, "k is 0"),
        ({"asked": {"words": "a", "mode": "all"}, "action": "tag"}, "mode is 'all'"),
        ({"asked": {"picture": "a.png"}, "action": "tag"}, "picture is"),
        ({"asked": {"picture": {}}, "action": "tag"}, "token is None"),
        ({"asked": {"words": "a", "at": "now"}, "action": "tag"}, "at is 'now'"),
    ],
)
def test_act__says_which_part_is_missing_or_none(indexed, params, message):
    with pytest.raises(ExecutionError) as raised:
        run(indexed, "act_on_regions", value="x", **params)
    assert message in str(raised.value).replace("\\", "")


def test_export__without_a_backend_takes_the_preselected(indexed):
    made = run(indexed, "export_index", key="regions", brain_key="copy")
    assert made == {"vectors": 28, "brain_key": "copy", "backend": "sklearn"}
    indexed.delete_brain_run("copy")


def test_export__does_not_offer_the_backend_that_it_is(indexed):
    register_backend()
    assert "faiss" in fob.brain_config.similarity_backends
    operator = foo.get_operator(URI + "export_index")
    context = ExecutionContext({"dataset_name": indexed.name, "params": {}})
    offered = operator.resolve_type(context, "inputs").type.properties["backend"].view.values()
    assert "sklearn" in offered
    assert "faiss" not in offered
    with pytest.raises(ExecutionError, match="no 'faiss' here"):
        run(indexed, "export_index", key="regions", brain_key="copy", backend="faiss")


@pytest.mark.parametrize("method", ["pca", "tsne", None])
def test_visualization__of_few_regions(indexed, method):
    made = run(indexed, "compute_region_visualization", key="regions", method=method)
    assert (made["points"], made["brain_key"]) == (28, "regions_points")
    assert len(indexed.load_brain_results("regions_points").points) == 28
    indexed.delete_brain_run("regions_points")


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_visualization__of_fewer_regions_than_a_layout_needs(indexed, method):
    params = {"key": "few", "method": method, "brain_key": "points"}
    index = build(indexed.limit(2), "shapes", NANO, "few", progress=False)
    with pytest.raises(ExecutionError, match=r"4 regions of this dataset: .* at least 5"):
        run(indexed, "compute_region_visualization", **params)
    build(indexed.limit(3), "shapes", NANO, "few", overwrite=True, progress=False)
    assert run(indexed, "compute_region_visualization", **params)["points"] == 6
    indexed.delete_brain_run("points")
    index.delete()


def test_visualization__umap_is_not_installed(indexed, monkeypatch):
    there = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "umap" else there(name)
    )
    with pytest.raises(ExecutionError, match="pip install umap-learn, or take tsne or pca"):
        run(indexed, "compute_region_visualization", key="regions", method="umap")


def test_visualization__says_that_it_writes():
    operator = foo.get_operator(URI + "compute_region_visualization")
    assert operator.config.risk_level.name == "MEDIUM"


@pytest.mark.parametrize(
    "classes",
    [
        "red circle\nblue square",
        ["red circle", "blue square"],
        [{"name": "red circle", "prompts": ["a red circle"]}, "blue square"],
    ],
)
def test_label__takes_classes_as_text_and_as_a_list(indexed, classes):
    made = run(indexed, "label_regions", key="regions", classes=classes, mode="ranking")
    assert [row["class"] for row in made["classes"]] == ["red circle", "blue square"]
    assert made["outcome"] == "done"
    undo(indexed, made["run"]["run"])


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("label_regions", {"classes": []}, "0 classes were given"),
        ("label_regions", {"classes": 7}, "classes is 7: expected a list of classes"),
        ("label_regions", {"classes": {"name": "a"}}, "expected a list of classes"),
        ("label_regions", {"classes": ["a", 7]}, "a class is 7"),
        ("label_regions", {"classes": ["a", "A"]}, "two classes"),
        ("label_regions", {}, "classes. Reason: Required"),
        ("label_regions", {"classes": ["a"], "precision": "0.9"}, "precision is '0.9'"),
        ("label_regions", {"classes": ["a"], "into": ["auto"]}, "into is ['auto']"),
        ("label_regions", {"classes": ["a"], "overwrite": "yes"}, "expected True or False"),
        ("search_regions", {"query": ["a", "b"]}, "query is ['a', 'b']: expected a text"),
        ("search_regions", {"query": "a", "k": "5"}, "k is '5': expected a whole number"),
        ("search_regions", {"query": "a", "k": 2.5}, "expected a whole number"),
        ("search_regions", {"query": "a", "k": True}, "expected a whole number"),
        ("search_regions", {"query": "a", "key": ["regions"]}, "expected one of regions"),
        ("find_odd_regions", {"kind": "outliers", "count": "9"}, "count is '9'"),
        ("find_odd_regions", {"similarity": float("nan")}, "similarity is nan"),
        ("find_odd_regions", {"similarity": "high"}, "similarity is 'high'"),
        ("export_index", {}, "brain_key. Reason: Required"),
        ("export_index", {"brain_key": 7}, "A letter"),
        ("export_index", {"brain_key": "copy", "backend": 7}, "no '7' here"),
        ("update_index", {"background": "no"}, "background is 'no': expected True or False"),
        ("delete_index", {"confirm": 7}, "That is not 'regions'"),
        ("compute_region_visualization", {"method": ["pca"]}, "expected one of"),
        ("finetune_encoder", {"field": "shapes", "embed": "no", "key": "new"}, "embed is 'no'"),
    ],
)
def test_operators__name_the_parameter_and_what_is_expected(indexed, name, params, message):
    with pytest.raises((ExecutionError, AlphaClipError)) as raised:
        run(indexed, name, **{"key": "regions", **params})
    assert message in str(raised.value)
    assert "Traceback" not in str(raised.value)


@pytest.mark.parametrize("key", [None, ""])
def test_operators__say_that_the_key_is_missing(indexed, selected, key):
    for name in ("search_regions", "find_similar_regions", "find_odd_regions", "export_index"):
        with pytest.raises(ExecutionError, match=r"Path: key\. Reason: "):
            run(indexed, name, selected, key=key, query="a", brain_key="copy")


def test_operators__empty_parameters_are_left_out(indexed):
    found = run(indexed, "find_odd_regions", key="regions", kind=None, similarity=None)
    assert "groups" in found


def test_execute__the_app_gets_messages(indexed):
    uri, executor = URI + "search_regions", Executor()
    params = {"key": "regions", "query": "red", "k": 2}
    request = {"dataset_name": indexed.name, "params": params, "operator_uri": uri}
    context = ExecutionContext(request, executor=executor, operator_uri=uri)
    messages = foo.get_operator(uri).execute(context)
    assert inspect.isgenerator(messages)
    names = [message.body.operator_uri for message in messages]
    assert names == ["set_view", "notify"]

"""The operator that labels with a stated precision, through FiftyOne, without the App."""

import json
from types import SimpleNamespace

import fiftyone as fo
import fiftyone.operators as foo
import pytest
from fiftyone.operators.executor import ExecutionContext, ExecutionError

from alphaclip.indexing import build, load
from alphaclip.indexing.act.acting import undo
from alphaclip.indexing.dataset.samples import load_sample
from alphaclip.indexing.labelling.review.runs import add_reviews, book_of, labelling_of
from alphaclip.indexing.labelling.scoring.class_sets import save_classes
from alphaclip.indexing.labelling.scoring.classes import LabelClass

LABEL = "@alphaclip/regions/label_regions"
EASY = {"precision": 0.5, "confidence": 0.5, "sample": 12}

pytestmark = pytest.mark.usefixtures("plugins_dir")


@pytest.fixture(scope="module")
def scenes():
    """A few pictures of the sample."""
    dataset = load_sample()[:24].clone()
    yield dataset
    dataset.delete()


@pytest.fixture(scope="module")
def for_forms(scenes):
    """An index that no test writes to."""
    yield from embedded(scenes)


@pytest.fixture
def indexed(scenes):
    yield from embedded(scenes)


def embedded(scenes):
    dataset = scenes.clone()
    build(dataset, "objects", encoder="alphaclip-nano")
    yield dataset
    dataset.delete()


def truths(dataset):
    ids, names = dataset.values(["objects.detections.id", "objects.detections.label"], unwind=True)
    return dict(zip(ids, names, strict=True))


def lines(dataset):
    return "\n".join(sorted(set(truths(dataset).values())))


def fields(dataset, **params):
    request = {"dataset_name": None if dataset is None else dataset.name, "params": params}
    context = ExecutionContext(request, operator_uri=LABEL)
    return foo.get_operator(LABEL).resolve_type(context, "inputs").type.properties


def requests(dataset, **params):
    sent = {"key": "regions", "classes": lines(dataset), **params}
    result = foo.execute_operator(LABEL, dataset=dataset, params=sent)
    return {
        request["operator_uri"].split("/")[-1]: request["params"]
        for request in result.executor.to_json()["requests"]
    }


def run(dataset, **params):
    return requests(dataset, **params)["show_output"]["results"]


def review_sample(dataset, answers, into="auto"):
    sample = book_of(dataset, labelling_of(dataset, into)).sample
    add_reviews(dataset, into, {one: answers[one] for one in sample}, reviewer="app")


def shown_texts(results):
    """The first text of each part of an output, in order."""
    outputs = foo.get_operator(LABEL).resolve_output(SimpleNamespace(results=results))
    shown = outputs.type.properties
    return [prop.view.label or getattr(prop.view, "title", None) for prop in shown.values()]


def test_form__counts_classes_and_says_where_they_go(for_forms):
    found = fields(for_forms, classes="apple\n\npear: a pear, a green pear")
    assert found["class_count"].view.label == "2 classes"
    assert "Makes the field auto" in found["into_note"].view.label
    assert "class_set" not in found
    assert "takes 248" in found["sample"].view.description
    assert not any(prop.invalid for prop in found.values())
    found = fields(for_forms, into="objects.kind", mode="ranking")
    assert "attribute kind on the labels of objects" in found["into_note"].view.label
    assert not {"precision", "confidence", "sample", "per_class"} & set(found)
    assert fields(for_forms, mode="expected")["mode"].invalid, "a mode of an earlier version"


def test_form__saved_classes(indexed):
    example = next(iter(truths(indexed)))
    save_classes(indexed, "fruit", [LabelClass("apple", examples=(example,)), "pear"])
    found = fields(indexed, class_set="fruit")
    assert found["class_count"].view.label == "2 classes, 1 example to learn from"
    assert "classes" not in found
    assert found["class_set"].view.values() == ["(typed)", "fruit"]
    assert "classes" in fields(indexed)


@pytest.mark.parametrize(
    ("param", "value", "told"),
    [
        ("classes", "apple\npear: a pear; nonsense: x", "line 2"),
        ("classes", "apple\nApple", "two classes"),
        ("classes", "apple: a; kind of: pear\npear: b; kind of: apple", "its own ancestor"),
        ("into", "objects", "own field"),
        ("into", "filepath", "gives a meaning"),
        ("into", "objects.mask_path", "meaning of its own"),
        ("into", "outlines.kind", "objects"),
        ("precision", 1, "can never show"),
        ("precision", 0, "between 0 and 1"),
        ("confidence", 95, "between 0 and 1"),
        ("sample", 0, "at least 1"),
        ("class_set", "none_such", "no 'none_such' here"),
        ("mode", "surely", "expected one of promise"),
    ],
)
def test_form__says_what_cannot_be_used(for_forms, param, value, told):
    prop = fields(for_forms, **{"classes": "apple\npear", param: value})[param]
    assert prop.invalid
    assert told in prop.error_message
    with pytest.raises(ExecutionError, match=param):
        run(for_forms, **{"classes": "apple\npear", param: value})
    assert "auto" not in for_forms.get_field_schema()


def test_form__says_what_is_missing(dataset_factory):
    assert "No dataset" in fields(None)["refusal"].view.label
    assert "Embed regions" in fields(dataset_factory())["refusal"].view.description
    with pytest.raises(ExecutionError):
        foo.execute_operator(LABEL, dataset=dataset_factory(), params={"key": "regions"})


def test_form__a_place_of_another_index(indexed):
    build(indexed, "outlines", encoder="alphaclip-nano", key="outlines")
    run(indexed, mode="ranking")
    assert "index 'regions'" in fields(indexed, key="outlines")["into"].error_message


def test_run__a_ranking_writes_every_answer(indexed):
    results = run(indexed, mode="ranking")
    assert results["outcome"] == "done"
    assert results["counts"]["written"] == indexed.count("auto.detections") > 0
    assert "as a ranking, which promises nothing" in results["lines"][0]
    assert results["promise"] is None
    assert [row["written"] for row in results["classes"]] == [
        indexed.count_values("auto.detections.label").get(row["class"], 0)
        for row in results["classes"]
    ]
    assert set(results["figures"]) == {"classes"}
    assert {"Labels written", "Classes", "Each class"} <= set(shown_texts(results))
    undo(indexed, results["run"]["run"])
    assert "auto" not in indexed.get_field_schema()


def test_run__from_the_sample_to_labels(indexed):
    sent = requests(indexed, **EASY)
    results = sent["show_output"]["results"]
    assert results["outcome"] == "waits"
    assert sent["open_panel"]["name"] == "label_regions_panel"
    assert results["counts"]["sample to review"] == 12
    assert "12 of the 12 regions of the random sample" in " ".join(results["lines"])
    assert results["counts"]["written"] == 0
    review_sample(indexed, truths(indexed))
    sent = requests(indexed, **EASY)
    results = sent["show_output"]["results"]
    assert "open_panel" not in sent
    assert results["outcome"] == "done"
    assert results["promise"]["threshold"] is not None
    assert any(line.startswith("Asked 50.0 %, estimated") for line in results["lines"])
    assert indexed.count("auto.detections") == results["counts"]["written"] > 0
    assert set(results["figures"]) <= {"classes", "reliability"}
    json.dumps(results)


def test_run__a_promise_that_is_not_reachable_is_an_answer(indexed):
    run(indexed, **EASY)
    review_sample(indexed, dict.fromkeys(truths(indexed)))
    results = run(indexed, **EASY)
    assert results["outcome"] == "not reachable"
    assert "not reachable" in " ".join(results["lines"])
    assert results["counts"]["written"] == 0
    assert "The precision cannot be promised" in shown_texts(results)


def test_run__each_class_for_itself(indexed):
    every = dict.fromkeys(["apple", "bird"])
    classes = "\n".join(every)
    sent = {"classes": classes, "per_class": True, "precision": 0.5, "confidence": 0.5, "sample": 8}
    assert run(indexed, **sent)["outcome"] == "waits"
    review_sample(indexed, dict.fromkeys(truths(indexed), "apple"))
    results = run(indexed, **sent)
    assert {row["class"] for row in results["classes"]} == set(every)
    assert {row["promised"] for row in results["classes"]} == {"50.0 %", "not reachable"}
    assert "50 % right is promised of 1 of 2 classes" in results["lines"][0]
    assert any(line.startswith("bird: ") for line in results["lines"])


def test_run__into_an_attribute(indexed):
    sent = {"precision": 0.5, "sample": 20, "into": "objects.kind"}
    assert run(indexed, **sent)["outcome"] == "waits"
    review_sample(indexed, truths(indexed), "objects.kind")
    results = run(indexed, **sent)
    kinds = indexed.count_values("objects.detections.kind")
    kinds.pop(None, None)
    assert sum(kinds.values()) == results["counts"]["written"] > 0


def test_run__saved_classes_with_examples_are_learnt_from(indexed):
    known = truths(indexed)
    examples = {name: one for one, name in known.items()}
    save_classes(indexed, "all", [LabelClass(n, examples=(e,)) for n, e in examples.items()])
    results = run(indexed, class_set="all", classes=None, mode="ranking")
    assert "examples" in results["lines"][-1] or "zero-shot" in results["lines"][-1]
    assert results["counts"]["written"] > 0


def test_run__in_the_background(indexed):
    from ..panel.test_panel import wait_for

    sent = requests(indexed, mode="ranking", background=True)
    assert sent["open_panel"]["name"] == "region_search"
    assert wait_for(lambda: labelling_of(indexed, "auto"))
    wait_for(lambda: "auto" in fo.load_dataset(indexed.name).get_field_schema())


def test_run__delegated(indexed):
    from fiftyone.operators.delegated import DelegatedOperationService

    params = {"key": "regions", "classes": lines(indexed), **EASY}
    queued = foo.execute_operator(LABEL, dataset=indexed, params=params, request_delegation=True)
    service = DelegatedOperationService()
    service.execute_queued_operations(operator=LABEL, limit=1)
    operation = service.get(queued.result["id"])
    assert operation.run_state == "completed", operation.result
    assert operation.result.result["outcome"] == "waits"


def test_run__an_index_that_is_gone(indexed):
    load(indexed).delete()
    with pytest.raises(ExecutionError):
        run(indexed, mode="ranking")

"""The operator that trains on a dataset, through FiftyOne, without the App."""

import fiftyone as fo
import fiftyone.operators as foo
import pytest
from fiftyone import ViewField as F
from fiftyone.operators.executor import ExecutionContext, ExecutionError

from alphaclip.indexing import load
from alphaclip.indexing.dataset.samples import load_sample
from alphaclip.training.finetune import fiftyone_training, loop

FINETUNE = "@alphaclip/regions/finetune_encoder"


@pytest.fixture(autouse=True)
def operator(plugins_dir, monkeypatch, tmp_path):
    """The operator, whose runs are of a few steps; models go to a folder of the test's own."""
    monkeypatch.setenv("ALPHACLIP_MODELS", str(tmp_path / "models"))
    for name, value in {"LEAST_STEPS": 3, "EPOCHS": 0}.items():
        monkeypatch.setattr(fiftyone_training, name, value)
    return foo.get_operator(FINETUNE)


@pytest.fixture
def scenes():
    """A few pictures of the sample."""
    dataset = load_sample()[:20].clone()
    yield dataset
    dataset.delete()


def fields(dataset, **params):
    request = {"dataset_name": None if dataset is None else dataset.name, "params": params}
    context = ExecutionContext(request, operator_uri=FINETUNE)
    return foo.get_operator(FINETUNE).resolve_type(context, "inputs").type.properties


def choices(prop):
    return [choice.value for choice in prop.view.choices]


def run(dataset, **params):
    result = foo.execute_operator(FINETUNE, dataset=dataset, params=params)
    requests = result.executor.to_json()["requests"]
    shown = {r["operator_uri"].split("/")[-1]: r["params"] for r in requests}
    return shown["show_output"]["results"]


def test_form__offers_fields_texts_and_encoders(scenes):
    sample = scenes.match(F("objects.detections").length() > 0).first()
    sample.objects.detections[0]["sentence"] = "a drawing of something"
    sample.save()
    found = fields(scenes)
    assert choices(found["field"]) == ["objects", "outlines"]
    assert choices(found["text"])[0] == "label"
    assert "sentence" in choices(found["text"])
    assert choices(found["encoder"]) == ["alphaclip-nano"]
    assert not any(prop.invalid for prop in found.values())


@pytest.mark.parametrize("key", ["", "../up", "A b", "x" * 200])
def test_form__refuses_a_bad_name(scenes, key):
    assert fields(scenes, key=key)["key"].invalid


def test_form__refuses_a_name_that_is_taken(scenes):
    from alphaclip.indexing import build

    build(scenes, "outlines", encoder="alphaclip-nano", key="tuned")
    assert "another name" in fields(scenes)["key"].error_message


def test_form__says_what_is_missing(dataset_factory):
    assert "refusal" in fields(None)
    empty = dataset_factory()
    assert "refusal" in fields(empty)
    empty.add_sample(fo.Sample("nothing.jpg"))
    assert "no field with regions" in fields(empty)["refusal"].view.label


def test_run__trains_measures_and_embeds(scenes, tmp_path):
    results = run(scenes, field="objects", held_out=0.5)
    (to_region, to_text) = results["gains"]
    assert [to_region["direction"], to_text["direction"]] == ["text to region", "region to text"]
    assert results["trained_on"] + results["held_out"] == scenes.count("objects.detections")
    assert results["model"].startswith(str(tmp_path / "models"))
    index = load(scenes, "tuned")
    assert len(index) == scenes.count("objects.detections")
    assert index.info()["encoder"] == results["model"]
    assert index.search("a red apple", k=3).scores.shape == (3,)


@pytest.fixture
def made_here(monkeypatch):
    """Batches are made in this process; one that is started for them takes seconds to import."""
    make_loader = loop.make_loader
    monkeypatch.setattr(loop, "make_loader", lambda batches, _: make_loader(batches, workers=0))


@pytest.mark.usefixtures("made_here")
def test_run__without_embedding(scenes):
    results = run(scenes, field="objects", embed=False, key="other")
    assert results["index"] is None
    with pytest.raises(Exception, match="no index"):
        load(scenes, "other")


@pytest.mark.parametrize("key", ["../up", "/elsewhere", "a/b"])
def test_run__no_path_from_the_browser(scenes, key):
    with pytest.raises(ExecutionError, match="lowercase letter"):
        run(scenes, field="objects", key=key)


@pytest.fixture
def reviewed(scenes):
    """The scenes, whose regions were labelled, and every other one reviewed."""
    from alphaclip.indexing.labelling.review.runs import Labelling, add_reviews

    Labelling("auto", "regions").save(scenes)
    paths = ["objects.detections.id", "objects.detections.label"]
    names = dict(zip(*scenes.values(paths, unwind=True), strict=True))
    add_reviews(scenes, "auto", {label_id: names[label_id] for label_id in list(names)[::2]})
    return scenes


def test_form__offers_what_was_reviewed(reviewed):
    offered = choices(fields(reviewed)["text"])
    assert (offered[0], offered[-1]) == ("label", "reviewed:auto")
    prefilled = fields(reviewed, reviews="auto")["text"]
    assert prefilled.type.values == choices(prefilled)
    assert prefilled.default == "reviewed:auto"
    assert not prefilled.invalid
    chosen = fields(reviewed, reviews="auto", text="label")["text"]
    assert not chosen.invalid


@pytest.mark.parametrize("params", [{"reviews": "elsewhere"}, {"text": "reviewed:<b>x</b>"}])
def test_form__refuses_what_was_not_labelled_into(reviewed, params):
    assert fields(reviewed, **params)["text"].invalid


@pytest.mark.usefixtures("made_here")
def test_run__trains_on_what_was_reviewed(reviewed):
    results = run(reviewed, field="objects", held_out=0.5, embed=False, text="reviewed:auto")
    regions = reviewed.count("objects.detections")
    assert results["trained_on"] + results["held_out"] == (regions + 1) // 2
    assert results["skipped"] <= regions // 2
    assert results["reviews"] == "auto"
    rows = results["classes"]
    assert rows and all(row["before"] <= row["regions"] for row in rows)


def test_run__no_place_from_the_browser(reviewed):
    for reviews in ("elsewhere", ["auto"], {"a": 1}, "x" * 5000):
        with pytest.raises(ExecutionError, match="expected one of label"):
            run(reviewed, field="objects", reviews=reviews)


def test_run__says_that_nothing_was_reviewed(scenes):
    from alphaclip.indexing.labelling.review.runs import Labelling

    Labelling("auto", "regions").save(scenes)
    with pytest.raises(ExecutionError, match="review regions of the queue"):
        run(scenes, field="objects", reviews="auto")

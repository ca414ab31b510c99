"""What a browser could send instead of what the forms offer, and texts that are not only words."""

import builtins
import io
import os
import re
import shutil
from pathlib import Path

import fiftyone.operators as foo
import pytest
from fiftyone.operators.executor import ExecutionContext, ExecutionError

import alphaclip
from alphaclip.catalog.zoo import NANO_FOLDER
from alphaclip.indexing import load
from alphaclip.indexing.dataset.locations import index_keys

from ..conftest import plugin_module
from ..panel.panel_driver import PanelDriver

URI = "@alphaclip/regions/"
NANO = "alphaclip-nano"
SMALL_SAM = Path(__file__).parents[2] / "sam_vit_nano.safetensors"
PATHS = ["../../etc/passwd", "/etc/passwd", "a/b", "a\0b", str(SMALL_SAM), str(SMALL_SAM.parent)]
ODD_VALUES = [["/etc/passwd"], {"$ne": 1}, 7]
LONG = "x" * 10_000
LINKS = [
    "![x](http://elsewhere.invalid/a.png)",
    "[x](http://elsewhere.invalid)",
    "http://elsewhere.invalid",
    "www.elsewhere.invalid",
    "somebody@elsewhere.invalid",
    "<img src=x onerror=alert(1)>",
]
USUAL = {
    "embed_regions": {"field": "shapes", "encoder": NANO, "key": "other"},
    "update_index": {"key": "regions"},
    "delete_index": {"key": "regions", "confirm": "regions"},
    "export_index": {"key": "regions", "backend": "sklearn", "brain_key": "copy"},
    "search_regions": {"key": "regions", "query": "a square"},
    "compute_region_visualization": {"key": "regions", "method": "pca", "brain_key": "points"},
    "find_odd_regions": {"key": "regions", "kind": "distinct"},
    "finetune_encoder": {"field": "shapes", "encoder": NANO, "key": "other"},
    "describe_regions": {"key": "regions"},
    "ask_regions": {"key": "regions", "question": "is it red?"},
    "label_regions": {"key": "regions", "classes": "red\nblue", "mode": "ranking"},
}
PARAMS = [
    *((name, "key") for name in USUAL),
    ("embed_regions", "field"),
    ("embed_regions", "encoder"),
    ("export_index", "backend"),
    ("export_index", "brain_key"),
    ("compute_region_visualization", "method"),
    ("compute_region_visualization", "brain_key"),
    ("find_odd_regions", "kind"),
    ("finetune_encoder", "field"),
    ("finetune_encoder", "encoder"),
    ("finetune_encoder", "text"),
    ("finetune_encoder", "held_out"),
    ("describe_regions", "into"),
    ("describe_regions", "model"),
    ("ask_regions", "into"),
    ("ask_regions", "model"),
    ("ask_regions", "reviews"),
    ("label_regions", "class_set"),
    ("label_regions", "into"),
    ("label_regions", "mode"),
]

pytestmark = pytest.mark.usefixtures("plugins_dir")


@pytest.fixture
def opened(monkeypatch):
    """Paths that the code under test opens or looks at."""
    seen = []

    def watch(owner, name):
        real = getattr(owner, name)

        def watched(path, *args, **kwargs):
            seen.append(os.fsdecode(path) if isinstance(path, (str, bytes, Path)) else "")
            return real(path, *args, **kwargs)

        monkeypatch.setattr(owner, name, watched)

    for owner, name in ((builtins, "open"), (io, "open"), (os, "stat"), (os, "open")):
        watch(owner, name)
    return seen


@pytest.fixture
def copied_model(tmp_path):
    """Paths of a model that can be loaded: its folder and its checkpoint."""
    folder = shutil.copytree(NANO_FOLDER, tmp_path / "nano")
    return [str(folder), str(folder / "model.safetensors")]


def run(dataset, name, **params):
    return foo.execute_operator(URI + name, dataset=dataset, params=params)


def form(dataset, name, **params):
    context = ExecutionContext(
        {"dataset_name": dataset.name, "params": params}, operator_uri=URI + name
    )
    return foo.get_operator(URI + name).resolve_type(context, "inputs").type.properties


def test_operators__all_are_covered():
    names = {one.config.name for one in foo.list_operators() if one.uri.startswith(URI)}
    others = {"act_on_regions", "segment_regions", "find_similar_regions", "open_region_search"}
    others |= {"download_model", "similar_regions_button"}
    panels = {"region_search", "label_regions_panel"}
    assert names == others | panels | set(USUAL)


@pytest.mark.parametrize(("name", "param"), PARAMS)
def test_operators__a_path_is_refused(indexed, copied_model, opened, name, param):
    before = index_keys(indexed), indexed.list_brain_runs()
    for path in [*PATHS, *copied_model]:
        opened.clear()
        with pytest.raises(ExecutionError, match=param) as raised:
            run(indexed, name, **{**USUAL[name], param: path})
        assert "Reason: " in str(raised.value)
        assert not [found for found in opened if found.endswith(path) or "etc/passwd" in found]
    assert (index_keys(indexed), indexed.list_brain_runs()) == before


@pytest.mark.parametrize(("name", "param"), PARAMS)
def test_operators__values_of_other_types_are_refused(indexed, name, param):
    for value in ODD_VALUES:
        with pytest.raises(ExecutionError, match=param):
            run(indexed, name, **{**USUAL[name], param: value})


@pytest.mark.parametrize(("name", "param"), PARAMS)
def test_operators__long_values_give_short_messages(indexed, name, param):
    with pytest.raises(ExecutionError) as raised:
        run(indexed, name, **{**USUAL[name], param: LONG})
    assert len(str(raised.value)) < 1_000


def test_embed__an_encoder_that_is_no_choice_says_which_there_are(embedded, copied_model):
    folder = copied_model[0]
    assert alphaclip.load(folder).dim > 0
    prop = form(embedded, "embed_regions", encoder=folder)["encoder"]
    assert prop.invalid
    assert f"expected one of {NANO}" in prop.error_message
    with pytest.raises(ExecutionError, match="expected one of"):
        run(embedded, "embed_regions", **{**USUAL["embed_regions"], "encoder": folder})
    run(embedded, "embed_regions", **USUAL["embed_regions"])
    assert len(load(embedded, "other")) == 24


def test_embed__delegated_with_a_path(indexed, copied_model):
    params = {**USUAL["embed_regions"], "encoder": copied_model[0]}
    with pytest.raises(ExecutionError, match="expected one of"):
        foo.execute_operator(
            URI + "embed_regions", dataset=indexed, params=params, request_delegation=True
        )


@pytest.mark.parametrize("path", [*PATHS, LONG])
def test_similar__a_path_is_no_index(indexed, opened, path):
    label = indexed.first().shapes.detections[0]
    selected = [{"label_id": label.id, "sample_id": indexed.first().id, "field": "shapes"}]
    opened.clear()
    with pytest.raises(ExecutionError, match="key") as raised:
        foo.execute_operator(
            URI + "find_similar_regions",
            dataset=indexed,
            params={"key": path},
            selected_labels=selected,
        )
    assert len(str(raised.value)) < 1_000
    assert not [found for found in opened if found.endswith(path) or "etc/passwd" in found]


def test_search__a_long_query(indexed):
    with pytest.raises(ExecutionError, match="A few words are enough"):
        run(indexed, "search_regions", key="regions", query=LONG)


@pytest.mark.parametrize("text", LINKS)
def test_plain__is_no_link(indexed, text):
    forms = plugin_module(foo.get_operator(URI + "update_index"), "common.forms")
    shown = forms.plain(text)
    assert shown.replace("\\", "").replace("\u2060", "") == text
    assert not re.search(r"(?<!\\)[<>\[\]()!]|://e|www\\?\.|@e", shown)
    assert len(forms.plain(LONG)) <= forms.SHOWN_CHARACTERS


@pytest.mark.parametrize("param", ["source", "into", "model"])
def test_segment__a_path_is_refused(drawings, opened, monkeypatch, tmp_path, param):
    monkeypatch.setenv("ALPHACLIP_MODELS", str(tmp_path))
    shutil.copy(SMALL_SAM, tmp_path / "sam-vit-b.safetensors")
    usual = {"source": "boxes:shapes", "into": "masks", "model": "sam-vit-b"}
    for path in [*PATHS, f"boxes:{PATHS[0]}", str(SMALL_SAM)]:
        opened.clear()
        with pytest.raises(ExecutionError, match=param):
            run(drawings, "segment_regions", **{**usual, param: path})
        assert not [found for found in opened if found.endswith(path) or "etc/passwd" in found]
    assert "masks" not in drawings.get_field_schema()


ACT = {"asked": {"words": "a green square"}, "min_score": -1}


def searched(dataset):
    panel = PanelDriver(dataset)
    panel.search("a green square", k=3)
    return panel


@pytest.fixture
def panel(indexed):
    """For what is refused: it changes nothing."""
    return searched(indexed)


@pytest.fixture
def own_panel(embedded):
    return searched(embedded)


@pytest.mark.parametrize("path", [*PATHS, LONG])
def test_act__a_path_is_no_field(panel, opened, path):
    before = list(panel.dataset.get_field_schema(flat=True))
    assert "name" in panel.act("label", "odd", into=path)["error"]
    with pytest.raises(ExecutionError, match="name"):
        run(panel.dataset, "act_on_regions", **ACT, action="label", value="odd", into=path)
    assert list(panel.dataset.get_field_schema(flat=True)) == before
    assert not [found for found in opened if found.endswith(path) or "etc/passwd" in found]


@pytest.mark.parametrize("path", PATHS)
def test_act__a_path_is_no_index(panel, opened, path):
    assert "key is" in panel.search("a", keys=[path])["error"]
    act = {**ACT, "asked": {"words": "a", "keys": [path]}}
    with pytest.raises(ExecutionError, match="key is"):
        run(panel.dataset, "act_on_regions", **act, action="tag", value="x")
    assert not [found for found in opened if found.endswith(path) or "etc/passwd" in found]


@pytest.mark.parametrize(
    "stages",
    [
        [{"_cls": "pathlib.Path.touch", "kwargs": [["self", "owned"]]}],
        [{"_cls": "fiftyone.core.stages.Mongo", "kwargs": [["pipeline", [{"$out": "x"}]]]}],
        [{"_cls": "fiftyone.core.stages.Limit", "kwargs": [["most", 1]]}],
        "Limit",
        [["Limit"]],
    ],
)
def test_act__a_view_is_made_of_stages(panel, stages):
    assert re.search(r"stage|arguments", panel.search("a", stages=stages)["error"])
    act = {**ACT, "asked": {"words": "a", "stages": stages}}
    with pytest.raises(ExecutionError, match=r"stage|arguments"):
        run(panel.dataset, "act_on_regions", **act, action="tag", value="x")
    assert panel.dataset.count_label_tags() == {}


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "a/b", *LINKS])
def test_act__a_saved_view_may_have_any_name(own_panel, opened, name):
    done = own_panel.act("save_view", name)["done"]
    assert own_panel.dataset.list_saved_views() == [name]
    assert not [found for found in opened if "etc/passwd" in found]
    own_panel.do("undo", action=done["id"])
    assert own_panel.dataset.list_saved_views() == []


def test_act__where_a_class_goes_is_a_copy_unless_said(own_panel):
    own_panel.act("label", "odd", where=None)
    assert own_panel.dataset.count("found.detections") == len(load(own_panel.dataset))
    assert "odd" not in own_panel.dataset.distinct("shapes.detections.label")


def test_act__long_texts_are_refused_or_shortened(own_panel):
    with pytest.raises(ExecutionError, match="1 to 1000 characters"):
        run(own_panel.dataset, "act_on_regions", **ACT, action="tag", value=LONG)
    assert "1 to 1000 characters" in own_panel.act("tag", LONG)["error"]
    assert len(own_panel.act("tag", "y" * 1_000)["done"]["said"]) < 100


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("event", ["update", "check"])
def test_panel__a_path_is_no_index(panel, opened, event, path):
    assert "no index" in panel.do(event, key=path)["error"]
    assert not [found for found in opened if found.endswith(path) or "etc/passwd" in found]


@pytest.mark.parametrize("path", PATHS)
def test_panel__a_path_is_no_picture(panel, opened, path):
    assert "upload it again" in panel.search(picture={"token": path})["error"]
    assert not [found for found in opened if found.endswith(path) or "etc/passwd" in found]


def test_undo__of_what_was_taken_back_or_is_of_nobody(own_panel):
    done = own_panel.act("tag", "mine")["done"]
    own_panel.do("undo", action=done["id"])
    assert "taken back already" in own_panel.do("undo", action=done["id"])["error"]
    for action in [*PATHS, LONG, None, 7]:
        assert own_panel.do("undo", action=action)["error"]

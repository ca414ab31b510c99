"""Views that come as text: FiftyOne's own stages are made again, everything else is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fiftyone as fo
import pytest
from fiftyone import ViewField as F

from alphaclip import indexing
from alphaclip.encoder.encoder import Encoder
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.dataset.locations import index_folder
from alphaclip.indexing.dataset.stages import check_stages, view_of
from alphaclip.indexing.region_index import RegionIndex
from alphaclip.indexing.store.manifests import read_manifest, write_manifest

VIEWS: dict[str, Callable[[fo.Dataset], fo.DatasetView]] = {
    "match": lambda d: d.match(F("number") > 0).sort_by("number", reverse=True),
    "labels": lambda d: d.filter_labels("boxes", F("label") == "00", only_matches=False),
    "select": lambda d: d.select(d.values("id")[:2]).limit(1),
    "take": lambda d: d.take(2, seed=1).shuffle(seed=2),
    "concat": lambda d: d.match(F("number") < 1).concat(d.match(F("number") > 1)),
    "flatten": lambda d: d.group_by("kind.label").flatten(fo.Limit(2)),
    "flatten, a list": lambda d: d.group_by("kind.label").flatten([fo.Skip(1), fo.Limit(1)]),
    "set": lambda d: d.set_field("number", F("number") + 1).map_labels("kind", {"noise": "n"}),
    "patches": lambda d: d.to_patches("boxes"),
    "patches of a view": lambda d: d.match(F("number") > 0).to_patches("boxes", other_fields=True),
}


@pytest.fixture
def numbered(dataset: fo.Dataset) -> fo.Dataset:
    dataset.set_values("number", [0, 1, 2])
    return dataset


def text_of(view: fo.DatasetView) -> list[dict[str, Any]]:
    return json.loads(json.dumps(view._serialize(include_uuids=False)))


def stage(name: str, **values: Any) -> dict[str, Any]:
    name = name if "." in name else f"fiftyone.core.stages.{name}"
    return {"_cls": name, "kwargs": [list(pair) for pair in values.items()]}


def nested(depth: int) -> list:
    stages: list = []
    for _ in range(depth):
        stages = [stage("Concat", samples={"stages": stages})]
    return stages


@pytest.mark.parametrize("name", VIEWS)
def test_view_of__fiftyones_own(numbered: fo.Dataset, name: str) -> None:
    view = VIEWS[name](numbered)
    again = view_of(numbered, text_of(view))
    assert type(again) is type(view)
    assert again.values("id") == view.values("id")
    assert again._dataset.name == view._dataset.name


SCRIPT = {"body": "function() { return 1 }", "args": [], "lang": "js"}
RAW = stage("Mongo", pipeline=[{"$out": "elsewhere"}])
HOSTILE = {
    "a function": [stage("os.system", command="touch owned")],
    "a class": [stage("subprocess.Popen", args="touch owned")],
    "the base class": [stage("ViewStage")],
    "a stage by another path": [stage("fiftyone.Match", filter={})],
    "a pipeline": [RAW],
    "a pipeline in a view": [stage("Concat", samples={"stages": [RAW]})],
    "a function in a view": [stage("Concat", samples={"stages": [stage("os.system")]})],
    "a pipeline in a group": [stage("Flatten", stages=RAW)],
    "a pipeline in a group's list": [stage("Flatten", stages=[stage("Limit", limit=1), RAW])],
    "frames, which are written": [stage("ToFrames", config={"output_dir": "frames"})],
    "a program": [stage("Match", filter={"$expr": {"$function": SCRIPT}})],
    "a program, deep": [stage("SortBy", field_or_expr={"$add": [1, {"$accumulator": SCRIPT}]})],
    "a program by a field's name": [
        stage("SetField", field="boxes.$function", expr=SCRIPT, _allow_missing=True)
    ],
    "where": [stage("Match", filter={"$where": "sleep(10000) || true"})],
    "a remembered pipeline": [
        stage("SortBySimilarity", query="a", _state={"pipeline": [{"$out": "elsewhere"}]})
    ],
    "a field that is written": [stage("SortBySimilarity", query="a", dist_field="number")],
    "a dataset that stays": [stage("ToPatches", field="boxes", config={"persistent": True})],
    "clips that stay": [stage("ToClips", field_or_expr=[[[1, 1]]], config={"persistent": True})],
    "a dataset that stays, too": [stage("ToPatches", field="boxes", persistent=True)],
}
MALFORMED = {
    "no list": {"_cls": "fiftyone.core.stages.Limit"},
    "a text": "Limit",
    "no stage": [7],
    "nothing": [{}],
    "no name": [{"_cls": ["fiftyone.core.stages.Limit"], "kwargs": []}],
    "no arguments": [{"_cls": "fiftyone.core.stages.Limit"}],
    "no pairs": [{"_cls": "fiftyone.core.stages.Limit", "kwargs": [["limit"]]}],
    "another argument": [stage("Limit", most=1)],
    "too few arguments": [stage("Limit")],
    "another type": [stage("Limit", limit="many")],
    "no such field": [stage("FilterLabels", field="nowhere", filter={})],
    "no such expression": [stage("Match", filter={"$expr": {"$nothing": 1}})],
    "no samples": [stage("Concat", samples=None)],
    "a list of samples": [stage("Concat", samples=[])],
    "no such dataset": [stage("Concat", samples={"stages": [], "dataset_id": "0" * 24})],
    "views in views": nested(200),
}


@pytest.mark.parametrize("stages", [*HOSTILE.values(), *MALFORMED.values()])
def test_view_of__refused(
    numbered: fo.Dataset, stages: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names, files = fo.list_datasets(), sorted(tmp_path.iterdir())
    with pytest.raises(AlphaClipError):
        view_of(numbered, stages)
    assert fo.list_datasets() == names
    assert sorted(tmp_path.iterdir()) == files
    numbered.reload()
    assert numbered.values("number") == [0, 1, 2]


@pytest.mark.parametrize("stages", HOSTILE.values())
def test_check_stages__refuses_before_anything_is_made(
    stages: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(stage: Any) -> None:
        raise AssertionError(f"{stage} was made")

    monkeypatch.setattr("fiftyone.core.stages.ViewStage._from_dict", build)
    with pytest.raises(AlphaClipError):
        check_stages(stages)


def test_view_of__a_remembered_dataset_that_is_no_patches_is_not_believed(
    numbered: fo.Dataset, dataset_factory: Callable
) -> None:
    victim = dataset_factory("victim")
    view = view_of(numbered, [stage("ToPatches", field="boxes", _state={"name": victim.name})])
    assert view._dataset.name != victim.name
    view.reload()
    assert fo.dataset_exists(victim.name)
    assert len(view) == 12


def change_stages(index: RegionIndex, stages: Any) -> None:
    """As somebody who hands on a store could: with a SHA-256 that is right."""
    folder = index_folder(index.dataset, index.key)
    manifest = read_manifest(folder)
    manifest["info"]["stages"] = stages
    write_manifest(folder, manifest)


@pytest.mark.parametrize("kind", ["a function", "a pipeline", "a program"])
def test_index__stages_of_a_store(index: RegionIndex, kind: str) -> None:
    change_stages(index, HOSTILE[kind])
    with pytest.raises(AlphaClipError, match=r"no stage that a view may have|would run a program"):
        index.freshness()
    with pytest.raises(AlphaClipError, match=r"no stage that a view may have|would run a program"):
        index.update()
    assert len(index) == 12


def test_build__a_view_that_could_not_be_made_again(dataset: fo.Dataset, encoder: Encoder) -> None:
    with pytest.raises(AlphaClipError, match="no pipeline of MongoDB's"):
        indexing.build(dataset.mongo([{"$limit": 1}]), "boxes", encoder)
    assert not index_folder(dataset, "regions").exists()

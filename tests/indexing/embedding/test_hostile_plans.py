"""Plans that somebody else has written: every SHA-256 is right, and what they say is not."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soak

from alphaclip.files import StoreError, read_checked, write_checked
from alphaclip.indexing.embedding.label_reader import LabelledPicture
from alphaclip.indexing.embedding.merging import merge
from alphaclip.indexing.embedding.plans import (
    PlanError,
    PlannedRegion,
    finished,
    make_plan,
    read_plan,
    read_shard,
)
from alphaclip.indexing.embedding.shards import embed_shards
from alphaclip.indexing.store.store import writing
from alphaclip.regions.region import Region

SETTINGS = {"field": "f", "fingerprint": "e"}
Change = Callable[[dict], object]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A plan of two shards, the first of which is embedded."""
    pictures = []
    for number in range(2):
        path = tmp_path / f"{number}.txt"
        path.write_text(f"{number}")
        regions = [Region.from_box([0.1, 0.1, 0.5, 0.5])]
        picture = (f"s{number}", str(path), "0" * 16, [f"label{number}"], regions, ["1" * 16])
        pictures.append(LabelledPicture(*picture))
    work = tmp_path / "store" / "work"
    plan = make_plan(work, pictures, SETTINGS, {}, shard_regions=1, to_files=True)
    embed_shards(plan, soak.fault_job.Encoder(), plan.shards[::2])
    return work


def rewrite(path: Path, change: Change) -> None:
    content = read_checked(path, "")
    assert content is not None
    change(content)
    write_checked(path, content)


def set_at(*path: Any, value: Any) -> Change:
    def change(content: dict) -> None:
        inner: Any = content
        for name in path[:-1]:
            inner = inner[name]
        inner[path[-1]] = value

    return change


NAMES = [
    "../todo-00000000-00000.parquet",
    "/etc/todo-00000000-00000.parquet",
    "todo-x/../../00000.parquet",
    "todo-00000000-00000.json",
    "done-00000000-00000.parquet",
    "plan.json",
    "",
    None,
    7,
]
WRONG = [
    *(set_at("shards", 0, "file", value=name) for name in NAMES),
    *(set_at("wanted", "file", value=name) for name in NAMES[1:]),
    *(set_at("shards", 0, "count", value=value) for value in (None, "1", -1, True)),
    *(set_at("shards", 0, "sha256", value=value) for value in (None, "", 7)),
    *(set_at("shards", value=value) for value in (None, {}, [7], [[]])),
    *(set_at("taken_over", value=value) for value in (None, {}, [7], [{}])),
    *(set_at("settings", value=value) for value in (None, [], {}, {"field": "f"})),
    set_at("settings", "field", value=1),
    *(set_at("counts", value=value) for value in (None, [], {}, {"wanted": 1})),
    *(set_at("reading", value=value) for value in (None, [], {"skipped": 1}, {"skipped": [{}]})),
    *(set_at("name", value=value) for value in (None, 1)),
    *(set_at("format", value=value) for value in (None, "1", 2)),
    lambda plan: plan.pop("wanted"),
    lambda plan: plan.clear(),
]


@pytest.mark.parametrize("change", WRONG)
def test_plan__is_not_what_is_written_here(folder: Path, change: Change) -> None:
    rewrite(folder / "plan.json", change)
    with pytest.raises(PlanError, match="plan again"):
        read_plan(folder)
    assert read_checked(folder / "plan.json", "") is not None


@pytest.mark.parametrize("text", ["", "7", "[" * 100_000, '{"a":' * 5_000 + "1" + "}" * 5_000])
def test_plan__is_no_json(folder: Path, text: str) -> None:
    (folder / "plan.json").write_text(text)
    with pytest.raises(PlanError, match="is damaged: plan again"):
        read_plan(folder)


def test_plan__names_of_a_later_version_are_left_out(folder: Path) -> None:
    rewrite(folder / "plan.json", set_at("later", value=1))
    assert len(read_plan(folder).shards) == 2


def elsewhere(content: dict) -> None:
    """A name that a link in the plan's folder makes lead out of it."""
    file = content["entry"]["vectors"]
    file["file"] = file["file"].replace("data/", "link/../../../elsewhere/")


DONE: list[Change] = [
    elsewhere,
    set_at("entry", value=[]),
    set_at("entry", value={}),
    set_at("entry", "vectors", "file", value="../../x.npy"),
    set_at("entry", "rows", value=None),
    set_at("entry", "count", value="1"),
    set_at("skipped", value=None),
    set_at("skipped", value=[{"filepath": "a"}]),
    set_at("skipped", value=[["a", "b", "c"]]),
    set_at("shard", value=7),
    lambda content: content.pop("entry"),
    lambda content: content.clear(),
]


@pytest.mark.parametrize("change", DONE)
def test_finished__is_not_what_is_written_here(folder: Path, change: Change) -> None:
    """The shard is embedded again, and nothing lands outside of the store."""
    outside = folder.parent.parent / "elsewhere"
    outside.mkdir()
    (folder / "link").symlink_to(folder / "data")
    plan = read_plan(folder)
    (done,) = folder.glob("done-*")
    rewrite(done, change)
    assert finished(plan, plan.shards[0]) is None
    with writing(folder.parent) as writer:
        with pytest.raises(PlanError, match="1 of 2 shards"):
            embed_shards(plan, soak.fault_job.Encoder(), plan.shards[1::2])
            merge(writer, plan)
        assert embed_shards(plan, soak.fault_job.Encoder()) == 1
        assert merge(writer, plan).regions == 2
    assert not list(outside.iterdir())


def test_finished__a_link(folder: Path, tmp_path: Path) -> None:
    plan = read_plan(folder)
    (done,) = folder.glob("done-*")
    done.rename(tmp_path / done.name)
    done.symlink_to(tmp_path / done.name)
    assert finished(plan, plan.shards[0]) is None


def test_embed__into_a_link(folder: Path, tmp_path: Path) -> None:
    (folder / "data").rename(tmp_path / "elsewhere")
    (folder / "data").symlink_to(tmp_path / "elsewhere")
    before = sorted((tmp_path / "elsewhere").iterdir())
    with pytest.raises(StoreError, match="data is a link"):
        embed_shards(read_plan(folder), soak.fault_job.Encoder())
    assert sorted((tmp_path / "elsewhere").iterdir()) == before


USUAL = {
    "sample_id": ["s"],
    "label_id": ["l"],
    "fingerprint": ["e"],
    "filepath": ["f"],
    "region": ["{}"],
}
LONG = "x" * 1_000_000
ROWS: dict[str, dict[str, Any]] = {
    "no region": {**USUAL, "region": ['{"circle": [1, 2, 3]}']},
    "deep": {**USUAL, "region": ["[" * 100_000]},
    "numbers": {**USUAL, "filepath": [7]},
    "a name less": {name: USUAL[name] for name in list(USUAL)[1:]},
    "a name more": {**USUAL, "more": ["x"]},
    "a bomb": {name: pa.DictionaryArray.from_arrays([0] * 3_000, [LONG]) for name in USUAL},
}


@pytest.mark.parametrize("rows", ROWS.values(), ids=ROWS)
def test_shard__is_not_what_is_written_here(folder: Path, rows: dict[str, Any]) -> None:
    assert list(USUAL) == list(PlannedRegion._fields)
    path = folder / read_plan(folder).shards[1]["file"]
    pq.write_table(pa.table(rows), path)
    content = path.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    rewrite(folder / "plan.json", set_at("shards", 1, "sha256", value=sha256))
    rewrite(folder / "plan.json", set_at("shards", 1, "bytes", value=len(content)))
    plan = read_plan(folder)
    with pytest.raises(PlanError, match=f"{path.name}.*plan again"):
        read_shard(plan, plan.shards[1])
    assert json.loads((folder / "plan.json").read_text())

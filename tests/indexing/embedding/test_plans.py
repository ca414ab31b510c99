"""Plans: which regions are to be embedded, as files."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from alphaclip.indexing.embedding import plans
from alphaclip.indexing.embedding.label_reader import PlannedPicture
from alphaclip.indexing.embedding.plans import Plan, PlanError, make_plan, read_plan, read_shard
from alphaclip.indexing.store.checked_json import read_checked, write_checked
from alphaclip.indexing.store.files import StoreError
from alphaclip.indexing.store.segments import RowIds, read_ids
from alphaclip.regions.region import Region
from alphaclip.regions.region_json import region_from_json

SETTINGS = {"field": "fälder", "fingerprint": "e"}
STAMP = "0" * 16


def pictures(counts: Sequence[int], stamp: str | None = STAMP) -> list[PlannedPicture]:
    """Pictures of so many regions."""
    planned = []
    for place, count in enumerate(counts):
        regions = [Region.from_box([0.1 * n, 0.2, 0.3, 0.4]) for n in range(count)]
        labels = [f"{place}-ä-{n}" for n in range(count)]
        stamps = [f"{n:016x}" for n in range(count)]
        planned.append(PlannedPicture(f"s{place}", f"{place}.png", stamp, labels, regions, stamps))
    return planned


def shards_in(plan: Plan) -> list[list[tuple[str, list[str]]]]:
    return [
        [(path, [row["label_id"] for row in rows]) for path, rows in read_shard(plan, shard)]
        for shard in plan.shards
    ]


def test_plan(tmp_path: Path) -> None:
    plan = make_plan(
        tmp_path, pictures([2, 0, 3, 1]), SETTINGS, lambda: {"samples": 4}, shard_regions=4
    )
    read = read_plan(tmp_path)
    assert read == plan
    assert read.counts == {"wanted": 6, "to_embed": 6, "unreachable": 0}
    assert read.reading == {"samples": 4}
    assert read.settings == SETTINGS
    assert [shard["count"] for shard in read.shards] == [5, 1]
    assert shards_in(read) == [
        [("0.png", ["0-ä-0", "0-ä-1"]), ("2.png", ["2-ä-0", "2-ä-1", "2-ä-2"])],
        [("3.png", ["3-ä-0"])],
    ]
    wanted = read_ids(tmp_path, read.wanted)
    assert wanted.label_ids.tolist()[:2] == ["0-ä-0".encode(), "0-ä-1".encode()]
    assert len(wanted) == 6


def test_rows_of_a_shard(tmp_path: Path) -> None:
    plan = make_plan(tmp_path, pictures([1]), SETTINGS)
    ((path, (row,)),) = read_shard(plan, plan.shards[0])
    assert path == row["filepath"] == "0.png"
    assert row["sample_id"] == "s0"
    assert row["fingerprint"] == STAMP + "0" * 16
    assert region_from_json(row["region"]).box == (0.0, 0.2, 0.3, 0.4)


def test_held(tmp_path: Path) -> None:
    stamps = [STAMP + f"{n:016x}" for n in range(2)]
    held = RowIds.of(["s0"] * 2, ["0-ä-0", "0-ä-1"], "fälder", stamps)
    plan = make_plan(tmp_path, pictures([3]), SETTINGS, held=[held])
    assert plan.counts == {"wanted": 3, "to_embed": 1, "unreachable": 0}
    assert shards_in(plan) == [[("0.png", ["0-ä-2"])]]
    plan = make_plan(tmp_path, pictures([2], stamp=None), SETTINGS, held=[held])
    assert plan.counts == {"wanted": 2, "to_embed": 0, "unreachable": 2}
    plan = make_plan(tmp_path, pictures([2], stamp="1" * 16), SETTINGS, held=[held])
    assert plan.counts == {"wanted": 2, "to_embed": 2, "unreachable": 0}


@pytest.mark.parametrize("counts", [[], [0, 0]])
def test_nothing_wanted(tmp_path: Path, counts: list[int]) -> None:
    make_plan(tmp_path, pictures(counts), SETTINGS)
    plan = read_plan(tmp_path)
    assert plan.counts == {"wanted": 0, "to_embed": 0, "unreachable": 0}
    assert plan.shards == []
    assert len(read_ids(tmp_path, plan.wanted)) == 0


def test_planned_again(tmp_path: Path) -> None:
    """The lists of the plan before are deleted, its vectors stay."""
    first = make_plan(tmp_path, pictures([3]), SETTINGS)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.npy").write_text("")
    (tmp_path / f"done-{first.name}-00000.json").write_text("")
    second = make_plan(tmp_path, pictures([3, 2]), SETTINGS)
    assert read_plan(tmp_path) == second
    assert len(shards_in(second)[0]) == 2
    expected = ["data", "plan.json", second.shards[0]["file"], second.wanted["file"]]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(expected)
    assert (tmp_path / "data" / "a.npy").exists()
    with pytest.raises(PlanError, match="is missing or damaged: plan again"):
        shards_in(first)


def test_interrupted_while_it_is_made(tmp_path: Path) -> None:
    first = make_plan(tmp_path, pictures([3]), SETTINGS)

    def interrupted() -> dict:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_plan(tmp_path, pictures([3, 2]), SETTINGS, interrupted)
    assert read_plan(tmp_path) == first
    assert len(shards_in(first)) == 1


def test_no_plan(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(PlanError, match="holds no plan: make one first"):
            read_plan(folder)


def test_another_version(tmp_path: Path) -> None:
    make_plan(tmp_path, pictures([3]), SETTINGS)
    content = read_checked(tmp_path / "plan.json", "")
    assert content is not None
    assert content["format"] == plans.FORMAT
    for other in ({**content, "format": plans.FORMAT + 1, "more": 1}, {"settings": {}}):
        write_checked(tmp_path / "plan.json", other)
        with pytest.raises(PlanError, match="of another version of alphaclip-fiftyone: plan again"):
            read_plan(tmp_path)


def test_damaged_plan(tmp_path: Path) -> None:
    make_plan(tmp_path, pictures([3]), SETTINGS)
    path = tmp_path / "plan.json"
    path.write_text(path.read_text().replace('"to_embed": 3', '"to_embed": 2'))
    with pytest.raises(PlanError, match=r"plan\.json is damaged: plan again"):
        read_plan(tmp_path)


@pytest.mark.parametrize("fault", ["cut", "missing", "other"])
def test_damaged_shard(tmp_path: Path, fault: str) -> None:
    plan = make_plan(tmp_path, pictures([3, 3]), SETTINGS, shard_regions=2)
    path, other = (tmp_path / shard["file"] for shard in plan.shards)
    content = {"cut": path.read_bytes()[:-1], "other": other.read_bytes()}.get(fault)
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PlanError, match=f"{path.name} is missing or damaged: plan again"):
        shards_in(plan)


def test_damaged_list(tmp_path: Path) -> None:
    plan = make_plan(tmp_path, pictures([3]), SETTINGS)
    (tmp_path / plan.wanted["file"]).write_bytes(b"")
    with pytest.raises(StoreError, match=r"wanted-.* is damaged"):
        read_ids(tmp_path, plan.wanted)

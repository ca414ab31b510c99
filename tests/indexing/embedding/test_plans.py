"""Plans: which regions are to be embedded, as files."""

import gc
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest

from alphaclip.files import StoreError, read_checked, write_checked
from alphaclip.indexing.embedding import plans
from alphaclip.indexing.embedding.label_reader import LabelledPicture
from alphaclip.indexing.embedding.plans import Plan, PlanError, make_plan, read_plan, read_shard
from alphaclip.indexing.store.segments import RowIds
from alphaclip.regions.region import Region

SETTINGS = {"field": "fälder", "fingerprint": "e"}
STAMP = "0" * 16


def pictures(counts: Sequence[int], stamp: str | None = STAMP) -> list[LabelledPicture]:
    """Pictures of so many regions."""
    planned = []
    for place, count in enumerate(counts):
        regions = [Region.from_box([0.1 * n, 0.2, 0.3, 0.4]) for n in range(count)]
        labels = [f"{place}-ä-{n}" for n in range(count)]
        stamps = [f"{n:016x}" for n in range(count)]
        planned.append(LabelledPicture(f"s{place}", f"{place}.png", stamp, labels, regions, stamps))
    return planned


to_files = partial(make_plan, to_files=True)


def shards_in(plan: Plan) -> list[list[tuple[str, str]]]:
    shards = [plan.regions.get(s["file"]) or read_shard(plan, s) for s in plan.shards]
    return [[(row.filepath, row.label_id) for row in shard] for shard in shards]


@pytest.mark.parametrize("make", [make_plan, to_files])
def test_plan(tmp_path: Path, make: Callable[..., Plan]) -> None:
    plan = make(tmp_path, pictures([2, 0, 3, 1]), SETTINGS, {"samples": 4}, shard_regions=4)
    read = read_plan(tmp_path)
    assert read == plan
    assert read.counts == {"wanted": 6, "to_embed": 6, "unreachable": 0}
    assert read.reading == {"samples": 4}
    assert read.settings == SETTINGS
    assert [shard["count"] for shard in read.shards] == [5, 1]
    inventory = plan.inventory()
    assert inventory.label_ids.tolist()[:2] == ["0-ä-0".encode(), "0-ä-1".encode()]
    assert len(inventory) == 6
    assert shards_in(plan) == [
        [(f"{label[0]}.png", label) for label in ("0-ä-0", "0-ä-1", "2-ä-0", "2-ä-1", "2-ä-2")],
        [("3.png", "3-ä-0")],
    ]


def test_plan__of_another_process(tmp_path: Path) -> None:
    plan = to_files(tmp_path, pictures([2, 0, 3, 1]), SETTINGS, shard_regions=4)
    read = read_plan(tmp_path)
    assert shards_in(read) == shards_in(plan)
    assert read.inventory().label_ids.tolist() == plan.inventory().label_ids.tolist()
    (row,) = read_shard(read, read.shards[1])
    assert (row.sample_id, row.filepath, row.fingerprint) == ("s3", "3.png", STAMP + "0" * 16)
    assert row.region.box == (0.0, 0.2, 0.3, 0.4)


def test_plan__what_was_in_memory_is_gone(tmp_path: Path) -> None:
    make_plan(tmp_path, pictures([2]), SETTINGS)
    assert [path.name for path in tmp_path.iterdir()] == ["plan.json"]
    plan = read_plan(tmp_path)
    with pytest.raises(PlanError, match="is missing or damaged: plan again"):
        shards_in(plan)
    with pytest.raises(PlanError, match="interrupted: build again"):
        plan.inventory()


def test_plan__what_exceeds_the_memory_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plans, "IN_MEMORY", 4)
    plan = make_plan(tmp_path, pictures([2] * 4), SETTINGS, shard_regions=2)
    assert ["sha256" in shard for shard in plan.shards] == [False, False, True, True]
    assert len(list(tmp_path.glob("todo-*"))) == 2
    labels = [label for shard in shards_in(plan) for _, label in shard]
    assert labels == [f"{number}-ä-{n}" for number in range(4) for n in range(2)]


def test_held(tmp_path: Path) -> None:
    stamps = [STAMP + f"{n:016x}" for n in range(2)]
    held = RowIds.of(["s0"] * 2, ["0-ä-0", "0-ä-1"], "fälder", stamps)
    plan = make_plan(tmp_path, pictures([3]), SETTINGS, held=[held])
    assert plan.counts == {"wanted": 3, "to_embed": 1, "unreachable": 0}
    assert shards_in(plan) == [[("0.png", "0-ä-2")]]
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


def test_nothing_wanted__of_another_process(tmp_path: Path) -> None:
    to_files(tmp_path, pictures([0]), SETTINGS)
    assert len(read_plan(tmp_path).inventory()) == 0


def test_planned_again(tmp_path: Path) -> None:
    """The lists of the plan before are deleted, its vectors stay."""
    first = to_files(tmp_path, pictures([3]), SETTINGS)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.npy").write_text("")
    (tmp_path / f"done-{first.name}-00000.json").write_text("")
    second = to_files(tmp_path, pictures([3, 2]), SETTINGS)
    assert read_plan(tmp_path) == second
    assert len(shards_in(second)[0]) == 5
    expected = ["data", "plan.json", second.shards[0]["file"], second.inventory_file["file"]]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(expected)
    assert (tmp_path / "data" / "a.npy").exists()
    first.regions.clear()
    with pytest.raises(PlanError, match="is missing or damaged: plan again"):
        shards_in(first)


def test_interrupted_while_it_is_made(tmp_path: Path) -> None:
    first = to_files(tmp_path, pictures([3]), SETTINGS)

    def interrupted() -> Iterator[LabelledPicture]:
        yield from pictures([3, 2])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        to_files(tmp_path, interrupted(), SETTINGS, shard_regions=2)
    assert read_plan(tmp_path) == first
    assert len(shards_in(read_plan(tmp_path))[0]) == 3


@pytest.mark.parametrize("frozen", [0, 5], ids=["ours", "the caller's"])
def test_garbage_collector_is_left_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, frozen: int
) -> None:
    def interrupted() -> Iterator[LabelledPicture]:
        yield from pictures([3])
        raise KeyboardInterrupt

    calls: list[str] = []
    monkeypatch.setattr(gc, "get_freeze_count", lambda: frozen)
    for name in ("freeze", "unfreeze"):
        monkeypatch.setattr(gc, name, lambda name=name: calls.append(name))
    with pytest.raises(KeyboardInterrupt):
        to_files(tmp_path, interrupted(), SETTINGS)
    assert calls == ([] if frozen else ["freeze", "unfreeze"])


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
    plan = to_files(tmp_path, pictures([3, 3]), SETTINGS, shard_regions=2)
    path, other = (tmp_path / shard["file"] for shard in plan.shards)
    content = {"cut": path.read_bytes()[:-1], "other": other.read_bytes()}.get(fault)
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PlanError, match=f"{path.name} is missing or damaged: plan again"):
        shards_in(plan)


def test_damaged_list(tmp_path: Path) -> None:
    plan = to_files(tmp_path, pictures([3]), SETTINGS)
    assert plan.inventory_file is not None
    (tmp_path / plan.inventory_file["file"]).write_bytes(b"")
    with pytest.raises(StoreError, match=r"wanted-.* is damaged"):
        read_plan(tmp_path).inventory()

"""Which regions have a vector already."""

import numpy as np

from alphaclip.indexing.embedding.inventory import Inventory, matching
from alphaclip.indexing.embedding.label_reader import HALF, LabelledPicture
from alphaclip.indexing.store.ids import Lookup
from alphaclip.indexing.store.segments import RowIds
from alphaclip.regions.region import Region

FIELD = "fälder"
OLD, NEW = "0" * HALF, "1" * HALF
BOX = Region.from_box([0, 0, 1, 1])


def picture(stamp: str | None, sample_id: str = "s", **stamps: str) -> LabelledPicture:
    return LabelledPicture(
        sample_id, "a.png", stamp, list(stamps), [BOX] * len(stamps), list(stamps.values())
    )


def rows(sample_id: str = "s", field: str = FIELD, **fingerprints: str) -> RowIds:
    ids = list(fingerprints)
    return RowIds.of([sample_id] * len(ids), ids, field, list(fingerprints.values()))


def test_lookup() -> None:
    lookup = Lookup(RowIds.of(["s2", "s", "s", "s1", "s"], ["b", "a-long-id", "ä", "b", "d"]))
    keys = np.array(
        [b"d", b"b", "ä".encode(), b"a-long-id", b"a-long-id-that-is-longer", b"a", b"z"]
    )
    assert lookup.find_keys(keys).tolist() == [4, 3, 2, 1, -1, -1, -1]
    assert lookup.find_keys(keys[:2].astype("S1")).tolist() == [4, 3]
    assert lookup.find_keys(np.array([b"b"] * 3), np.arange(3)).tolist() == [3, 0, -1]
    assert lookup.find_keys(np.zeros(0, "S1")).tolist() == []
    assert Lookup(RowIds.of([])).find_keys(keys).tolist() == [-1] * 7
    assert Lookup(RowIds.of(["x", "y"])).find_keys(np.array([b"y"])).tolist() == [1]


def test_lookup__longer_keys_do_not_match_their_beginning() -> None:
    lookup = Lookup(RowIds.of(["s"], ["abc"]))
    assert lookup.find_keys(np.array([b"abcd", b"ab", b"abc"])).tolist() == [-1, -1, 0]


def test_lookup__the_same_label_in_several_samples() -> None:
    samples, labels = ["s2", "s10", "s1", "s2", "s3"], ["a", "a", "a", "b", "ab"]
    lookup = Lookup(RowIds.of(samples, labels))
    assert lookup.find(RowIds.of(samples, labels)).tolist() == [0, 1, 2, 3, 4]
    others = RowIds.of(["s3", "s1", "s", "s22", "s2"], ["a", "b", "a", "a", "ab"])
    assert lookup.find(others).tolist() == [-1] * 5
    names = lookup.names(np.arange(5)).tolist()
    assert names == ["s2-a", "s10-a", "a", "b", "ab"]
    assert lookup.find_named(names).tolist() == [0, 1, 2, 3, 4]
    assert lookup.find_named(["s1-a", "s2-b"]).tolist() == [2, 3]
    assert lookup.find_named(["s1-b", "a-s1", "s1", "-", ""]).tolist() == [-1] * 5
    assert lookup.find_named([]).tolist() == []


def test_lookup__the_same_label_in_every_sample() -> None:
    samples = [f"{number:04d}" for number in range(1000)]
    lookup = Lookup(RowIds.of(samples[::-1], ["a"] * 1000))
    assert lookup.find(RowIds.of(samples, ["a"] * 1000)).tolist() == list(range(999, -1, -1))
    assert lookup.find_named(["a", "0999-a"]).tolist() == [999, 0]


def test_add() -> None:
    inventory = Inventory(FIELD, [rows(a=OLD + NEW, b=OLD + NEW), rows(c=NEW + NEW)])
    ids, missing = inventory.add(picture(OLD, a=NEW, b=OLD, c=NEW, d=NEW))
    assert missing.tolist() == [False, True, True, True]
    assert ids.label_ids.tolist() == [b"a", b"b", b"c", b"d"]
    assert set(ids.sample_ids) == {b"s"}
    assert ids.fingerprints[1].decode() == OLD + OLD
    assert inventory.unreachable == 0


def test_add__picture_out_of_reach() -> None:
    """What was made of the same region by the same encoder still counts."""
    inventory = Inventory(FIELD, [rows(a=OLD + NEW, b=OLD + NEW)])
    ids, missing = inventory.add(picture(None, a=NEW, b=OLD, c=NEW))
    assert missing.tolist() == [False, True, True]
    assert ids.fingerprints[0].decode() == OLD + NEW
    assert inventory.unreachable == 1
    ids, missing = inventory.add(picture(NEW, a=NEW))
    assert missing.tolist() == [True]


def test_add__planned_out_of_reach_counts_as_another_picture() -> None:
    ids, missing = Inventory(FIELD, []).add(picture(None, a=NEW))
    assert missing.all()
    inventory = Inventory(FIELD, [ids])
    assert inventory.add(picture(None, a=NEW))[1].tolist() == [False]
    assert inventory.add(picture(OLD, a=NEW))[1].tolist() == [True]


def test_add__same_label_elsewhere() -> None:
    """Labels that were copied to another sample keep their ids, as those of a renamed field do."""
    held = [rows("other", a=OLD + NEW), rows("s", field="before", b=OLD + NEW)]
    for stamp in (OLD, None):
        assert Inventory(FIELD, held).add(picture(stamp, a=NEW, b=NEW))[1].tolist() == [True, False]


def test_add__nothing() -> None:
    inventory = Inventory(FIELD, [rows(a=OLD + NEW), RowIds.of([])])
    ids, missing = inventory.add(picture(None))
    assert len(ids) == len(missing) == 0
    assert inventory.add(picture(OLD))[1].tolist() == []
    assert Inventory(FIELD, [RowIds.of(["s"], ["a"], FIELD)]).add(picture(OLD, a=NEW))[1].all()


def test_rows() -> None:
    inventory = Inventory(FIELD)
    for number in range(300):
        stamps = {f"{number}-{region}": NEW for region in range(300)}
        inventory.add(picture(OLD, **stamps))
    inventory.add(picture(OLD))
    rows = inventory.rows()
    assert len(rows) == len(inventory.rows()) == 90000
    assert rows.label_ids[[0, 299, 300, 89999]].tolist() == [b"0-0", b"0-299", b"1-0", b"299-299"]
    assert set(rows.fields) == {FIELD.encode()}
    assert len(Inventory(FIELD).rows()) == 0


def match(inventory: RowIds, *pieces: RowIds) -> list[list[bool]]:
    taken, lookup = np.zeros(len(inventory), bool), Lookup(inventory)
    return [matching(inventory, piece, taken, lookup).tolist() for piece in pieces]


def test_matching() -> None:
    inventory = rows(a=OLD, b=OLD, c=NEW)
    first, second = rows(b=OLD, x=OLD, a=NEW), rows(a=OLD, b=OLD, c=NEW)
    assert match(inventory, first, second) == [[True, False, False], [True, False, True]]
    assert match(inventory, rows("other", a=OLD), rows(field="f", a=OLD)) == [[False], [True]]
    assert match(inventory, RowIds.of([])) == [[]]
    assert match(RowIds.of([]), first) == [[False] * 3]


def test_matching__twice() -> None:
    """The first region of an id counts; another one by that id is not taken for it."""
    inventory = RowIds.of(["s", "s"], ["a", "a"], FIELD, [OLD, NEW])
    assert match(inventory, rows(a=NEW), rows(a=OLD), rows(a=OLD)) == [[False], [True], [False]]

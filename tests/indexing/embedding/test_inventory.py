"""Which regions have a vector already."""

from pathlib import Path

import numpy as np

from alphaclip.indexing.embedding.fingerprints import HALF
from alphaclip.indexing.embedding.inventory import Available, WantedWriter, matching
from alphaclip.indexing.embedding.label_reader import PlannedPicture
from alphaclip.indexing.store.ids import Lookup
from alphaclip.indexing.store.segments import RowIds, read_ids
from alphaclip.regions.region import Region

FIELD = "fälder"
OLD, NEW = "0" * HALF, "1" * HALF
BOX = Region.from_box([0, 0, 1, 1])


def picture(stamp: str | None, sample_id: str = "s", **stamps: str) -> PlannedPicture:
    return PlannedPicture(
        sample_id, "a.png", stamp, list(stamps), [BOX] * len(stamps), list(stamps.values())
    )


def rows(sample_id: str = "s", field: str = FIELD, **fingerprints: str) -> RowIds:
    ids = list(fingerprints)
    return RowIds.of([sample_id] * len(ids), ids, field, list(fingerprints.values()))


def test_lookup() -> None:
    lookup = Lookup(RowIds.of(["s"] * 5, ["b", "a-long-id", "ä", "b", "d"]))
    keys = np.array(
        [b"d", b"b", "ä".encode(), b"a-long-id", b"a-long-id-that-is-longer", b"a", b"z"]
    )
    assert lookup.find(keys).tolist() == [4, 0, 2, 1, -1, -1, -1]
    assert lookup.find(keys[:2].astype("S1")).tolist() == [4, 0]
    assert lookup.find(np.zeros(0, "S1")).tolist() == []
    assert Lookup(RowIds.of([])).find(keys).tolist() == [-1] * 7
    assert Lookup(RowIds.of(["x", "y"])).find(np.array([b"y"])).tolist() == [1]


def test_lookup__longer_keys_do_not_match_their_beginning() -> None:
    lookup = Lookup(RowIds.of(["s"], ["abc"]))
    assert lookup.find(np.array([b"abcd", b"ab", b"abc"])).tolist() == [-1, -1, 0]


def test_settle() -> None:
    available = Available([rows(a=OLD + NEW, b=OLD + NEW), rows(c=NEW + NEW)])
    ids, missing = available.settle(picture(OLD, a=NEW, b=OLD, c=NEW, d=NEW), FIELD)
    assert missing.tolist() == [False, True, True, True]
    assert ids.label_ids.tolist() == [b"a", b"b", b"c", b"d"]
    assert set(ids.sample_ids) == {b"s"}
    assert ids.fingerprints[1].decode() == OLD + OLD
    assert available.unreachable == 0


def test_settle__picture_out_of_reach() -> None:
    """What was made of the same region by the same encoder still counts."""
    available = Available([rows(a=OLD + NEW, b=OLD + NEW)])
    ids, missing = available.settle(picture(None, a=NEW, b=OLD, c=NEW), FIELD)
    assert missing.tolist() == [False, True, True]
    assert ids.fingerprints[0].decode() == OLD + NEW
    assert available.unreachable == 1
    ids, missing = available.settle(picture(NEW, a=NEW), FIELD)
    assert missing.tolist() == [True]


def test_settle__planned_out_of_reach_counts_as_another_picture() -> None:
    ids, missing = Available([]).settle(picture(None, a=NEW), FIELD)
    assert missing.all()
    available = Available([ids])
    assert available.settle(picture(None, a=NEW), FIELD)[1].tolist() == [False]
    assert available.settle(picture(OLD, a=NEW), FIELD)[1].tolist() == [True]


def test_settle__same_label_elsewhere() -> None:
    """Labels that were copied to another sample or field keep their ids."""
    for held in (rows("other", a=OLD + NEW), rows(field="other", a=OLD + NEW)):
        for stamp in (OLD, None):
            assert Available([held]).settle(picture(stamp, a=NEW), FIELD)[1].tolist() == [True]


def test_settle__nothing() -> None:
    available = Available([rows(a=OLD + NEW), RowIds.of([])])
    ids, missing = available.settle(picture(None), FIELD)
    assert len(ids) == len(missing) == 0
    assert available.settle(picture(OLD), FIELD)[1].tolist() == []
    assert Available([RowIds.of(["s"], ["a"], FIELD)]).settle(picture(OLD, a=NEW), FIELD)[1].all()


def test_list_of_all_regions(tmp_path: Path) -> None:
    writer = WantedWriter(tmp_path, "wanted.parquet", FIELD)
    for place in range(300):
        writer.add(rows(**{f"{place}-{region}": OLD + NEW for region in range(300)}))
    writer.add(RowIds.of([]))
    file = writer.close()
    assert writer.count == 90000
    read = read_ids(tmp_path, file)
    assert read.label_ids[[0, 299, 300, 89999]].tolist() == [b"0-0", b"0-299", b"1-0", b"299-299"]
    assert set(read.fields) == {FIELD.encode()}
    empty = WantedWriter(tmp_path, "empty.parquet", FIELD)
    assert len(read_ids(tmp_path, empty.close())) == 0


def match(wanted: RowIds, *pieces: RowIds) -> list[list[bool]]:
    taken, lookup = np.zeros(len(wanted), bool), Lookup(wanted)
    return [matching(wanted, piece, taken, lookup).tolist() for piece in pieces]


def test_matching() -> None:
    wanted = rows(a=OLD, b=OLD, c=NEW)
    first, second = rows(b=OLD, x=OLD, a=NEW), rows(a=OLD, b=OLD, c=NEW)
    assert match(wanted, first, second) == [[True, False, False], [True, False, True]]
    assert match(wanted, rows("other", a=OLD), rows(field="f", a=OLD)) == [[False], [False]]
    assert match(wanted, RowIds.of([])) == [[]]
    assert match(RowIds.of([]), first) == [[False] * 3]


def test_matching__wanted_twice() -> None:
    """The first region of an id counts; another one by that id is not taken for it."""
    wanted = RowIds.of(["s", "s"], ["a", "a"], FIELD, [OLD, NEW])
    assert match(wanted, rows(a=NEW), rows(a=OLD), rows(a=OLD)) == [[False], [True], [False]]

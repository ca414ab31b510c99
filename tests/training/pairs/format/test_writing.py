"""Writing: whole shards, the same bytes, and a job that goes on."""

import errno
import hashlib
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from alphaclip.errors import AlphaClipError, ImageError
from alphaclip.regions.region import Region
from alphaclip.training.pairs.format.filters import FilterSettings
from alphaclip.training.pairs.format.jobs import sole_writer
from alphaclip.training.pairs.format.reading import open_pairs
from alphaclip.training.pairs.format.records import PairError, PairPicture, PairRegion, Skipped
from alphaclip.training.pairs.format.writing import PairSettings, write_pairs

from ..conftest import numbered, picture

TWO = PairSettings(per_shard=2)


def files_of(folder: Path) -> dict[str, bytes]:
    """What was written, without what readers remember."""
    return {
        path.name: path.read_bytes()
        for path in sorted(folder.glob("[!.]*"))
        if ".offsets." not in path.name
    }


def failing(*places: int, error: Exception) -> Callable[[int], PairPicture]:
    """Makes pictures, but at some places raises."""

    def make(number: int) -> PairPicture:
        if number in places:
            raise error
        return numbered(number)

    return make


def test_set__has_shards_of_items_in_order(small_set: Path) -> None:
    """Five items in shards of two: members by picture, the picture before its JSON."""
    names = []
    for path in sorted(small_set.glob("*.tar")):
        with tarfile.open(path) as tar:
            names.append(tar.getnames())
    assert names[0] == ["p00.png", "p00.json", "p01.png", "p01.json"]
    assert [len(found) for found in names] == [4, 4, 2]


def test_report__counts_and_sums(small_set: Path) -> None:
    """The index has the totals; a shard's file has its SHA-256 and size."""
    index = json.loads((small_set / "index.json").read_text())
    assert (index["items"], index["pictures"], index["regions"], index["texts"]) == (5, 5, 10, 15)
    assert index["settings"]["per_shard"] == 2
    shard = json.loads((small_set / "pairs-000001.json").read_text())
    tar = (small_set / "pairs-000001.tar").read_bytes()
    assert shard["sha256"] == hashlib.sha256(tar).hexdigest()
    assert (shard["size"], shard["start"], shard["stop"]) == (len(tar), 2, 4)
    assert index["shards"][1]["sha256"] == shard["sha256"]


def test_same_items__give_the_same_bytes(tmp_path: Path) -> None:
    """Two runs, every file."""
    for name in ("one", "two"):
        write_pairs(range(5), numbered, tmp_path / name, TWO)
    one, two = files_of(tmp_path / "one"), files_of(tmp_path / "two")
    assert len(one) == 10
    assert one == two


def test_webdataset__reads_the_shards(small_set: Path) -> None:
    """They are what its readers expect."""
    import webdataset

    urls = [str(path) for path in sorted(small_set.glob("*.tar"))]
    samples = list(webdataset.WebDataset(urls, shardshuffle=False).decode("pil"))
    assert [sample["__key__"] for sample in samples] == [f"p{n:02d}" for n in range(5)]
    assert samples[0]["png"].size == (30, 20)
    assert samples[0]["json"]["regions"][0]["texts"] == ["left 0"]


def test_job_that_was_killed__goes_on(tmp_path: Path) -> None:
    """The second shard breaks off; the run after it makes that one and the last, no other."""
    made: list[int] = []

    def make(number: int) -> PairPicture:
        made.append(number)
        return numbered(number)

    with pytest.raises(KeyboardInterrupt):
        write_pairs(range(5), failing(3, error=KeyboardInterrupt()), tmp_path / "set", TWO)
    names = sorted(files_of(tmp_path / "set"))
    assert names == ["pairs-000000.json", "pairs-000000.tar", "plan.json"]
    report = write_pairs(range(5), make, tmp_path / "set", TWO)
    assert (made, report.done_before) == ([2, 3, 4], 1)
    write_pairs(range(5), numbered, tmp_path / "whole", TWO)
    assert files_of(tmp_path / "set") == files_of(tmp_path / "whole")


def test_finished_set__is_not_made_again(small_set: Path) -> None:
    """Nothing is opened, nothing changes."""
    before = files_of(small_set)
    report = write_pairs(range(5), failing(*range(5), error=OSError("opened")), small_set, TWO)
    assert report.done_before == 3
    assert files_of(small_set) == before


def test_shard_that_was_cut__is_made_again(small_set: Path) -> None:
    """Its size is not the one that was written."""
    before = files_of(small_set)
    path = small_set / "pairs-000001.tar"
    path.write_bytes(path.read_bytes()[:700])
    assert write_pairs(range(5), numbered, small_set, TWO).done_before == 2
    assert files_of(small_set) == before


@pytest.mark.parametrize("name", ["pairs-000001.tar", "pairs-000001.json"])
def test_shard_that_is_damaged__is_made_again(small_set: Path, name: str) -> None:
    """Its size is the same."""
    before = files_of(small_set)
    path = small_set / name
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)
    assert write_pairs(range(5), numbered, small_set, TWO).done_before == 2
    assert files_of(small_set) == before


def test_shards_of_earlier_versions__count_as_done(small_set: Path) -> None:
    """Their reports have no checksum of their own."""
    path = small_set / "pairs-000001.json"
    content = json.loads(path.read_text())
    del content["checksum"]
    path.write_text(json.dumps(content))
    assert write_pairs(range(5), numbered, small_set, TWO).done_before == 3


@pytest.mark.parametrize(
    ("items", "settings", "named"),
    [
        (range(5), PairSettings(per_shard=3), "settings.per_shard: 2 there, 3 now"),
        (range(6), TWO, "items: 5 there, 6 now"),
        (range(1, 6), TWO, "fingerprint"),
        (
            range(5),
            PairSettings(2, filters=FilterSettings(least_area=0.1)),
            "settings.filters.least_area: 0.0 there, 0.1 now",
        ),
        (range(5), PairSettings(2, made={"text": ["label"]}), "settings.made.text"),
    ],
)
def test_other_job__does_not_go_on_in_the_folder(
    small_set: Path, items: range, settings: PairSettings, named: str
) -> None:
    """The error says what differs; the set stays as it was."""
    before = files_of(small_set)
    with pytest.raises(PairError, match="another job made") as error:
        write_pairs(items, numbered, small_set, settings)
    assert named in str(error.value)
    assert files_of(small_set) == before


def test_item_that_fails__is_counted_by_reason(tmp_path: Path) -> None:
    """A missing picture, an unreadable file, an error of ours, a reason given, an empty one."""

    def make(number: int) -> PairPicture | Skipped:
        errors = [ImageError("no such file"), PermissionError("not yours"), PairError("bad span")]
        if number < 3:
            raise errors[number]
        broken = PairPicture("b", b"no picture", "png", picture().regions)
        outside = picture("c", PairRegion(Region.from_box((2, 2, 1, 1)), ("x",)))
        return [Skipped("missing (404)", "http://x"), broken, outside, picture("d")][number - 3]

    report = write_pairs(range(7), make, tmp_path / "set")
    assert report.skipped.counts == {
        "picture cannot be opened": 2,
        "file cannot be read": 1,
        "PairError": 1,
        "missing (404)": 1,
        "no region kept": 1,
    }
    assert report.skipped.details["missing (404)"] == ["http://x"]
    assert report.left_out.counts == {"region empty in its picture": 1}
    assert (report.items, report.pictures) == (7, 1)
    assert "6 items left out" not in report.lines()[0]
    assert "1 missing (404)" in report.lines()[1]


def test_details__are_the_first_hundred(tmp_path: Path) -> None:
    """Over all shards, while the count goes on."""
    report = write_pairs(
        range(250),
        lambda n: Skipped("gone", str(n)) if n else numbered(0),
        tmp_path / "set",
        PairSettings(per_shard=60),
    )
    assert report.skipped.counts == {"gone": 249}
    assert report.skipped.details["gone"] == [str(n) for n in range(1, 101)]


def test_key_used_twice__is_counted(tmp_path: Path) -> None:
    """The second picture would hide the first."""
    report = write_pairs(range(3), lambda n: picture("same"), tmp_path / "set")
    assert report.skipped.counts == {"key used before": 2}


def test_left_out_regions__leave_the_rest_of_the_picture(tmp_path: Path) -> None:
    """One of two boxes lies outside: the other one is a pair."""
    good = PairRegion(Region.from_box((0.5, 0, 1, 1)), ("right",))
    bad = PairRegion(Region.from_box((1.5, 0, 1, 1)), ("outside",))
    report = write_pairs(range(1), lambda _: picture("a", good, bad), tmp_path / "set")
    assert (report.regions, report.left_out.total) == (1, 1)
    assert open_pairs(tmp_path / "set")[0].region.box == (0.5, 0.0, 0.5, 1.0)


def test_two_writers__do_not_meet(small_set: Path) -> None:
    """The second one is told so."""
    with sole_writer(small_set), pytest.raises(PairError, match="another process writes"):
        write_pairs(range(5), numbered, small_set, TWO)


def test_what_a_killed_writer_left__is_deleted(small_set: Path) -> None:
    """Its half-written files have no final name."""
    (small_set / "pairs-000007.tar.0123456789abcdef.part").write_bytes(b"half")
    write_pairs(range(5), numbered, small_set, TWO)
    assert not list(small_set.glob("*.part"))


def test_folder_that_is_a_file__is_an_error(tmp_path: Path) -> None:
    """It says what to do."""
    (tmp_path / "set").write_text("a file")
    with pytest.raises(PairError, match="take another folder"):
        write_pairs(range(5), numbered, tmp_path / "set", TWO)


def test_full_disk__leaves_no_half_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to do, the finished shard stays, and the job goes on afterwards."""
    add = tarfile.TarFile.addfile
    left = iter(range(6))

    def full(tar: tarfile.TarFile, *args: object) -> None:
        if next(left, None) is None:
            raise OSError(errno.ENOSPC, "No space left on device")
        add(tar, *args)

    with monkeypatch.context() as patched:
        patched.setattr(tarfile.TarFile, "addfile", full)
        with pytest.raises(AlphaClipError, match=r"the disk is full.*run it again"):
            write_pairs(range(5), numbered, tmp_path / "set", TWO)
    names = sorted(files_of(tmp_path / "set"))
    assert names == ["pairs-000000.json", "pairs-000000.tar", "plan.json"]
    assert write_pairs(range(5), numbered, tmp_path / "set", TWO).done_before == 1


def test_disk_that_fills_while_an_item_is_made__stops_the_job(tmp_path: Path) -> None:
    """It is no fault of the item, which would be missing for good."""
    full = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(PairError, match=r"disk is full.*make room"):
        write_pairs(range(5), failing(3, error=full), tmp_path / "set", TWO)


def test_progress__is_told_after_each_shard(tmp_path: Path) -> None:
    """Done and total, in items."""
    told: list[tuple[int, int]] = []
    write_pairs(range(5), numbered, tmp_path / "set", TWO, lambda *at: told.append(at))
    assert told == [(2, 5), (4, 5), (5, 5)]


def test_nothing_to_write__is_an_empty_set(tmp_path: Path) -> None:
    """All items may be skipped: the report says so, a reader has nothing."""
    report = write_pairs(range(3), lambda n: Skipped("gone", str(n)), tmp_path / "set")
    assert (report.pictures, report.skipped.counts) == (0, {"gone": 3})
    with pytest.raises(PairError, match="no pair can be read"):
        open_pairs(tmp_path / "set")

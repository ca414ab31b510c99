"""Reading: any pair at any time, and nothing from a shard that is not what it should be."""

import io
import json
import logging
import os
import pickle
import tarfile
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

from alphaclip.errors import ImageError
from alphaclip.regions.region import Region
from alphaclip.training.pairs.format.reading import PairSet, open_pairs
from alphaclip.training.pairs.format.records import PairError, PairRegion
from alphaclip.training.pairs.format.writing import PairSettings, write_pairs

from ..conftest import LEFT, corner_mask, numbered, picture


def put(path: Path, name: str, content: bytes = b"{}", **fields: object) -> None:
    """Adds a member to a tar."""
    with tarfile.open(path, "a") as tar:
        member = tarfile.TarInfo(name)
        member.size = len(content) if fields.get("type", tarfile.REGTYPE) == tarfile.REGTYPE else 0
        for field, value in fields.items():
            setattr(member, field, value)
        tar.addfile(member, io.BytesIO(content))


def bare(folder: Path) -> Path:
    """Takes away what was written beside the tars, as when only they were copied."""
    for path in folder.glob("*.json"):
        path.unlink()
    return folder


def test_pair__has_picture_region_and_texts(small_set: Path) -> None:
    """The fourth pair is the second region of the second picture."""
    pairs = open_pairs(small_set)
    pair = pairs[3]
    assert len(pairs) == 10
    assert pair.key == "p01/1"
    assert pair.image.shape == (20, 30, 3)
    assert (pair.image == sum(b"p01") % 251).all()
    assert np.array_equal(pair.region.alpha_map(20, 30), corner_mask() * 255)
    assert pair.texts == ("corner 1", "nook")
    assert (pair.label, pair.negatives) == (None, ())
    assert pairs[2].label == "half"


def test_caption__is_the_pictures_or_its_regions_texts(write: Callable[..., Path]) -> None:
    """Without a caption the first texts stand for the whole picture."""
    two = PairRegion(Region.from_box(LEFT), ("a", "b")), PairRegion(Region.whole_image(), ("c",))
    pairs = open_pairs(write(picture("x", *two), picture("y", *two, caption="all of it")))
    assert (pairs[0].caption, pairs[2].caption) == ("a, c", "all of it")


def test_places__count_from_both_ends(small_set: Path) -> None:
    """As those of a list."""
    pairs = open_pairs(small_set)
    assert pairs[-1].key == pairs[9].key == "p04/1"
    for place in (10, -11):
        with pytest.raises(IndexError):
            pairs[place]


def test_pictures__know_their_pairs(small_set: Path) -> None:
    """And pairs know their picture."""
    pairs = open_pairs(small_set)
    assert pairs.picture_count == 5
    assert pairs.of_picture(2) == range(4, 6)
    assert [pairs.picture_of(place) for place in (0, 1, 4, -1)] == [0, 0, 2, 4]
    assert [found.key for found in pairs.pictures()] == [f"p{n:02d}" for n in range(5)]
    assert pairs.picture(1).image == numbered(1).image


def test_several_sets__are_one(small_set: Path, write: Callable[..., Path]) -> None:
    """In the order in which they are given."""
    pairs = open_pairs(small_set, write(picture("last")))
    assert len(pairs) == 11
    assert pairs[10].key == "last/0"


def test_fingerprint__changes_with_the_content(small_set: Path, tmp_path: Path) -> None:
    """The same items elsewhere are the same; one picture less is another set."""
    same, less = tmp_path / "same", tmp_path / "less"
    write_pairs(range(5), numbered, same, PairSettings(per_shard=2))
    write_pairs(range(4), numbered, less, PairSettings(per_shard=2))
    prints = [open_pairs(folder).fingerprint for folder in (small_set, same, less)]
    assert prints[0] == prints[1] != prints[2]
    assert open_pairs(bare(same)).fingerprint == prints[0]


def _text_of(pairs: PairSet, place: int) -> str:
    return pairs[place].texts[0]


def test_workers__read_pairs_at_once(small_set: Path) -> None:
    """A set goes to processes that are started anew, as those of a DataLoader."""
    pairs = open_pairs(small_set)
    assert len(pickle.dumps(pairs)) < 5000
    with get_context("spawn").Pool(2) as pool:
        found = pool.starmap(_text_of, [(pairs, place) for place in range(10)])
    assert found[:2] == ["left 0", "corner 0"]
    assert found[-1] == "corner 4"


def test_offsets__are_remembered_while_the_tar_is_the_same(
    small_set: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second opening reads no tar; after a change it does."""
    open_pairs(small_set)
    with monkeypatch.context() as patched:
        patched.setattr(tarfile, "open", lambda *a, **k: pytest.fail("a tar was read"))
        assert len(open_pairs(small_set)) == 10
    for path in small_set.glob("*.offsets.json"):
        content = json.loads(path.read_text())
        assert content["stamp"][0] == path.with_name(f"{path.name[:12]}.tar").stat().st_size
        path.write_text(json.dumps({**content, "pictures": [["a", "png", [-5, 1], [0, 1], 1]]}))
    assert len(open_pairs(small_set)) == 10


@pytest.mark.parametrize("has_rotted", [False, True])
def test_damaged_shard__is_never_read_as_if_it_were_whole(
    small_set: Path, has_rotted: bool
) -> None:
    """Wherever a byte differs; where its time stays the same as well, as where a disk rots."""
    right = [(pair.texts, pair.image.tobytes()) for pair in open_pairs(small_set)]
    path = small_set / "pairs-000000.tar"
    content, status = path.read_bytes(), path.stat()
    refused = 0
    for at in range(100, len(content), 499):
        wrong = bytearray(content)
        wrong[at] ^= 16
        path.write_bytes(wrong)
        if has_rotted:
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        try:
            pairs = open_pairs(small_set, strict=True)
            assert [(pair.texts, pair.image.tobytes()) for pair in pairs] == right
        except PairError as error:
            refused += "pairs-000000.tar" in str(error) and "damaged" in str(error)
    assert refused >= (3 if has_rotted else len(range(100, len(content), 499)) - 5)


def test_sets_without_checksums__are_read(small_set: Path) -> None:
    """Reports had no checksum of their own, and what was remembered of a tar had none either."""
    open_pairs(small_set)
    for path in small_set.glob("pairs-*.json"):
        content = json.loads(path.read_text())
        del content["checksum"]
        if "stamp" in content:
            content |= {"format": 1, "pictures": [["p", "png", [0, 1], [0, 1], 9]]}
        path.write_text(json.dumps(content))
    assert len(open_pairs(small_set, strict=True)) == 10


def test_folder_that_cannot_be_written__is_read_all_the_same(
    small_set: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Offsets are then not remembered."""

    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError("read-only")

    for path in small_set.glob("*.offsets.json"):
        path.unlink()
    monkeypatch.setattr(Path, "replace", refuse)
    assert len(open_pairs(small_set, strict=True)) == 10
    assert not list(small_set.glob("*.offsets.json"))


def test_missing_shard__is_left_out_or_an_error(
    small_set: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The index knows that there is one more."""
    (small_set / "pairs-000001.tar").unlink()
    with caplog.at_level(logging.WARNING):
        pairs = open_pairs(small_set)
    assert len(pairs) == 6
    assert len(pairs.left_out) == 1 and "pairs-000001.tar cannot be read" in pairs.left_out[0]
    assert "pairs-000001.tar" in caplog.text
    with pytest.raises(PairError, match=r"pairs-000001\.tar cannot be read"):
        open_pairs(small_set, strict=True)


@pytest.mark.parametrize("size", [0, 300, 700, 3000, 10239])
def test_truncated_tar__is_left_out_or_an_error(small_set: Path, size: int) -> None:
    """Wherever it was cut."""
    path = small_set / "pairs-000001.tar"
    path.write_bytes(path.read_bytes()[:size])
    assert len(open_pairs(small_set)) == 6
    with pytest.raises(PairError, match=r"pairs-000001\.tar"):
        open_pairs(small_set, strict=True)


@pytest.mark.parametrize("size", [0, 300, 700, 2048, 3000])
def test_truncated_tar__is_seen_without_its_report(small_set: Path, size: int) -> None:
    """Also where the cut is between two members."""
    path = bare(small_set) / "pairs-000001.tar"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(PairError, match=r"pairs-000001\.tar"):
        open_pairs(small_set, strict=True)


def test_no_tar__is_named(small_set: Path) -> None:
    """A file of another kind under the name of a shard."""
    (bare(small_set) / "pairs-000001.tar").write_bytes(b"<html>not found</html>" * 100)
    with pytest.raises(PairError, match=r"pairs-000001\.tar"):
        open_pairs(small_set, strict=True)


@pytest.mark.parametrize("name", ["/etc/evil.json", "../evil.json", "a/../../evil.json"])
def test_member_with_a_path__is_refused(small_set: Path, tmp_path: Path, name: str) -> None:
    """It is named, nothing is written anywhere, and the others are read."""
    put(bare(small_set) / "pairs-000001.tar", name)
    pairs = open_pairs(small_set)
    assert len(pairs) == 10
    assert len(pairs.left_out) == 1 and repr(name) in pairs.left_out[0]
    with pytest.raises(PairError, match=r"pairs-000001\.tar: member .*refused"):
        open_pairs(small_set, strict=True)
    assert not list(tmp_path.rglob("evil*"))


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE]
)
def test_member_that_is_no_file__is_refused(small_set: Path, kind: bytes) -> None:
    """A link may lead anywhere."""
    put(bare(small_set) / "pairs-000001.tar", "q.json", type=kind, linkname="/etc/passwd")
    put(small_set / "pairs-000001.tar", "q.png", numbered(0).image)
    pairs = open_pairs(small_set)
    assert len(pairs) == 10
    assert "refused" in pairs.left_out[0]
    with pytest.raises(PairError, match=r"pairs-000001\.tar: member 'q.json' .*refused"):
        open_pairs(small_set, strict=True)


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("q.json", b"{", "'q.json' is no entry"),
        ("q.json", b'{"format": 9}', "has format 9"),
        ("q.txt", b"a text", "no place in a set"),
        ("p02.json", b"{}", "is there twice"),
        ("q.png", b"", "'q' has no JSON"),
    ],
)
def test_damaged_member__leaves_its_picture_out(
    small_set: Path, name: str, content: bytes, problem: str
) -> None:
    """The others stay; the line names shard and member."""
    put(bare(small_set) / "pairs-000001.tar", name, content)
    pairs = open_pairs(small_set)
    assert len(pairs) == 10
    assert len(pairs.left_out) == 1
    assert "pairs-000001.tar" in pairs.left_out[0] and problem in pairs.left_out[0]


def test_damaged_picture__is_an_error_when_it_is_asked_for(write: Callable[..., Path]) -> None:
    """Pictures are not decoded when a set is opened."""
    folder = bare(write(picture("a"), picture("b")))
    path = folder / "pairs-000000.tar"
    path.write_bytes(path.read_bytes().replace(b"IDAT", b"XXXX", 1))
    pairs = open_pairs(folder)
    with pytest.raises(ImageError, match="a"):
        pairs[0]
    assert pairs[1].key == "b/0"


def test_picture_of_another_size__is_an_error(write: Callable[..., Path]) -> None:
    """Its regions would lie elsewhere."""
    folder = bare(write(picture("a")))
    path = folder / "pairs-000000.tar"
    path.write_bytes(path.read_bytes().replace(b'"width":30', b'"width":31'))
    with pytest.raises(PairError, match="a: the picture has the shape"):
        open_pairs(folder)[0]


def test_unfinished_set__can_be_read_but_not_strictly(small_set: Path) -> None:
    """What is there is there."""
    (small_set / "index.json").unlink()
    assert len(open_pairs(small_set)) == 10
    with pytest.raises(PairError, match="not finished"):
        open_pairs(small_set, strict=True)


@pytest.mark.parametrize("name", ["../other.tar", "/other.tar", "a/b.tar"])
def test_index_that_names_other_places__is_refused(small_set: Path, name: str) -> None:
    """Names in a file never lead out of its folder."""
    index = json.loads((small_set / "index.json").read_text())
    index["shards"][0]["name"] = name
    (small_set / "index.json").write_text(json.dumps(index))
    with pytest.raises(PairError, match="refused"):
        open_pairs(small_set)


def test_damaged_index__is_an_error(small_set: Path) -> None:
    """It says what to do."""
    (small_set / "index.json").write_text("{")
    with pytest.raises(PairError, match="make the set again"):
        open_pairs(small_set)


def test_folder_without_shards__is_an_error(tmp_path: Path) -> None:
    """Or one that is not there at all."""
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(PairError, match="no shards"):
            open_pairs(folder)


def test_folder_of_sets__names_them(small_set: Path) -> None:
    """As where a dataset was split into train and validation."""
    with pytest.raises(PairError, match="there are sets in set"):
        open_pairs(small_set.parent)

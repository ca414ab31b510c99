"""Checking: a set is well, or every fault is named."""

from pathlib import Path

import pytest

from alphaclip.training.pairs.format.checking import check_pairs
from alphaclip.training.pairs.format.records import PairError


def flip(path: Path, old: bytes, new: bytes) -> None:
    """Changes bytes of a file, once, without changing its size."""
    content = path.read_bytes()
    assert len(old) == len(new) and old in content
    path.write_bytes(content.replace(old, new, 1))


def test_whole_set__is_well(small_set: Path) -> None:
    """And progress goes by shards."""
    told: list[tuple[int, int]] = []
    assert check_pairs(small_set, lambda *at: told.append(at)) == []
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_changed_text__has_another_sha256(small_set: Path) -> None:
    """Nothing else would tell."""
    flip(small_set / "pairs-000001.tar", b"corner 2", b"corner 9")
    (problem,) = check_pairs(small_set)
    assert "pairs-000001.tar has another SHA-256" in problem


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        (b"IDAT", b"XXXX", "p02: the given image: damaged"),
        (b'"width":30', b'"width":31', "p02: "),
        (b'"counts":"04', b'"counts":"0z', "p02: region '2-1'"),
        (b'"box":[0.0,', b'"box":[9.9,', "p02: "),
    ],
)
def test_damaged_member__is_named(small_set: Path, old: bytes, new: bytes, named: str) -> None:
    """With its shard; the SHA-256 is wrong as well."""
    flip(small_set / "pairs-000001.tar", old, new)
    problems = check_pairs(small_set)
    assert len(problems) == 2
    assert "pairs-000001.tar: p02: " in problems[1] and named in problems[1]


def test_truncated_and_missing_shards__are_named(small_set: Path) -> None:
    """The others are checked all the same."""
    path = small_set / "pairs-000000.tar"
    path.write_bytes(path.read_bytes()[:700])
    (small_set / "pairs-000001.tar").unlink()
    problems = check_pairs(small_set)
    assert len(problems) == 2
    assert "pairs-000000.tar" in problems[0] and "pairs-000001.tar" in problems[1]


def test_missing_reports__are_named(small_set: Path) -> None:
    """Without them nobody knows what was written."""
    (small_set / "index.json").unlink()
    (small_set / "pairs-000002.json").write_text("{}")
    problems = check_pairs(small_set)
    assert "not finished" in problems[0]
    assert "pairs-000002.tar has no report" in problems[1]


def test_no_set__is_an_error(tmp_path: Path) -> None:
    """A folder without shards."""
    with pytest.raises(PairError, match="no shards"):
        check_pairs(tmp_path)

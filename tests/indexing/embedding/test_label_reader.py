"""What a vector was made of."""

import os
from pathlib import Path

import numpy as np

from alphaclip.indexing.embedding.label_reader import HALF, picture_stamp, region_half, region_stamp
from alphaclip.regions.region import Region

BOX = Region.from_box([0.1, 0.2, 0.3, 0.4])


def test_picture_stamp__stat(tmp_path: Path) -> None:
    path = tmp_path / "bild ä.png"
    path.write_bytes(b"one")
    os.utime(path, ns=(0, 10**18))
    before = picture_stamp(str(path), "stat")
    assert before is not None
    assert len(before) == HALF
    assert picture_stamp(str(path), "stat") == before
    os.utime(path, ns=(0, 10**18 + 1))
    assert picture_stamp(str(path), "stat") != before
    path.write_bytes(b"four")
    os.utime(path, ns=(0, 10**18))
    assert picture_stamp(str(path), "stat") != before


def test_picture_stamp__content(tmp_path: Path) -> None:
    one, other = tmp_path / "1", tmp_path / "2"
    one.write_bytes(b"same")
    other.write_bytes(b"same")
    os.utime(other, ns=(0, 5))
    assert picture_stamp(str(one), "content") == picture_stamp(str(other), "content")
    other.write_bytes(b"edit")
    assert picture_stamp(str(one), "content") != picture_stamp(str(other), "content")


def test_picture_stamp__out_of_reach(tmp_path: Path) -> None:
    for identify in ("stat", "content"):
        assert picture_stamp(str(tmp_path / "missing"), identify) is None
        assert picture_stamp("no\0path", identify) is None
    assert picture_stamp(str(tmp_path), "content") is None


def test_region_stamp() -> None:
    stamp = region_stamp(BOX, "encoder")
    assert len(stamp) == HALF
    assert stamp == region_stamp(Region.from_box([0.1, 0.2, 0.3, 0.4]), "encoder")
    assert stamp != region_stamp(Region.from_box([0.1, 0.2, 0.3, 0.41]), "encoder")
    assert stamp != region_stamp(BOX, "another")


def test_region_half() -> None:
    fingerprints = np.array([b"a" * HALF + b"b" * HALF, b"", b"-" * HALF + b"c" * HALF])
    assert region_half(fingerprints).tolist() == [b"b" * HALF, b"", b"c" * HALF]
    assert region_half(np.zeros(0, "S1")).tolist() == []
    assert region_half(fingerprints[::2]).tolist() == [b"b" * HALF, b"c" * HALF]

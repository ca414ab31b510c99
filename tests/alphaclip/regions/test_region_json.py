"""Regions as lines of JSON: nothing is lost, and nothing else is taken for one."""

import base64
import json
import zlib

import numpy as np
import pytest

from alphaclip.errors import RegionError
from alphaclip.regions.region import Region
from alphaclip.regions.region_json import region_from_json, region_to_json

TRIANGLE = [[0.1, 0.1], [0.6, 1 / 3], [0.6, 0.8]]
REGIONS = {
    "box": Region.from_box([0.1, 0.2, 1 / 3, 1e-9]),
    "mask": Region.from_mask(np.arange(12, dtype=np.uint8).reshape(3, 4)),
    "dark mask": Region(mask=np.ones((2, 3), np.uint8)),
    "instance": Region.from_mask(np.eye(5, dtype=bool), [0.1, 0.2, 0.3, 0.4]),
    "polygon": Region.from_polygon(TRIANGLE),
    "rings": Region.from_polygon([TRIANGLE, [[0, 0], [1, 0], [1, 1], [0, 1]]]),
    "whole": Region.whole_image(),
    "rle": Region.from_rle({"size": [4, 4], "counts": [3, 5, 8]}),
}


@pytest.mark.parametrize("name", REGIONS)
def test_round_trip(name: str) -> None:
    region = REGIONS[name]
    text = region_to_json(region)
    read = region_from_json(text)
    assert read.digest() == region.digest()
    assert read.box == region.box
    assert len(read.rings) == len(region.rings)
    assert all(np.array_equal(*pair) for pair in zip(read.rings, region.rings, strict=True))
    if region.mask is not None:
        assert read.mask is not None
        assert read.mask.dtype == np.uint8
        assert np.array_equal(read.mask, region.mask)
    assert "\n" not in text
    assert region_to_json(read) == text


def test_box__by_hand() -> None:
    assert json.loads(region_to_json(Region.from_box([0, 0.25, 0.5, 1]))) == {
        "box": [0.0, 0.25, 0.5, 1.0]
    }
    for box in ((0, 0, 1, 1), (np.float64(0.1), 0.2, 0.3, 1e-7), (-0.5, 1 / 3, 1e20, 0.1)):
        assert region_to_json(Region(box=box)) == json.dumps({"box": box})


def mask(shape: list, content: bytes) -> str:
    values = base64.b64encode(zlib.compress(content)).decode()
    return json.dumps({"mask": {"shape": shape, "values": values}})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "3",
        '{"bocks": [0, 0, 1, 1]}',
        '{"box": [0, 0, 1]}',
        '{"box": [0, 0, NaN, 1]}',
        '{"box": [0, 0, 0, 1]}',
        '{"box": "abcd"}',
        '{"box": 1}',
        '{"rings": [[[0, 0], [1, 1]]]}',
        '{"rings": [[[0, 0], [1, 1], [2, "a"]]]}',
        '{"rings": []}',
        '{"mask": 1}',
        '{"mask": {"shape": [1, 1], "values": "not base64!"}}',
        '{"mask": {"shape": [1, 1], "values": "AAAA"}}',
        '{"mask": {"shape": [1, 1]}}',
        mask([2, 2], b"abc"),
        mask([2, 2], b"abcde"),
        mask([-2, -2], b"abcd"),
        mask([1, -1], b"a" * 10**6),
        mask([4], b"abcd"),
        mask([2.0, 2.0], b"abcd"),
        mask([10**12, 10**12], b"abcd"),
        "[" * 10**5,
    ],
)
def test_malformed(text: str) -> None:
    with pytest.raises(RegionError):
        region_from_json(text)


def test_bomb_is_not_unpacked() -> None:
    """A line that would unpack to a gigabyte is given up after as much as its shape says."""
    bomb = base64.b64encode(zlib.compress(bytes(10**7))).decode()
    with pytest.raises(RegionError):
        region_from_json(json.dumps({"mask": {"shape": [2, 2], "values": bomb}}))

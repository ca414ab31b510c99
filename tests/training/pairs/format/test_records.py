"""Records: what is kept of a picture and its regions comes back, and nothing else is taken."""

import json
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from alphaclip.errors import EmptyRegionError, ImageError, RegionError
from alphaclip.regions.region import Region
from alphaclip.training.pairs.format.pictures import decode_picture, read_picture
from alphaclip.training.pairs.format.records import (
    PairError,
    PairPicture,
    PairRegion,
    from_members,
    read_entry,
    to_members,
)

from ..conftest import LEFT, ORIENTATION, corner_mask, picture, png


def back(given: PairPicture) -> PairPicture:
    """What comes back of a picture."""
    image, entry = to_members(given).values()
    return from_members(given.key, given.suffix, image, entry)


def entry_of(*regions: PairRegion, **more: Any) -> dict[str, Any]:
    """The JSON member of a picture."""
    return json.loads(to_members(picture("a", *regions, **more))["a.json"])


def test_picture__comes_back_as_it_was() -> None:
    """Every field of a picture and of its regions is kept."""
    region = PairRegion(
        Region.from_box(LEFT), ("left", "links"), "half", ("right",), {"clip": 0.25}, "r1"
    )
    given = picture("a", region, caption="two halves", source="a set", licence="CC0")
    found = back(given)
    assert (found.key, found.image, found.suffix) == (given.key, given.image, "png")
    assert (found.caption, found.source, found.licence) == ("two halves", "a set", "CC0")
    kept = found.regions[0]
    assert kept.region.box == LEFT
    assert (kept.texts, kept.label, kept.negatives) == (("left", "links"), "half", ("right",))
    assert (kept.scores, kept.id) == ({"clip": 0.25}, "r1")


def test_mask__is_kept_as_a_coco_rle_of_the_picture() -> None:
    """The RLE is one that pycocotools decodes to the same mask."""
    entry = entry_of(PairRegion(Region.from_mask(corner_mask()), ("corner",)))
    rle = entry["regions"][0]["rle"]
    assert rle["size"] == [20, 30]
    assert np.array_equal(coco.decode(rle).astype(bool), corner_mask())
    found = back(picture("a", PairRegion(Region.from_mask(corner_mask()), ("corner",))))
    assert np.array_equal(found.regions[0].region.alpha_map(20, 30), corner_mask() * 255)


def test_instance_mask_and_polygon__become_masks_of_the_picture() -> None:
    """A mask stretched over the left half, and a polygon of the same place."""
    stretched = Region.from_mask(np.ones((2, 2), bool), box=LEFT)
    corners = [(0.0, 0.0), (0.49, 0.0), (0.49, 1.0), (0.0, 1.0)]
    found = back(
        picture(
            "a", PairRegion(stretched, ("l",)), PairRegion(Region.from_polygon(corners), ("p",))
        )
    )
    for region in found.regions:
        alpha = region.region.alpha_map(20, 30)
        assert alpha[:, :14].all() and not alpha[:, 16:].any()


def test_soft_mask__keeps_pixels_from_one_half_on() -> None:
    """127 is out, 128 is in."""
    soft = np.zeros((20, 30), np.uint8)
    soft[0, :3] = (127, 128, 255)
    found = back(picture("a", PairRegion(Region.from_mask(soft), ("soft",))))
    assert found.regions[0].region.alpha_map(20, 30)[0, :4].tolist() == [0, 255, 255, 0]


def test_box_that_reaches_out__is_clipped() -> None:
    """The part inside the picture stays."""
    found = entry_of(PairRegion(Region.from_box((-0.5, 0.25, 1.0, 2.0)), ("left",)))
    assert found["regions"][0]["box"] == [0.0, 0.25, 0.5, 0.75]


def test_whole_picture__stays_the_whole_picture() -> None:
    """Its alpha is one over any padding too, so it is no box."""
    found = back(picture("a", PairRegion(Region.whole_image(), ("all",))))
    assert found.regions[0].region.is_whole_image


@pytest.mark.parametrize(
    ("region", "error"),
    [
        (Region.from_box((1.5, 0.0, 0.1, 0.1)), EmptyRegionError),
        (Region.from_mask(np.zeros((20, 30), bool)), EmptyRegionError),
        (Region.from_mask(np.ones((30, 20), bool)), RegionError),
    ],
)
def test_region_that_does_not_fit__is_refused(region: Region, error: type[Exception]) -> None:
    """Outside, empty, or of the turned picture; the message names picture and region."""
    with pytest.raises(error, match="a: region 'r7'"):
        to_members(picture("a", PairRegion(region, ("x",), id="r7")))


@pytest.mark.parametrize("key", ["", "../a", "a/b", "a.b", "ä", "x" * 101])
def test_key_that_is_no_name__is_refused(key: str) -> None:
    """A key becomes the name of two members."""
    with pytest.raises(PairError, match="letters, digits"):
        to_members(picture(key))


@pytest.mark.parametrize("texts", [(), ("",), ("good", "  ")])
def test_region_without_text__is_refused(texts: tuple[str, ...]) -> None:
    """A pair needs a text."""
    with pytest.raises(PairError, match="no text"):
        to_members(picture("a", PairRegion(Region.from_box(LEFT), texts)))


def test_score_that_is_no_number__is_refused() -> None:
    """JSON has no NaN."""
    with pytest.raises(PairError, match="'clip' is nan"):
        entry_of(PairRegion(Region.from_box(LEFT), ("x",), scores={"clip": float("nan")}))


def test_non_latin_text__is_kept_readable() -> None:
    """Texts are UTF-8, not escapes."""
    given = picture("a", PairRegion(Region.from_box(LEFT), ("красное яблоко", "赤いりんご")))
    assert "赤いりんご".encode() in to_members(given)["a.json"]
    assert back(given).regions[0].texts == ("красное яблоко", "赤いりんご")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("format", 2, "format 2"),
        ("width", -1, "size"),
        ("width", 10**9, "size"),
        ("width", "30", "size"),
        ("caption", 5, "caption holds a int"),
        ("regions", [{"box": LEFT}], "no entry of a picture"),
        ("regions", [{"box": LEFT, "texts": []}], "no list of texts"),
        ("regions", [{"box": LEFT, "texts": "left"}], "no list of texts"),
        ("regions", [{"box": LEFT, "texts": [5]}], "holds a int"),
        ("regions", [{"box": LEFT, "texts": ["x"], "scores": {"clip": "high"}}], "no number"),
        ("regions", 5, "no entry of a picture"),
    ],
)
def test_damaged_entry__is_a_pair_error(name: str, value: Any, message: str) -> None:
    """Whatever a file holds, the error is ours."""
    with pytest.raises(PairError, match=message):
        read_entry(json.dumps({**entry_of(), name: value}).encode())


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"5", b"\xff\xfe", b"[" * 10000])
def test_no_json__is_a_pair_error(content: bytes) -> None:
    """As where a tar was cut."""
    with pytest.raises(PairError, match="no entry"):
        read_entry(content)


@pytest.mark.parametrize(
    "where",
    [
        {},
        {"box": [0, 0, 1]},
        {"rle": {"size": [20, 30], "counts": "04`0"}},
        {"rle": {"size": [30, 20], "counts": [600]}},
        {"rle": {"size": [10**6, 10**6], "counts": [10**12]}},
        {"rle": {"counts": [600]}},
        {"whole": False},
    ],
)
def test_damaged_region__names_itself(where: dict[str, Any]) -> None:
    """A mask of another size or of too many pixels is not decoded."""
    entry = {**entry_of(), "regions": [{"id": "r7", "texts": ["x"], **where}]}
    with pytest.raises(PairError, match="region 'r7'"):
        from_members("a", "png", b"", json.dumps(entry).encode())


def test_turned_picture__has_the_size_that_is_shown() -> None:
    """EXIF 6: stored 20 wide and 30 high, shown 30 wide and 20 high, as its mask is."""
    stored = np.zeros((30, 20, 3), np.uint8)
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    stream = BytesIO()
    Image.fromarray(stored).save(stream, "JPEG", exif=exif)
    region = PairRegion(Region.from_mask(corner_mask(20, 30)), ("corner",))
    given = PairPicture("a", stream.getvalue(), "jpg", (region,))
    entry = json.loads(to_members(given)["a.json"])
    assert (entry["width"], entry["height"]) == (30, 20)
    assert to_members(given)["a.jpg"] == stream.getvalue()


def test_read_picture__keeps_files_and_turns_others_into_png(tmp_path: Any) -> None:
    """A JPEG stays byte for byte; a BMP becomes a PNG of the same pixels."""
    pixels = np.arange(600, dtype=np.uint8).reshape(20, 10, 3)
    for kind in ("jpg", "png", "webp", "bmp"):
        Image.fromarray(pixels).save(tmp_path / f"a.{kind}")
        content, suffix = read_picture(tmp_path / f"a.{kind}")
        assert suffix == ("png" if kind == "bmp" else kind)
        assert (content == (tmp_path / f"a.{kind}").read_bytes()) == (kind != "bmp")
    assert np.array_equal(decode_picture(content), pixels)


@pytest.mark.parametrize("content", [b"", b"no picture", png(np.zeros((9, 9, 3), np.uint8))[:45]])
def test_damaged_picture__is_an_image_error(tmp_path: Any, content: bytes) -> None:
    """Nothing else comes out of a file that is no picture."""
    with pytest.raises(ImageError, match="a9"):
        decode_picture(content, "a9")
    with pytest.raises(ImageError, match="missing"):
        read_picture(tmp_path / "missing.png")

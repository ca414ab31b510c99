"""What a set of region-text pairs is made of, and how it is kept in a WebDataset shard.

A picture is two members of a tar: ``<key>.jpg`` (or ``png``, ``webp``) and ``<key>.json``::

    {"format": 1, "width": 640, "height": 480, "caption": "...", "source": "...", "licence": "...",
     "regions": [{"id": "...", "rle": {"size": [480, 640], "counts": "..."}, "label": "...",
                  "texts": ["..."], "negatives": ["..."], "scores": {"clip": 0.3}}]}

Width and height are those of the upright picture. A region has ``rle`` (COCO's compressed string,
of the picture's size), or ``box`` (relative ``[x, y, w, h]``), or ``whole: true``. What is empty is
left out.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from alphaclip.errors import AlphaClipError, EmptyRegionError, RegionError
from alphaclip.regions.images import MAX_PIXELS
from alphaclip.regions.region import Region
from alphaclip.regions.rle import encode_rle
from alphaclip.training.datasets.files import MALFORMED
from alphaclip.training.datasets.masks import decode_mask, masked_region
from alphaclip.training.pairs.format.pictures import SUFFIXES, decode_picture

FORMAT = 1
KEY = re.compile(r"[A-Za-z0-9_-]{1,100}")
"""No dot, as WebDataset takes what stands after the first one for the suffix, and no slash."""

INSIDE = 128
"""Alpha from which on a pixel is in the mask that is kept: at least half of it."""


class PairError(AlphaClipError):
    """A set of pairs, a shard or a member of one cannot be used or written."""


@dataclass(frozen=True)
class Skipped:
    """Something that is not in the set.

    Attributes:
        reason: a few words, the same for all of a kind, as these are counted
        detail: what it is and what is wrong with it
    """

    reason: str
    detail: str


@dataclass(frozen=True)
class PairRegion:
    """A region and its texts.

    Attributes:
        region: where it is in the upright picture
        texts: at least one; each is a positive text of this region
        label: its class, if known
        negatives: hard negative texts
        scores: such as ``mask_quality`` (predicted IoU, in [0, 1]), ``clip`` (a cosine) and
            ``area`` (share of the picture, in [0, 1]; set when it is written)
        id: of the label that it comes from
    """

    region: Region
    texts: tuple[str, ...]
    label: str | None = None
    negatives: tuple[str, ...] = ()
    scores: Mapping[str, float] = field(default_factory=dict)
    id: str = ""


@dataclass(frozen=True)
class PairPicture:
    """A picture and its regions.

    Attributes:
        key: unique in a set; 1 to 100 of ``A-Z a-z 0-9 _ -``
        image: the file as it was, with its EXIF orientation
        suffix: ``jpg``, ``png`` or ``webp``
        regions: of the picture
        caption: of the whole picture, if known
        source: where it is from: the name of a dataset, a path or a URL
        licence: of the picture, if known
        left_out: regions that could not be made; they are counted, and not kept
    """

    key: str
    image: bytes
    suffix: str
    regions: tuple[PairRegion, ...]
    caption: str | None = None
    source: str = ""
    licence: str | None = None
    left_out: tuple[Skipped, ...] = ()


def to_key(text: str) -> str:
    """A key for a picture: the text itself where it is one, else one of its letters and a hash."""
    if KEY.fullmatch(text):
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{re.sub('[^A-Za-z0-9_-]+', '-', text)[:80].strip('-')}-{digest}"


def to_members(picture: PairPicture, shape: tuple[int, int] | None = None) -> dict[str, bytes]:
    """The members of a tar that hold a picture.

    Masks and polygons become RLEs of the picture's size: a pixel is in from an alpha of 128 on.

    Args:
        picture: to keep
        shape: height and width of the upright picture; None has the picture decoded

    Returns:
        content by name, the picture first; the same picture gives the same bytes

    Raises:
        PairError: if its key, suffix or a region's texts cannot be kept
        ImageError: if the picture is damaged
        RegionError: if a region does not fit the picture, or is empty in it
    """
    if not KEY.fullmatch(picture.key):
        raise PairError(f"key {picture.key[:120]!r} is not 1 to 100 letters, digits, _ and -")
    if picture.suffix not in SUFFIXES:
        raise PairError(f"{picture.key}: suffix {picture.suffix!r} is none of {list(SUFFIXES)}")
    if shape is None:
        shape = decode_picture(picture.image, picture.key).shape[:2]
    content = {
        "format": FORMAT,
        "width": shape[1],
        "height": shape[0],
        "caption": picture.caption,
        "source": picture.source,
        "licence": picture.licence,
        "regions": [_to_entry(region, shape, picture.key) for region in picture.regions],
    }
    text = json.dumps(_filled(content), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return {f"{picture.key}.{picture.suffix}": picture.image, f"{picture.key}.json": text.encode()}


def from_members(key: str, suffix: str, image: bytes, content: bytes) -> PairPicture:
    """Reads what :func:`to_members` made.

    Args:
        key: of both members
        suffix: of the picture's member
        image: its content; not decoded
        content: of the JSON member

    Raises:
        PairError: if the JSON is damaged; says where
    """
    entry = read_entry(content)
    shape = entry["height"], entry["width"]
    return PairPicture(
        key,
        image,
        suffix,
        tuple(read_region(region, shape) for region in entry["regions"]),
        entry.get("caption"),
        entry.get("source", ""),
        entry.get("licence"),
    )


def read_entry(content: bytes) -> dict[str, Any]:
    """The JSON member of a picture, its regions not yet decoded.

    Returns:
        as in the module's docstring; width, height, texts and the like have the right types

    Raises:
        PairError: if it is something else
    """
    try:
        entry = json.loads(content)
        if entry["format"] != FORMAT:
            raise PairError(f"has format {entry['format']!r}, this version reads {FORMAT}")
        width, height = sides = entry["width"], entry["height"]
        is_size = all(isinstance(side, int) and side > 0 for side in sides)
        if not is_size or width * height > MAX_PIXELS:
            raise PairError(f"has a size of {width!r} x {height!r} pixels")
        for name in ("caption", "source", "licence"):
            _check_text(entry.get(name, ""), name)
        for number, region in enumerate(entry["regions"]):
            _check_region(region, number)
    except PairError:
        raise
    except MALFORMED as error:
        raise PairError(f"is no entry of a picture ({type(error).__name__}: {error})") from error
    return dict(entry)


def read_region(entry: Mapping[str, Any], shape: tuple[int, int]) -> PairRegion:
    """A region of what :func:`read_entry` returned.

    Args:
        entry: one of its ``regions``
        shape: height and width of the picture

    Raises:
        PairError: if its box or mask is damaged, or does not fit the picture
    """
    try:
        if "rle" in entry:
            region = masked_region(decode_mask(entry["rle"], shape))
        elif "box" in entry:
            region = Region.from_box(entry["box"])
        elif entry.get("whole") is True:
            region = Region.whole_image()
        else:
            raise RegionError("has no rle, no box, and is not the whole picture")
    except MALFORMED as error:
        raise PairError(f"region {entry.get('id', '')!r}: {error}") from error
    return PairRegion(
        region,
        tuple(entry["texts"]),
        entry.get("label"),
        tuple(entry.get("negatives", ())),
        dict(entry.get("scores", {})),
        entry.get("id", ""),
    )


def _geometry(region: Region, shape: tuple[int, int]) -> dict[str, Any]:
    """What is kept of a region; boxes are clipped to the picture.

    Args:
        region: of the picture
        shape: height and width of the picture

    Returns:
        ``{"rle": ...}``, ``{"box": ...}`` or ``{"whole": True}``

    Raises:
        RegionError: if a mask has another shape than the picture
        EmptyRegionError: if nothing of it is inside the picture, or nowhere above one half
    """
    if region.is_whole_image:
        return {"whole": True}
    if region.box is not None and is_box(region):
        region.bounds(*shape)  # Raises an error for a box outside the picture.
        x, y, w, h = region.box
        left, top, right, bottom = max(0.0, x), max(0.0, y), min(1.0, x + w), min(1.0, y + h)
        is_inside = (left, top) == (x, y) and x + w <= 1 and y + h <= 1
        # A box that needs no clipping is kept as it is: w is not always (x + w) - x.
        return {"box": list(region.box if is_inside else (left, top, right - left, bottom - top))}
    mask = region.alpha_map(*shape) >= INSIDE
    if not mask.any():
        raise EmptyRegionError("mask has no pixel that is at least half inside the region")
    return {"rle": encode_rle(mask)}


def is_box(region: Region) -> bool:
    """Whether a region is a box alone."""
    return region.box is not None and region.mask is None


def _to_entry(region: PairRegion, shape: tuple[int, int], key: str) -> dict[str, Any]:
    if not region.texts or not all(text.strip() for text in region.texts):
        raise PairError(f"{key}: region {region.id!r} has no text, or an empty one")
    try:
        geometry = _geometry(region.region, shape)
    except RegionError as error:
        raise type(error)(f"{key}: region {region.id!r}: {error}") from error
    content = {
        "id": region.id,
        **geometry,
        "label": region.label,
        "texts": list(region.texts),
        "negatives": list(region.negatives),
        "scores": {name: _score(name, value) for name, value in sorted(region.scores.items())},
    }
    return _filled(content)


def _score(name: str, value: float) -> float:
    if not math.isfinite(value):
        raise PairError(f"score {name!r} is {value}: leave it out where it is not known")
    return round(float(value), 6)


def _filled(content: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in content.items() if value not in (None, "", [], {})}


def _check_region(entry: Any, number: int) -> None:
    texts, negatives = entry["texts"], entry.get("negatives", [])
    if not isinstance(texts, list) or not isinstance(negatives, list) or not texts:
        raise PairError(f"region {number} has no list of texts")
    for text in (*texts, *negatives, entry.get("label", ""), entry.get("id", "")):
        _check_text(text, f"region {number}")
    for value in entry.get("scores", {}).values():
        if not isinstance(value, (int, float)):
            raise PairError(f"region {number} has a score that is no number")


def _check_text(text: Any, name: str) -> None:
    if not isinstance(text, str):
        raise PairError(f"{name} holds a {type(text).__name__} in place of a text")

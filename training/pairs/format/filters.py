"""What is kept of the regions and texts of a picture; everything else is counted."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from alphaclip.errors import EmptyRegionError, RegionError
from alphaclip.regions.region import Region
from alphaclip.training.pairs.format.records import (
    INSIDE,
    PairError,
    PairPicture,
    PairRegion,
    Skipped,
    is_box,
)

SIDE = 224
"""Side of the square that the smallest of the paper's encoders sees, in pixels."""

Shape = tuple[int, int]


@dataclass(frozen=True)
class FilterSettings:
    """Which regions and texts are kept. A score that a region does not have drops nothing.

    Attributes:
        least_quality: least ``mask_quality``, a predicted IoU in [0, 1]
        least_clip: least ``clip``, a cosine in [-1, 1]
        least_area: least share of the picture, in [0, 1]
        most_area: greatest share of the picture, in [0, 1]
        least_pixels: least area in pixels where the picture's longer side is scaled to 224: what
            has less is lost when the encoder sees the whole picture
        most_characters: of a text
        most_tokens: of a text, by CLIP's byte pairs, without start and end (CLIP has room for 75);
            None counts no tokens
        duplicate_iou: a text that a region before it has too, with at least this IoU, in (0, 1],
            is a duplicate
    """

    least_quality: float = 0.0
    least_clip: float = -1.0
    least_area: float = 0.0
    most_area: float = 1.0
    least_pixels: float = 1.0
    most_characters: int = 1000
    most_tokens: int | None = None
    duplicate_iou: float = 0.9

    def __post_init__(self) -> None:
        shares = ("least_quality", "least_area", "most_area", "duplicate_iou")
        wrong = [name for name in shares if not 0 <= getattr(self, name) <= 1]
        if wrong:
            raise PairError(f"filter {wrong[0]} is {getattr(self, wrong[0])}: expected 0 to 1")
        if self.least_area > self.most_area:
            raise PairError(
                f"filter least_area is {self.least_area}, above most_area, {self.most_area}: no "
                "region would be kept"
            )
        if not -1 <= self.least_clip <= 1:
            raise PairError(f"filter least_clip is {self.least_clip}: expected a cosine, -1 to 1")
        if self.most_characters < 1 or (self.most_tokens is not None and self.most_tokens < 1):
            raise PairError("filter most_characters and most_tokens have to be at least 1")


def filter_picture(
    picture: PairPicture, shape: Shape, settings: FilterSettings
) -> tuple[PairPicture, list[Skipped]]:
    """Keeps the regions and texts that pass.

    Texts are stripped, and white space in them becomes single spaces. The regions that are kept
    have ``area`` among their scores.

    Args:
        picture: with any number of regions
        shape: height and width of the upright picture
        settings: what passes

    Returns:
        the picture, which may have no region left, and a line for each region and text left out
    """
    left_out = list(picture.left_out)
    passed: list[PairRegion] = []
    for region in picture.regions:
        where = f"{picture.key}: region {region.id!r}"
        filtered, reasons = _filter_region(region, shape, settings, passed)
        left_out += [Skipped(reason, f"{where}: {detail}") for reason, detail in reasons]
        if filtered is not None:
            passed.append(filtered)
    caption = clean(picture.caption or "") or None
    return replace(picture, regions=tuple(passed), caption=caption, left_out=()), left_out


def clean(text: str) -> str:
    """A text without lone surrogates, which no file can hold, and with single spaces."""
    return " ".join(text.encode("utf-8", "ignore").decode().split())


Reason = tuple[str, str]
"""Why something is left out: a few words that are counted, and a detail."""


def _filter_region(
    region: PairRegion, shape: Shape, settings: FilterSettings, passed: list[PairRegion]
) -> tuple[PairRegion | None, list[Reason]]:
    try:
        pixels = _area(region.region, shape)
    except EmptyRegionError as error:
        return None, [("region empty in its picture", str(error))]
    except RegionError as error:
        return None, [("region does not fit its picture", str(error))]
    scores = {**region.scores, "area": pixels / (shape[0] * shape[1])}
    refused = next(_refusals(scores, pixels * (SIDE / max(shape)) ** 2, settings), None)
    if refused is not None:
        return None, [refused]
    texts: list[str] = []
    reasons: list[Reason] = []
    for text in dict.fromkeys(map(clean, region.texts)):
        refused = _refuse_text(text, settings)
        if refused is None and _is_duplicate(text, region.region, shape, settings, passed):
            refused = "text a duplicate", f"{text[:80]!r} is said of the same place before"
        if refused is None:
            texts.append(text)
        else:
            reasons.append(refused)
    if not texts:
        return None, [*reasons, ("region without a text left", "of its texts none is kept")]
    negatives = tuple(filter(None, map(clean, region.negatives)))
    return replace(region, texts=tuple(texts), negatives=negatives, scores=scores), reasons


def _area(region: Region, shape: Shape) -> float:
    """In pixels of what is kept: boxes with parts of pixels, masks from one half on."""
    box = region.bounds(*shape)
    if is_box(region) or region.is_whole_image:
        return float((box[2] - box[0]) * (box[3] - box[1]))
    pixels = int((region.alpha_window(*shape, box) >= INSIDE).sum())
    if not pixels:
        raise EmptyRegionError("no pixel is at least half inside the region")
    return float(pixels)


def _refusals(
    scores: dict[str, float], pixels: float, settings: FilterSettings
) -> Iterator[Reason]:
    """Why a region is not kept; the rules in order."""
    for name, value in scores.items():
        if not math.isfinite(value):
            yield "score not finite", f"{name} is {value}"
    if scores.get("mask_quality", 1.0) < settings.least_quality:
        yield "mask quality too low", f"{scores['mask_quality']:.3f}"
    if scores.get("clip", 1.0) < settings.least_clip:
        yield "CLIP score too low", f"{scores['clip']:.3f}"
    if scores["area"] < settings.least_area:
        yield "area too small", f"{scores['area']:.6f} of the picture"
    if scores["area"] > settings.most_area:
        yield "area too large", f"{scores['area']:.6f} of the picture"
    if pixels < settings.least_pixels:
        yield "lost when scaled", f"{pixels:.2f} pixels where the longer side has {SIDE}"


def _refuse_text(text: str, settings: FilterSettings) -> Reason | None:
    if not text:
        return "text empty", "there are no words"
    if len(text) > settings.most_characters:
        return "text too long", f"{len(text)} characters: {text[:60]!r}..."
    if settings.most_tokens is not None:
        tokens = len(_tokenizer().encode(text))
        if tokens > settings.most_tokens:
            return "text too long", f"{tokens} tokens: {text[:60]!r}..."
    return None


@cache
def _tokenizer() -> Any:
    from open_clip import SimpleTokenizer

    return SimpleTokenizer()


def _is_duplicate(
    text: str, region: Region, shape: Shape, settings: FilterSettings, passed: list[PairRegion]
) -> bool:
    for other in (pair.region for pair in passed if text in pair.texts):
        one, two = (each.alpha_map(*shape) >= INSIDE for each in (region, other))
        iou = float(np.logical_and(one, two).sum() / np.logical_or(one, two).sum())
        if iou >= settings.duplicate_iou:
            return True
    return False

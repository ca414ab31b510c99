"""Boxes and masks that somebody else found, to be named by an encoder."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alphaclip.errors import AlphaClipError
from alphaclip.files import read_json
from alphaclip.regions.region import Region
from alphaclip.regions.rle import Rle
from alphaclip.training.datasets.examples import Box, Example
from alphaclip.training.datasets.files import MALFORMED, identifier
from alphaclip.training.datasets.masks import boxed_region, decode_mask, masked_region
from alphaclip.training.datasets.sources import MissingDataError


@dataclass(frozen=True)
class Proposal:
    """A part of a picture that may be an object.

    Attributes:
        box: in pixels
        objectness: how sure its maker is, in [0, 1]
        rle: its mask; None for a box alone
    """

    box: Box
    objectness: float = 1.0
    rle: Rle | None = None

    @property
    def has_area(self) -> bool:
        """Whether there is anything to look at."""
        return self.box[2] > 0 and self.box[3] > 0

    def region(self, example: Example) -> Region:
        """What the encoder looks at: the mask, or the box where there is none or it is empty.

        Raises:
            AlphaClipError: if the box is outside the picture, or the mask does not fit it
        """
        if self.rle is not None:
            mask = decode_mask(self.rle, (example.height, example.width))
            if mask.any():
                return masked_region(mask)
        return boxed_region(self.box, example.width, example.height)


Proposals = Mapping[str, Sequence[Proposal]]
"""By the picture's id."""


def read_proposals(path: Path, most: int = 300) -> dict[str, list[Proposal]]:
    """Reads COCO's format of results, whatever made them.

    Args:
        path: a JSON list of ``image_id``, ``bbox`` in pixels or ``segmentation`` as compressed
            RLE or both, and ``score`` in [0, 1]; categories do not count, and of equal
            boxes and masks the surest one is kept
        most (300): kept of a picture, the surest ones

    Returns:
        by ``image_id`` as text, the surest first
    """
    by_picture: dict[str, dict[Any, Proposal]] = {}
    for number, entry in enumerate(_entries(path)):
        try:
            proposal, picture = _proposal(entry), str(identifier(entry["image_id"]))
        except MALFORMED as error:
            raise AlphaClipError(
                f"{path}, entry {number}: {error!r}. Expected image_id, bbox [x, y, w, h] in "
                "pixels or a compressed RLE as segmentation, and score in [0, 1]"
            ) from error
        of_picture = by_picture.setdefault(picture, {})
        key = proposal.box, None if proposal.rle is None else proposal.rle["counts"]
        if key not in of_picture or of_picture[key].objectness < proposal.objectness:
            of_picture[key] = proposal
    return {picture: surest(some.values(), most) for picture, some in by_picture.items()}


def surest(proposals: Iterable[Proposal], most: int) -> list[Proposal]:
    """The ``most`` proposals of highest objectness, in order; ties keep the order they came in."""
    return sorted(proposals, key=lambda proposal: -proposal.objectness)[:most]


def _entries(path: Path) -> list[Any]:
    try:
        content = read_json(path, largest=None)
    except FileNotFoundError as error:
        raise MissingDataError(
            f"{path} is not there: expected proposals as a JSON list in COCO's format of results, "
            "such as a detector's or a region proposal network's"
        ) from error
    except OSError as error:
        raise AlphaClipError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(content, list):
        raise AlphaClipError(f"{path} holds a {type(content).__name__}: expected a list of results")
    return content


def _proposal(entry: Mapping[str, Any]) -> Proposal:
    from pycocotools import mask as coco_mask

    rle = entry.get("segmentation")
    if rle is not None and not isinstance(rle.get("counts"), str):
        raise ValueError("segmentation is no compressed RLE")
    box = entry["bbox"] if "bbox" in entry else coco_mask.toBbox(entry["segmentation"])
    x, y, w, h = (float(side) for side in box)
    score = float(entry["score"])
    if not all(map(math.isfinite, (x, y, w, h))) or not 0 <= score <= 1:
        raise ValueError(f"bbox is {[x, y, w, h]}, score is {score}")
    return Proposal((x, y, w, h), score, rle)

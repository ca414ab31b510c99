"""What an evaluation is made on: pictures, and their regions with names or descriptions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from alphaclip.regions.region import Region

Size = Literal["small", "medium", "large"]
SIZES: tuple[Size, ...] = get_args(Size)

SMALL_AREA = 32.0**2
MEDIUM_AREA = 96.0**2
"""COCO's limits between small, medium and large, in square pixels of the original picture."""


@dataclass(frozen=True)
class LabelledRegion:
    """A region and what is known of it.

    Attributes:
        id: unique in its set, the same in every run
        region: where it is
        area: of the region, in square pixels of the original picture
        label: its class, one of the set's ``classes``; empty where it has none
        texts: descriptions of it
        crowd: whether it stands for a group (COCO's ``iscrowd``)
    """

    id: str
    region: Region
    area: float
    label: str = ""
    texts: tuple[str, ...] = ()
    crowd: bool = False

    @property
    def size(self) -> Size:
        """COCO's size of an object."""
        return size_of(self.area)


@dataclass(frozen=True)
class Example:
    """A picture and its regions.

    Attributes:
        id: unique in its set
        path: of the picture
        width: in pixels
        height: in pixels
        regions: of the picture
    """

    id: str
    path: Path
    width: int
    height: int
    regions: tuple[LabelledRegion, ...]


@dataclass(frozen=True)
class RegionSet:
    """A set of pictures to evaluate on.

    Attributes:
        name: as in reports, such as ``coco-val2017``
        examples: in the order of the file they come from
        classes: the names of all classes, in the order of the file they come from
        skipped: what could not be read, a line each
    """

    name: str
    examples: tuple[Example, ...]
    classes: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()

    @property
    def regions(self) -> Iterator[tuple[Example, LabelledRegion]]:
        """Every region with its picture, in order."""
        return ((example, region) for example in self.examples for region in example.regions)

    def __len__(self) -> int:
        """How many regions there are."""
        return sum(len(example.regions) for example in self.examples)


def size_of(area: float) -> Size:
    """COCO's size of an object that covers so many square pixels."""
    if area < SMALL_AREA:
        return "small"
    return "medium" if area < MEDIUM_AREA else "large"


def take_first(regions: RegionSet, limit: int | None) -> RegionSet:
    """The first pictures of a set.

    Args:
        regions: a set
        limit: how many pictures; None takes all
    """
    return RegionSet(
        regions.name, _first(regions.examples, limit), regions.classes, regions.skipped
    )


def _first(examples: Sequence[Example], limit: int | None) -> tuple[Example, ...]:
    return tuple(examples if limit is None else examples[:limit])

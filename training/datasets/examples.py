"""What an evaluation is made on: pictures, their regions, and expressions that mean one of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from alphaclip.regions.region import Region

Box = tuple[float, float, float, float]
"""``(x, y, w, h)`` in pixels of the original picture, origin top left, not rounded."""

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
    """A picture and its regions; ``id`` is unique in its set, width and height are in pixels."""

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
        examples: in the order of the file they come from, as are
        classes: the names of all classes
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
    """The first pictures of a set; None takes all."""
    return replace(regions, examples=regions.examples[:limit])


def with_texts(regions: RegionSet) -> RegionSet:
    """The regions of a set that have a description, and the pictures that have such regions."""
    examples = (
        replace(example, regions=tuple(r for r in example.regions if any(map(str.strip, r.texts))))
        for example in regions.examples
    )
    return replace(regions, examples=tuple(example for example in examples if example.regions))


@dataclass(frozen=True)
class Expression:
    """Words that refer to one object of a picture.

    Attributes:
        id: unique in its set, the same in every run; RefCOCO's ``sent_id`` as text
        example: the picture; its ``regions`` are not used and may be empty
        text: the expression as it was written (RefCOCO's ``raw``); tasks make it lower case
        truth: the box of the object that is meant
        proposals: the boxes to choose from, a detector's or the annotated ones, in the file's
            order; where a detector found nothing, the box of the whole picture
    """

    id: str
    example: Example
    text: str
    truth: Box
    proposals: tuple[Box, ...]


@dataclass(frozen=True)
class ExpressionSet:
    """A split of a data set.

    Attributes:
        name: data set and split, such as ``refcoco+-testA``; ``refcoco``, ``refcoco+`` and
            ``refcocog`` before the last dash
        expressions: in the order of the file
        proposals: where the boxes come from: ``detector``, ``annotated``, or else as in reports
        skipped: what could not be read, a line each
    """

    name: str
    expressions: tuple[Expression, ...]
    proposals: str
    skipped: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Expression]:
        return iter(self.expressions)

    def __len__(self) -> int:
        return len(self.expressions)


def take_first_expressions(expressions: ExpressionSet, limit: int | None) -> ExpressionSet:
    """The expressions of the first pictures of a set; None takes all."""
    pictures = dict.fromkeys(expression.example.id for expression in expressions)
    first = set(list(pictures)[:limit])
    return replace(expressions, expressions=tuple(e for e in expressions if e.example.id in first))

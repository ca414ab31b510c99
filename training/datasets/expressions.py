"""What referring expression comprehension is made on: who is meant, among whom, in which words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from alphaclip.training.datasets.examples import Example

Box = tuple[float, float, float, float]
"""``(x, y, w, h)`` in pixels of the original picture, origin top left, not rounded."""


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
    """The expressions of the first pictures of a set.

    Args:
        expressions: a set
        limit: how many pictures; None takes all
    """
    pictures = dict.fromkeys(expression.example.id for expression in expressions)
    first = set(list(pictures)[:limit])
    kept = tuple(expression for expression in expressions if expression.example.id in first)
    return replace(expressions, expressions=kept)


def whole_picture(example: Example) -> Box:
    """The box of the whole picture: what ReCLIP offers where a detector found nothing."""
    return 0.0, 0.0, float(example.width), float(example.height)

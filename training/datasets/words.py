"""Words for what a region looks like: its colour, how large it is, and where."""

from __future__ import annotations

from collections.abc import Sequence

COLORS = (
    "red", "orange", "yellow", "green", "teal", "blue", "purple", "pink", "brown", "black", "gray",
    "white",
)  # fmt: skip
SIZES = ("small", "medium sized", "large")
PLACES = (
    "at the top on the left", "at the top", "at the top on the right", "on the left",
    "in the middle", "on the right", "at the bottom on the left", "at the bottom",
    "at the bottom on the right",
)  # fmt: skip
NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight")


def article(phrase: str) -> str:
    """The phrase after "a" or "an"."""
    return f"{'an' if phrase[:1].lower() in [*'aeiou'] else 'a'} {phrase}"


def size_word(box: Sequence[float]) -> str:
    """How large a box is, relative ``[x, y, w, h]``: one of :data:`SIZES`."""
    side = max(box[2], box[3])
    return SIZES[int(side >= 0.25) + int(side > 0.5)]


def position_words(box: Sequence[float]) -> str:
    """Where the middle of a box is, relative ``[x, y, w, h]``: one of :data:`PLACES`."""
    x, y = box[0] + box[2] / 2, box[1] + box[3] / 2
    column = "on the left" if x < 0.38 else "on the right" if x > 0.62 else ""
    row = "at the top" if y < 0.38 else "at the bottom" if y > 0.62 else ""
    return " ".join(filter(None, (row, column))) or "in the middle"

"""What may be asked of an index: text, vectors, regions of it, and regions of other pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from alphaclip.arguments import check, check_fields
from alphaclip.errors import AlphaClipError
from alphaclip.regions.region import Region

Aggregate = Literal["max", "mean"]

NEGATIVE_WEIGHT = 0.5
"""How much the cosine to the negative part counts: as in FiftyOne's own panel, which searches for
twice the mean of the positive examples less the mean of the negative ones."""


@dataclass(frozen=True)
class Example:
    """A region of the index, as a query.

    Attributes:
        label_id: the region's name: its label id. Where that was copied to other samples, it is the
            region of the oldest one, and ``<sample id>-<label id>`` is that of another
    """

    label_id: str

    def __post_init__(self) -> None:
        check_fields(self)


QueryPart = str | np.ndarray | Example | tuple[Any, Region]
"""Text, a vector (dim,), a region of the index, or ``(image, Region)``."""

Query = QueryPart | Sequence[QueryPart]
"""One part, or several that are ONE query; an array (m, dim) is several vectors."""

CAPTION = "caption"
"""The attribute of labels that captions are looked for in, where none is named."""


@dataclass(frozen=True)
class Words:
    """The words of a query.

    Attributes:
        text: what is looked for
        avoided: what is to be avoided
        captions: the attribute of labels whose text they are to be matched with; None for none
    """

    text: str = ""
    avoided: str = ""
    captions: str | None = None

    @classmethod
    def of(cls, query: Query, negative: Query | None = None, captions: bool | str = False) -> Words:
        """The texts among the parts of a query.

        Raises:
            AlphaClipError: if captions are to be matched with, and there are none
        """
        text, avoided = (
            ", ".join(part for part in parts_of(some) if isinstance(part, str))
            for some in (query, [""] if negative is None else negative)
        )
        attribute = CAPTION if captions is True else captions or None
        check("captions", attribute, "str | None")
        if attribute is not None and not text.strip():
            raise AlphaClipError(
                "captions are matched with words, and the query has none: give a text, or leave "
                "captions out"
            )
        return cls(text, avoided, attribute)


NO_WORDS = Words()


def parts_of(query: Query) -> list[QueryPart]:
    """The parts of a query.

    Raises:
        AlphaClipError: if it is empty, or a part is none of the kinds
    """
    several = isinstance(query, Sequence) and not isinstance(query, str) and not _is_region(query)
    parts: list[Any] = list(query) if several else [query]  # type: ignore[arg-type]
    if not parts:
        raise AlphaClipError("query is empty: give text, a vector, an Example or (image, Region)")
    for part in parts:
        if not (isinstance(part, (str, np.ndarray, Example)) or _is_region(part)):
            raise AlphaClipError(
                f"query is a {type(part).__name__}: expected text, a vector, an Example, "
                "(image, Region), or a list of these"
            )
    return parts


def unit_vectors(query: np.ndarray) -> np.ndarray:
    """A vector, or several, at unit length: float32 (m, dim).

    Raises:
        AlphaClipError: if one is zero or not finite
    """
    if query.dtype.kind not in "iuf":
        raise AlphaClipError(f"query vector is of type {query.dtype}: expected numbers")
    vectors = np.atleast_2d(query).astype(np.float32)
    with np.errstate(over="ignore"):
        norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    if vectors.ndim != 2 or not np.isfinite(norms).all() or not norms.all():
        raise AlphaClipError(
            f"query vector of shape {query.shape} is not (dim,) or (m, dim), or its length is zero "
            "or not finite: it has no direction"
        )
    return np.asarray(vectors / norms, np.float32)


def _is_region(part: Any) -> bool:
    return isinstance(part, tuple) and len(part) == 2 and isinstance(part[1], Region)

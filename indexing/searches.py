"""Searches that are kept with the dataset, to be run again.

Public: :class:`Search`, :func:`remember` and :func:`recent`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from alphaclip.indexing.queries import Aggregate, Example, QueryPart
from alphaclip.indexing.records import Records, new_key

from alphaclip.errors import AlphaClipError

if TYPE_CHECKING:
    import fiftyone as fo
    from alphaclip.indexing.hits import Hits

STORE = "searches"
KEPT = 500
"""Searches kept with a dataset; the oldest go first."""

_LISTS = (
    "texts",
    "examples",
    "negative_texts",
    "negative_examples",
    "keys",
    "right",
    "wrong",
)


@dataclass(frozen=True)
class Search:
    """A search as JSON holds it: without vectors and pictures.

    Attributes:
        texts: what to look for, in words
        examples: label ids of regions to look for more of
        negative_texts: what to avoid, in words
        negative_examples: label ids of regions to avoid
        keys: of the indexes to search
        right: label ids of hits that a person marked right
        wrong: label ids of hits that a person marked wrong
        k: regions to find; None finds all
        min_score: the lowest cosine, or None
        aggregate: see :meth:`RegionIndex.search`
        per_image: only the best region of each image
        reverse: the least similar first
    """

    texts: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()
    negative_texts: tuple[str, ...] = ()
    negative_examples: tuple[str, ...] = ()
    keys: tuple[str, ...] = ("regions",)
    right: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()
    k: int | None = 50
    min_score: float | None = None
    aggregate: Aggregate = "max"
    per_image: bool = False
    reverse: bool = False

    def __post_init__(self) -> None:
        for name in _LISTS:
            object.__setattr__(self, name, _texts(name, getattr(self, name)))
        if not self.texts and not self.examples:
            raise AlphaClipError("search is empty: give texts or examples")
        if not self.keys:
            raise AlphaClipError("keys is empty: name the indexes to search")
        _check_options(self)

    def to_dict(self) -> dict[str, Any]:
        """The same in JSON values."""
        values = asdict(self)
        return values | {name: list(values[name]) for name in _LISTS}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Search:
        """A search from its JSON values.

        Raises:
            AlphaClipError: if a name is unknown, or a value cannot be used
        """
        known = {field.name for field in fields(cls)}
        if not isinstance(values, Mapping) or not set(values) <= known:
            got = sorted(values) if isinstance(values, Mapping) else type(values).__name__
            raise AlphaClipError(f"search is {got}: expected some of {', '.join(sorted(known))}")
        return cls(**values)

    def query(self) -> list[QueryPart]:
        """What to look for, as :meth:`RegionIndex.search` takes it."""
        return [*self.texts, *map(Example, self.examples)]

    def negative(self) -> list[QueryPart] | None:
        """What to avoid, as :meth:`RegionIndex.search` takes it."""
        return [*self.negative_texts, *map(Example, self.negative_examples)] or None

    def run(self, dataset: fo.Dataset, view: fo.SampleCollection | None = None) -> Hits:
        """Searches the indexes as they are now.

        With hits marked right or wrong, the query is :func:`refine`'s, and takes what is to be
        avoided into itself.

        Args:
            dataset: whose indexes
            view (None): see :meth:`RegionIndex.search`

        Raises:
            AlphaClipError: if an index or an example is gone
        """
        from alphaclip.indexing import joint
        from alphaclip.indexing.feedback import refine
        from alphaclip.indexing.region_index import load

        indexes = [load(dataset, key) for key in self.keys]
        query: Any = self.query()
        negative = self.negative()
        if self.right or self.wrong:
            query = refine(indexes, query, self.right, self.wrong, negative=negative)
            negative = None
        options = {name: getattr(self, name) for name in ("aggregate", "per_image", "reverse")}
        return joint.search(
            indexes,
            query,
            self.k,
            view,
            negative,
            min_score=self.min_score,
            **options,
        )


def remember(dataset: fo.Dataset, search: Search) -> str:
    """Keeps a search with its dataset.

    Each has a record of its own, so that several processes may add at once.

    Returns:
        the key of the record
    """
    records = Records(dataset, STORE)
    key = new_key()
    records.set(key, search.to_dict())
    for old in records.keys()[:-KEPT]:
        records.delete(old)
    return key


def recent(dataset: fo.Dataset, count: int = 20) -> list[Search]:
    """The last searches of a dataset, the newest first; equal ones once.

    Records of another version that cannot be read are left out.
    """
    found: dict[Search, None] = {}
    for _, values in Records(dataset, STORE).newest():
        if len(found) >= count:
            break
        try:
            found.setdefault(Search.from_dict(values))
        except (AlphaClipError, TypeError):
            continue
    return list(found)


def _texts(name: str, values: Any) -> tuple[str, ...]:
    several = isinstance(values, Sequence) and not isinstance(values, str)
    if not several or not all(isinstance(value, str) and value.strip() for value in values):
        raise AlphaClipError(f"{name} is {values!r:.120}: expected a list of texts, none empty")
    return tuple(values)


def _check_options(search: Search) -> None:
    k, least = search.k, search.min_score
    if k is not None and (type(k) is not int or k < 1):
        raise AlphaClipError(f"k is {k!r}: expected a whole number of at least 1, or None for all")
    if least is not None and not (isinstance(least, (int, float)) and -1 <= least <= 1):
        raise AlphaClipError(f"min_score is {least!r}: expected a cosine in [-1, 1], or None")
    if search.aggregate not in ("max", "mean"):
        raise AlphaClipError(f"aggregate is {search.aggregate!r}: expected 'max' or 'mean'")

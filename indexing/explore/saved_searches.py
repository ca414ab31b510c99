"""Searches that are kept with the dataset, to be run again.

Public: :class:`Search`, :func:`remember` and :func:`recent`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, get_args

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.dataset.records import Records, new_key
from alphaclip.indexing.retrieval.queries import Aggregate, Example, QueryPart

if TYPE_CHECKING:
    import fiftyone as fo

    from alphaclip.indexing.explore.picture_search import PictureHits
    from alphaclip.indexing.retrieval.hits import Hits
    from alphaclip.indexing.retrieval.index import SearchIndex

Mode = Literal["regions", "unlabelled", "pictures"]

STORE = "searches"
KEPT = 500
"""Searches kept with a dataset; the oldest go first."""

REMEMBERED = 5_000
"""Searches that a process does not read again from the database."""

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
        mode: ``regions``; ``unlabelled``, for :func:`find_unlabelled` with every other field that
            holds regions; or ``pictures``, for :func:`find_pictures` with each text a part
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
    mode: Mode = "regions"

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

    def run(
        self, indexes: Sequence[SearchIndex], view: fo.SampleCollection | None = None
    ) -> Hits | PictureHits:
        """Searches indexes as they are now.

        With hits marked right or wrong, the query is :func:`refine`'s, and takes what is to be
        avoided into itself.

        Args:
            indexes: those that :attr:`keys` names, opened
            view (None): see :meth:`RegionIndex.search`

        Returns:
            pictures in the mode of that name, else regions

        Raises:
            AlphaClipError: if an example is gone
        """
        return _RUNS[self.mode](self, list(indexes), view)


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
    records = Records(dataset, STORE)
    for key in reversed(records.keys()):
        if len(found) >= count:
            break
        search = _read[key] if key in _read else _search_in(records.get(key))
        _read[key] = search
        if search is not None:
            found.setdefault(search)
    while len(_read) > REMEMBERED:
        _read.popitem()
    return list(found)


_read: dict[str, Search | None] = {}
"""Searches by the keys of their records, of which each is of one moment and never changes."""


def _search_in(values: Any) -> Search | None:
    try:
        return Search.from_dict(values)
    except (AlphaClipError, TypeError):
        return None


def _find_regions(
    search: Search, indexes: list[SearchIndex], view: fo.SampleCollection | None
) -> Hits:
    from alphaclip.indexing.explore import several_indexes as joint
    from alphaclip.indexing.explore.feedback import refine

    query: Any = search.query()
    negative = search.negative()
    if search.right or search.wrong:
        query = refine(indexes, query, search.right, search.wrong, negative=negative)
        negative = None
    options = {name: getattr(search, name) for name in ("aggregate", "per_image", "reverse")}
    return joint.search(
        indexes, query, search.k, view, negative, min_score=search.min_score, **options
    )


def _find_unlabelled(
    search: Search, indexes: list[SearchIndex], view: fo.SampleCollection | None
) -> Hits:
    from alphaclip.indexing.dataset.labels import region_fields
    from alphaclip.indexing.explore.unlabelled import find_unlabelled

    if len(indexes) > 1:
        raise AlphaClipError("keys names several indexes: give one, that of the proposals")
    index = indexes[0]
    others = [name for name in region_fields(index.dataset) if name != index.field]
    k = search.k or max(len(index), 1)
    found = (search.query(), others)
    limits = {"k": k, "view": view, "min_score": search.min_score}
    return find_unlabelled(index, *found, **limits, negative=search.negative())


def _find_pictures(
    search: Search, indexes: list[SearchIndex], view: fo.SampleCollection | None
) -> PictureHits:
    from alphaclip.indexing.explore.picture_search import find_pictures

    present, absent = search.query(), search.negative() or []
    return find_pictures(
        indexes, present, absent, k=search.k, view=view, min_score=search.min_score
    )


_RUNS: dict[str, Callable[..., Hits | PictureHits]] = {
    "regions": _find_regions,
    "unlabelled": _find_unlabelled,
    "pictures": _find_pictures,
}


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
    if search.mode not in get_args(Mode):
        raise AlphaClipError(f"mode is {search.mode!r}: expected one of {get_args(Mode)}")
    if search.aggregate not in ("max", "mean"):
        raise AlphaClipError(f"aggregate is {search.aggregate!r}: expected 'max' or 'mean'")

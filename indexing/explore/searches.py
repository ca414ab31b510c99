"""A search as one value: asked, run, and kept with the dataset to be run again.

Public: :class:`Search`, :func:`remember` and :func:`recent`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

from alphaclip.arguments import COSINE, COUNT, check_fields, checked
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.dataset.labels import region_fields
from alphaclip.indexing.dataset.records import Records, new_key
from alphaclip.indexing.explore.feedback import refine
from alphaclip.indexing.explore.picture_search import PictureHits, find_pictures
from alphaclip.indexing.explore.scores import Distribution, find_and_measure
from alphaclip.indexing.explore.several_indexes import check_together, encode_in
from alphaclip.indexing.explore.unlabelled import MAX_IOU, find_uncovered
from alphaclip.indexing.retrieval.hits import Hits
from alphaclip.indexing.retrieval.queries import Aggregate, Example, Query, QueryPart, unit_vectors
from alphaclip.indexing.retrieval.ranking import Ranking
from alphaclip.regions.region import Region

if TYPE_CHECKING:
    import fiftyone as fo

    from alphaclip.indexing.retrieval.index import SearchIndex

Mode = Literal["regions", "unlabelled", "pictures"]

OpenPicture = Callable[[str], Any]
"""Gives the picture of a name, as encoders take pictures."""

STORE = "searches"
MOST = 500
"""Searches that stay with a dataset; the oldest go first."""

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
    """A question to indexes, as JSON holds it: without vectors.

    Attributes:
        texts: what to look for, in words
        examples: names of regions to look for more of, see :class:`Example`
        negative_texts: what to avoid, in words
        negative_examples: names of regions to avoid
        keys: of the indexes to search
        right: names of hits that a person marked right
        wrong: names of hits that a person marked wrong
        k: regions to find; None finds all
        min_score: the lowest cosine, or None
        aggregate: see :meth:`RegionIndex.search`
        per_image: only the best region of each image
        reverse: the least similar first
        mode: ``regions``; ``unlabelled``, for :func:`find_unlabelled` with every other field that
            holds regions; or ``pictures``, for :func:`find_pictures` with each text a part
        picture: path of a picture to look for more of, or a name that whoever runs the search
            knows how to open; None without. The mode ``pictures`` does not take one
        box: ``(x, y, width, height)``, relative: the region of the picture; None is the whole
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
    picture: str | None = None
    box: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        for name in _LISTS:
            object.__setattr__(self, name, _texts(name, getattr(self, name)))
        if self.picture is not None:
            _texts("picture", [self.picture])
        elif not self.texts and not self.examples:
            raise AlphaClipError("search is empty: give texts or examples")
        if self.box is not None:
            object.__setattr__(self, "box", Region.from_box(self.box).box)
        if self.picture is not None and self.mode == "pictures":
            raise AlphaClipError("the mode 'pictures' takes texts and examples, no picture")
        if not self.keys:
            raise AlphaClipError("keys is empty: name the indexes to search")
        check_fields(self, k=COUNT, min_score=COSINE, mode=Mode, aggregate=Aggregate)

    def to_dict(self) -> dict[str, Any]:
        """The same in JSON values; what an earlier version does not know is left out if unused."""
        values = asdict(self) | {name: list(getattr(self, name)) for name in _LISTS}
        if self.box is not None:
            values["box"] = list(self.box)
        unused = [name for name in ("picture", "box") if values[name] is None]
        return {name: value for name, value in values.items() if name not in unused}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Search:
        """A search from its JSON values.

        Raises:
            AlphaClipError: if a name is unknown, or a value cannot be used
        """
        names = {field.name for field in fields(cls)}
        if not isinstance(values, Mapping) or not set(values) <= names:
            got = sorted(values) if isinstance(values, Mapping) else type(values).__name__
            raise AlphaClipError(f"search is {got}: expected some of {', '.join(sorted(names))}")
        return cls(**values)

    @property
    def digest(self) -> str:
        """Equal for equal searches: 64 hexadecimal digits."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()

    def ranking(
        self, indexes: Sequence[SearchIndex], open_picture: OpenPicture | None = None
    ) -> Ranking:
        """The search encoded, for :meth:`run` and the others.

        With hits marked right or wrong, the query is :func:`refine`'s, and takes what is to be
        avoided into itself.

        Args:
            indexes: those that :attr:`keys` names, opened
            open_picture (None): gives the picture of a name; None takes names for paths

        Raises:
            AlphaClipError: if an example is gone, or the picture cannot be opened
        """
        check_together(indexes)
        query: list[QueryPart] = [*self.texts, *map(Example, self.examples)]
        negative: list[QueryPart] = [*self.negative_texts, *map(Example, self.negative_examples)]
        if self.picture is not None:
            image = self.picture if open_picture is None else open_picture(self.picture)
            query.append((image, Region.from_box(self.box) if self.box else Region.whole_image()))
        if self.right or self.wrong:
            query = [refine(indexes, query, self.right, self.wrong, negative or None)]
            negative = []
        positive = unit_vectors(encode_in(indexes, query))
        against = unit_vectors(encode_in(indexes, negative)) if negative else None
        return Ranking.of(positive, against, self.aggregate, reverse=self.reverse)

    def run(
        self,
        indexes: Sequence[SearchIndex],
        view: fo.SampleCollection | None = None,
        ranking: Ranking | None = None,
    ) -> Hits | PictureHits:
        """Searches indexes as they are now.

        Args:
            indexes: those that :attr:`keys` names, opened
            view (None): see :meth:`RegionIndex.search`
            ranking (None): what :meth:`ranking` gave, so that nothing is encoded again; the mode
                ``pictures`` has none

        Returns:
            pictures in the mode of that name, else regions

        Raises:
            AlphaClipError: see :meth:`ranking`, or if the mode does not suit the indexes
        """
        if self.mode == "pictures":
            present: list[Query] = [*self.texts, *map(Example, self.examples)]
            absent: list[Query] = [*self.negative_texts, *map(Example, self.negative_examples)]
            return find_pictures(indexes, present, absent, self.k, view, self.min_score)
        if ranking is None:
            ranking = self.ranking(indexes)
        if self.mode == "unlabelled":
            return self._run_unlabelled(indexes, view, ranking)
        options = (self.k, view, self.min_score, self.per_image)
        if len(indexes) == 1:
            return indexes[0].find(ranking, *options)
        hits = [index.find(ranking, *options) for index in indexes]
        return Hits.joined(hits, self.k, self.per_image)

    def measure(
        self,
        indexes: Sequence[SearchIndex],
        view: fo.SampleCollection | None = None,
        ranking: Ranking | None = None,
    ) -> tuple[Hits, Distribution]:
        """What :meth:`run` finds in the mode ``regions`` without ``min_score`` and ``per_image``,
        and how the scores of all regions are spread: both in one look at them.
        """
        encoded = ranking or self.ranking(indexes)
        parts = [find_and_measure(index, encoded, self.k, view) for index in indexes]
        hits, spreads = zip(*parts, strict=True)
        return Hits.joined(hits, self.k), Distribution.joined(spreads)

    def hits_of(
        self,
        indexes: Sequence[SearchIndex],
        names: Sequence[str],
        ranking: Ranking | None = None,
    ) -> Hits:
        """Some regions as the search scores them, best first, whatever ``k`` and ``min_score``;
        those that no index holds are left out.
        """
        encoded = ranking or self.ranking(indexes)
        return Hits.joined([index.hits_of(encoded, names) for index in indexes], None)

    def _run_unlabelled(
        self, indexes: Sequence[SearchIndex], view: fo.SampleCollection | None, ranking: Ranking
    ) -> Hits:
        if len(indexes) > 1:
            raise AlphaClipError(
                "what has no label is looked for in one index, that of the proposals, not in "
                "several indexes: choose one"
            )
        index = indexes[0]
        others = [name for name in region_fields(index.dataset) if name != index.field]
        if not others:
            raise AlphaClipError(
                f"index {index.key!r} is of field {index.field!r}, and the dataset has no other "
                "field with labels to compare with: “Segment regions” (indexing.segment) makes "
                "proposals in a field of their own"
            )
        k = self.k or max(len(index), 1)
        return find_uncovered(index, ranking, others, MAX_IOU, k, view, self.min_score)


@checked()
def remember(dataset: fo.Dataset, search: Search) -> str:
    """Keeps a search with its dataset.

    Each has a record of its own, so that several processes may add at once.

    Returns:
        the key of the record
    """
    records = Records(dataset, STORE)
    key = new_key()
    records.set(key, search.to_dict())
    for old in records.keys()[:-MOST]:
        records.delete(old)
    return key


@checked()
def recent(dataset: fo.Dataset, count: int = 20) -> list[Search]:
    """The last searches of a dataset, the newest first; equal ones once.

    Records of another version that cannot be read are left out.
    """
    searches: dict[Search, None] = {}
    records = Records(dataset, STORE)
    for key in reversed(records.keys()):
        if len(searches) >= count:
            break
        if key not in _read:
            _read[key] = None
            with suppress(AlphaClipError, TypeError):
                _read[key] = Search.from_dict(records.get(key))
        search = _read[key]
        if search is not None:
            searches.setdefault(search)
    while len(_read) > REMEMBERED:
        _read.popitem()
    return list(searches)


_read: dict[str, Search | None] = {}
"""Searches by the keys of their records, of which each is of one moment and never changes."""


def _texts(name: str, values: Any) -> tuple[str, ...]:
    several = isinstance(values, Sequence) and not isinstance(values, str)
    if not several or not all(isinstance(value, str) and value.strip() for value in values):
        raise AlphaClipError(f"{name} is {values!r:.120}: expected a list of texts, none empty")
    return tuple(values)

"""A search as one value: asked, run, and kept with the dataset to be run again.

Public: :class:`Search`, :func:`remember`, :func:`recent`, :func:`entries`, :func:`find_entry` and
:class:`Entry`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime, timezone
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

from alphaclip.arguments import COSINE, COUNT, check_fields, checked
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.dataset.labels import region_fields
from alphaclip.indexing.dataset.records import Records, new_key
from alphaclip.indexing.explore.example_pictures import is_kept_name, kept_names
from alphaclip.indexing.explore.example_pictures import open_picture as open_kept
from alphaclip.indexing.explore.feedback import refine
from alphaclip.indexing.explore.findings import Finding
from alphaclip.indexing.explore.picture_search import PictureHits, find_pictures
from alphaclip.indexing.explore.scores import Distribution, find_and_measure
from alphaclip.indexing.explore.several_indexes import check_together, encode_in
from alphaclip.indexing.explore.unlabelled import MAX_IOU, find_uncovered
from alphaclip.indexing.retrieval.hits import Hits
from alphaclip.indexing.retrieval.queries import (
    Aggregate,
    Example,
    Query,
    QueryPart,
    Words,
    unit_vectors,
)
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
"""Searches and findings that stay with a dataset; the oldest go first."""

REMEMBERED = 5_000
"""Entries that a process does not read again from the database."""

_LOOKED_BACK = 20
"""Entries that are taken out where the same is searched again; older ones are only not listed."""

_FINDING = "finding"

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
        picture: path of a picture to look for more of, the name that :func:`keep_picture` gave it,
            or one that whoever runs the search knows how to open; None without. The mode
            ``pictures`` does not take one
        box: ``(x, y, width, height)``, relative: the region of the picture; None is the whole
        captions: the attribute of labels whose text the words are matched with too, in the mode
            ``regions``; None for none
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
    captions: str | None = None

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
        if self.captions is not None and self.mode != "regions":
            raise AlphaClipError(
                f"captions are matched in the mode 'regions', not in {self.mode!r}: leave them out"
            )
        check_fields(self, k=COUNT, min_score=COSINE, mode=Mode, aggregate=Aggregate)

    def to_dict(self) -> dict[str, Any]:
        """The same in JSON values; what an earlier version does not know is left out if unused."""
        values = asdict(self) | {name: list(getattr(self, name)) for name in _LISTS}
        if self.box is not None:
            values["box"] = list(self.box)
        unused = [name for name in ("picture", "box", "captions") if values[name] is None]
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

    @property
    def question(self) -> Search:
        """What is asked: the same without marks and limits, which change while one looks at it."""
        return replace(self, right=(), wrong=(), min_score=None, k=None)

    def without_lost_regions(self, indexes: Sequence[SearchIndex]) -> Search:
        """The same without examples and marks that no index holds any more.

        Raises:
            AlphaClipError: if nothing is left to look for
        """

        def held(names: tuple[str, ...]) -> tuple[str, ...]:
            rows = [index.snapshot().lookup.find_named(names) for index in indexes if names]
            return tuple(n for n, *at in zip(names, *rows, strict=True) if max(at, default=-1) >= 0)

        examples = held(self.examples)
        if not (examples or self.texts or self.picture):
            raise AlphaClipError(
                "no index that is searched holds the examples, and nothing else is looked for: "
                "choose others, or update the index"
            )
        return replace(
            self,
            examples=examples,
            negative_examples=held(self.negative_examples),
            right=held(self.right),
            wrong=held(self.wrong),
        )

    def ranking(
        self, indexes: Sequence[SearchIndex], open_picture: OpenPicture | None = None
    ) -> Ranking:
        """The search encoded, for :meth:`run` and the others.

        With hits marked right or wrong, the query is :func:`refine`'s, and takes what is to be
        avoided into itself.

        Args:
            indexes: those that :attr:`keys` names, opened
            open_picture (None): gives the picture of a name; None opens those that are kept with
                the dataset, and takes others for paths

        Raises:
            AlphaClipError: if an example is gone, or the picture cannot be opened
        """
        check_together(indexes)
        query: list[QueryPart] = [*self.texts, *map(Example, self.examples)]
        negative: list[QueryPart] = [*self.negative_texts, *map(Example, self.negative_examples)]
        if self.picture is not None:
            image = (open_picture or partial(open_kept, indexes[0].dataset))(self.picture)
            query.append((image, Region.from_box(self.box) if self.box else Region.whole_image()))
        words = Words.of(query, negative or None, self.captions or False)
        if self.right or self.wrong:
            query = [refine(indexes, query, self.right, self.wrong, negative or None)]
            negative = []
        positive = unit_vectors(encode_in(indexes, query))
        against = unit_vectors(encode_in(indexes, negative)) if negative else None
        return Ranking.of(positive, against, self.aggregate, reverse=self.reverse, words=words)

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


@dataclass(frozen=True)
class Entry:
    """Something in the history of a dataset.

    Attributes:
        key: of its record, for :func:`find_entry`
        content: a search with its marks, or what was found without one
    """

    key: str
    content: Search | Finding

    @property
    def made_at(self) -> str:
        """The time, ISO 8601, UTC."""
        seconds = int(self.key.partition("-")[0]) / 1e9
        return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="seconds")

    @property
    def subject(self) -> Any:
        """Equal where a later entry takes the place of an earlier one: of a search what it asks,
        whatever its marks; of a finding its kind and index."""
        one = self.content
        return one.question if isinstance(one, Search) else (one.kind, one.key)


@checked()
def remember(dataset: fo.Dataset, search: Search | Finding) -> str:
    """Keeps a search with its marks, or a finding, with its dataset.

    The same search again moves up, with the marks that it has now. Each has a record of its own,
    so that several processes may add at once.

    Returns:
        the key of the record
    """
    if not isinstance(search, Search | Finding):
        raise AlphaClipError(f"search is {search!r:.80}: expected an indexing.Search, or a Finding")
    records, key = Records(dataset, STORE), new_key()
    values = search.to_dict()
    records.set(key, values if isinstance(search, Search) else {_FINDING: values})
    keys, subject = records.keys(), Entry(key, search).subject
    again = [one.key for one in _read(records, keys[-_LOOKED_BACK:]) if one.subject == subject]
    for old in {*keys[:-MOST], *again} - {key}:
        records.delete(old)
    return key


@checked()
def entries(dataset: fo.Dataset, count: int = 20) -> list[Entry]:
    """What was searched for and found in a dataset, the newest first; equal ones once.

    Records of another version that cannot be read are left out, and searches by a picture that is
    not kept any more.
    """
    return list(islice(_listed(dataset), max(count, 0)))


@checked()
def find_entry(dataset: fo.Dataset, key: str) -> Entry:
    """An entry of the history, to be restored.

    Raises:
        AlphaClipError: if it is not there any more
    """
    records = Records(dataset, STORE)
    for entry in _read(records, {key} & {*records.keys()}):
        return entry
    raise AlphaClipError(
        f"dataset {dataset.name!r} has no search {key!r:.80} in its history any more: the last "
        f"{MOST} are kept; entries(dataset) lists them"
    )


@checked()
def recent(dataset: fo.Dataset, count: int = 20) -> list[Search]:
    """The last searches of a dataset, with their marks; see :func:`entries`."""
    contents = (entry.content for entry in _listed(dataset))
    return list(islice((one for one in contents if isinstance(one, Search)), max(count, 0)))


def _listed(dataset: fo.Dataset) -> Iterator[Entry]:
    """The history, the newest first, without what was searched for again since."""
    records, pictures = Records(dataset, STORE), kept_names(dataset)
    subjects = set()
    for entry in _read(records, reversed(records.keys())):
        picture = entry.content.picture if isinstance(entry.content, Search) else None
        is_gone = is_kept_name(picture) and picture not in pictures
        if not is_gone and entry.subject not in subjects:
            subjects.add(entry.subject)
            yield entry


def _read(records: Records, keys: Iterable[str]) -> Iterator[Entry]:
    """Those of the records that can be read. A record never changes, so each is read once."""
    while len(_known) > REMEMBERED:
        _known.popitem()
    for key in keys:
        entry = _known.get(key)
        if key not in _known:
            with suppress(AlphaClipError, TypeError):
                entry = Entry(key, _content(records.get(key)))
            _known[key] = entry
        if entry is not None:
            yield entry


def _content(values: Any) -> Search | Finding:
    if isinstance(values, Mapping) and _FINDING in values:
        return Finding.from_dict(values[_FINDING])
    return Search.from_dict(values)


_known: dict[str, Entry | None] = {}
"""Entries by the keys of their records, of which each is of one moment and never changes."""


def _texts(name: str, values: Any) -> tuple[str, ...]:
    several = isinstance(values, Sequence) and not isinstance(values, str)
    if not several or not all(isinstance(value, str) and value.strip() for value in values):
        raise AlphaClipError(f"{name} is {values!r:.120}: expected a list of texts, none empty")
    return tuple(values)

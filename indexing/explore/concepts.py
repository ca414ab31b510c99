"""Concepts: searches that are kept under a name and watched; what is new and matches waits.

Public: :func:`keep_concept`, :func:`concepts`, :func:`delete_concept`, :func:`waiting`,
:func:`dismiss`, :func:`undismiss`, :func:`score_new` and :class:`Concept`.

The query is kept as vectors. That of a search with marks depends on what the index holds, so a new
one would give other scores, which the threshold was not chosen for.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from alphaclip.arguments import COSINE, checked
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.dataset.locations import index_folder
from alphaclip.indexing.dataset.records import Records, check_record_name, new_key
from alphaclip.indexing.explore.example_pictures import (
    held_names,
    hold_picture,
    is_kept_name,
    release_picture,
)
from alphaclip.indexing.explore.searches import Search
from alphaclip.indexing.explore.several_indexes import check_together
from alphaclip.indexing.nearest.metrics import similarity
from alphaclip.indexing.retrieval.hits import Hits
from alphaclip.indexing.retrieval.index import SearchIndex
from alphaclip.indexing.retrieval.ranking import Ranking
from alphaclip.indexing.retrieval.seen import SeenRegions
from alphaclip.indexing.store.manifests import has_store
from alphaclip.indexing.store.segments import RowIds

if TYPE_CHECKING:
    import fiftyone as fo

    from alphaclip.indexing.retrieval.snapshot import Snapshot

logger = logging.getLogger(__name__)

STORE, WAITING, PROBLEMS = "concepts", "concepts_waiting", "concepts_problems"
"""Concepts by name; what waits, by ``<name>/<index>/<sample>-<label>``; why the last scoring
failed, by ``<name>/<index>``."""


@dataclass(frozen=True)
class Concept:
    """A search that is watched.

    Attributes:
        name: of the concept
        search: with its marks; ``keys`` are the indexes that are watched
        min_score: from which cosine on a region matches
        waiting: how many regions wait
        problems: why what was new could not be scored, of each index where that is so
    """

    name: str
    search: Search
    min_score: float
    waiting: int = 0
    problems: tuple[str, ...] = ()


@checked(min_score=COSINE)
def keep_concept(
    indexes: Sequence[SearchIndex],
    name: str,
    search: Search,
    min_score: float,
    ranking: Ranking | None = None,
) -> Concept:
    """Keeps a search under a name, in place of one of the same name, and watches it.

    What the indexes hold now does not count as new.

    Args:
        indexes: to watch, opened
        name: a lowercase letter, then lowercase letters, digits and underscores
        search: that finds regions, with its marks
        min_score: the lowest cosine to the query, in [-1, 1]
        ranking (None): what :meth:`Search.ranking` gave, so that nothing is encoded again

    Raises:
        AlphaClipError: if the name is none, the search finds no regions best first, or it cannot
            be encoded
    """
    check_record_name("a concept", name)
    if search.mode != "regions" or search.reverse or search.captions is not None:
        with_captions = search.captions is not None
        raise AlphaClipError(
            "a concept is watched by the scores of single regions: keep a search of mode "
            f"'regions', best first, without captions, not of mode {search.mode!r}"
            f"{', reversed' * search.reverse}{', with captions' * with_captions}"
        )
    check_together(indexes)
    encoded = ranking or search.ranking(indexes)
    dataset, concept = indexes[0].dataset, replace(search, keys=tuple(i.key for i in indexes))
    for index in indexes:
        now = index.snapshot()
        _seen(dataset, name, index.key, now).add(now.version.ids, new_key(), forget=True)
    positive, negative = np.split(encoded.vectors, [len(encoded.weights)])
    values = {"search": concept.to_dict(), "min_score": min_score, "aggregate": encoded.aggregate}
    values |= {"positive": positive.tolist(), "negative": negative.tolist()}
    values |= {"encoder": now.version.info.get("fingerprint", "")}
    if is_kept_name(search.picture):
        hold_picture(dataset, str(search.picture))
    Records(dataset, STORE).set(name, values)
    for key in Records(dataset, PROBLEMS).keys(f"{name}/"):
        Records(dataset, PROBLEMS).delete(key)
    _release_pictures(dataset)
    return _watched(dataset, name).concept


@checked()
def concepts(dataset: fo.Dataset) -> list[Concept]:
    """The concepts of a dataset, in order of name; one that cannot be read is left out."""
    found, names = [], Records(dataset, STORE).keys()
    for name in names:
        try:
            found.append(_watched(dataset, name).concept)
        except AlphaClipError as error:
            logger.warning("%s", error)
    return found


@checked()
def delete_concept(dataset: fo.Dataset, name: str) -> None:
    """Forgets a concept and what waits in its list.

    Raises:
        AlphaClipError: if there is none of this name
    """
    watched = _watched(dataset, name)
    for key in watched.concept.search.keys:
        SeenRegions(dataset, _job(name, key), "").add(RowIds.of([]), "", forget=True)
    for kind in (WAITING, PROBLEMS):
        records = Records(dataset, kind)
        for key in records.keys(f"{name}/"):
            records.delete(key)
    Records(dataset, STORE).delete(name)
    _release_pictures(dataset)


@checked()
def waiting(dataset: fo.Dataset, name: str) -> Hits:
    """The regions that came since a concept is kept and match it, best first.

    Those that are gone from the dataset's indexes are left out.

    Raises:
        AlphaClipError: if there is no such concept, or an index has another encoder now
    """
    watched, parts = _watched(dataset, name), [_no_hits(dataset)]
    for index in _open_waiting(dataset, watched.concept):
        now = index.snapshot()
        watched.check_encoder(index, now)
        rows = _waiting_rows(dataset, name, index.key, now)[1]
        rows = rows[rows >= 0]
        vectors = watched.ranking.vectors
        scores, order = watched.ranking.score(similarity(vectors, now.vectors(rows), "cosine"))
        best = np.argsort(-order, kind="stable")
        parts.append(index.hits(now, rows[best], scores[best], order[best]))
    return Hits.joined(parts, None).once()


@checked()
def dismiss(dataset: fo.Dataset, name: str, names: Sequence[str]) -> int:
    """Takes regions out of a concept's list; an edited one waits again if it still matches.

    Args:
        dataset: of the concept
        name: of the concept
        names: of the regions, see :class:`Example`; those that do not wait are left out

    Returns:
        how many are left
    """
    concept, records = _watched(dataset, name).concept, Records(dataset, WAITING)
    for index in _open_waiting(dataset, concept):
        now = index.snapshot()
        keys, rows = _waiting_rows(dataset, name, index.key, now)
        for key in keys[(rows >= 0) & np.isin(rows, now.lookup.find_named(names))].tolist():
            records.delete(key)
    return _count(dataset, name)


@checked()
def undismiss(dataset: fo.Dataset, name: str, names: Sequence[str]) -> int:
    """Has regions wait again that were dismissed.

    Args:
        dataset: of the concept
        name: of the concept
        names: of the regions, see :class:`Example`; those that are gone, or match no more, are
            left out

    Returns:
        how many wait

    Raises:
        AlphaClipError: if there is no such concept, or an index has another encoder now
    """
    watched = _watched(dataset, name)
    for index in _open_waiting(dataset, watched.concept):
        now = index.snapshot()
        rows = np.unique(now.lookup.find_named(names))
        _wait(index, watched, now, rows[rows >= 0])
    return _count(dataset, name)


def score_new(index: SearchIndex) -> None:
    """Scores what is new or edited in an index for each concept that watches it.

    What matches waits from now on. It may be run again at any time, and does nothing twice. A
    concept that cannot be scored is logged, and says so itself: no update fails for it.
    """
    names, problems = Records(index.dataset, STORE).keys(), Records(index.dataset, PROBLEMS)
    for name in names:
        key = f"{name}/{index.key}"
        try:
            _score(index, _watched(index.dataset, name))
            problems.delete(key)
        except Exception as error:
            logger.warning("concept %r is not scored on index %r: %s", name, index.key, error)
            problems.set(key, f"index {index.key!r}: {error}"[:1000])


@dataclass(frozen=True, eq=False)
class _Watched:
    """A concept with its query.

    Attributes:
        concept: as it is told
        ranking: of its search, when it was kept
        encoder: fingerprint of the encoder that the ranking is of
    """

    concept: Concept
    ranking: Ranking
    encoder: str

    def check_encoder(self, index: SearchIndex, now: Snapshot) -> None:
        if now.version.info.get("fingerprint", "") != self.encoder:
            raise AlphaClipError(
                f"index {index.key!r} has another encoder than when concept {self.concept.name!r} "
                "was kept, whose scores do not compare: search again, and keep the concept anew"
            )


def _watched(dataset: fo.Dataset, name: str) -> _Watched:
    check_record_name("a concept", name)
    records = Records(dataset, STORE)
    with records.reading(name) as values:
        if values is not None:
            return _read(dataset, name, values)
    names = ", ".join(records.keys()) or "none"
    raise AlphaClipError(f"dataset {dataset.name!r} has no concept {name!r}; it has: {names}")


def _read(dataset: fo.Dataset, name: str, values: Mapping[str, Any]) -> _Watched:
    search, problems = Search.from_dict(values["search"]), Records(dataset, PROBLEMS)
    told = tuple(str(problems.get(key)) for key in problems.keys(f"{name}/"))
    positive, negative = (np.array(values[n], np.float32) for n in ("positive", "negative"))
    ranking = Ranking.of(positive, negative if len(negative) else None, values["aggregate"])
    concept = Concept(name, search, float(values["min_score"]), _count(dataset, name), told)
    return _Watched(concept, ranking, str(values["encoder"]))


def _score(index: SearchIndex, watched: _Watched) -> None:
    concept, now = watched.concept, index.snapshot()
    if index.key not in concept.search.keys:
        return
    seen, ids = _seen(index.dataset, concept.name, index.key, now), now.version.ids
    new = np.flatnonzero(seen.is_new(ids))
    _wait(index, watched, now, new)
    keys, rows = _waiting_rows(index.dataset, concept.name, index.key, now)
    for key in keys[rows < 0].tolist():
        Records(index.dataset, WAITING).delete(key)
    # Last, so that what was cut off before is looked at again.
    if len(new):
        seen.add(ids.take(new), new_key(), forget=False)


def _wait(index: SearchIndex, watched: _Watched, now: Snapshot, rows: np.ndarray) -> None:
    """Puts those of some rows that match into the concept's list."""
    concept, records = watched.concept, Records(index.dataset, WAITING)
    watched.check_encoder(index, now)
    for sample, label in index.matching(now, watched.ranking, concept.min_score, rows).region_ids:
        records.set(f"{concept.name}/{index.key}/{sample}-{label}", True)


def _open_waiting(dataset: fo.Dataset, concept: Concept) -> list[SearchIndex]:
    """The indexes in which regions may wait; one that was deleted has none."""
    keys = [key for key in concept.search.keys if has_store(index_folder(dataset, key))]
    return [SearchIndex(dataset, key) for key in keys]


def _waiting_rows(
    dataset: fo.Dataset, name: str, key: str, now: Snapshot
) -> tuple[np.ndarray, np.ndarray]:
    """The records by which regions of an index wait, str (n,), and the row of each there, -1 where
    it is gone: int64 (n,)."""
    keys = Records(dataset, WAITING).keys(f"{name}/{key}/")
    pairs = [one.rpartition("/")[2].split("-") for one in keys]
    if not pairs:
        return np.zeros(0, "U1"), np.zeros(0, np.int64)
    samples, labels = zip(*pairs, strict=True)
    return np.array(keys), now.lookup.find(RowIds.of(samples, labels))


def _count(dataset: fo.Dataset, name: str) -> int:
    return len({key.rpartition("/")[2] for key in Records(dataset, WAITING).keys(f"{name}/")})


def _seen(dataset: fo.Dataset, name: str, key: str, now: Snapshot) -> SeenRegions:
    return SeenRegions(dataset, _job(name, key), str(now.version.info.get("fingerprint", "")))


def _job(name: str, key: str) -> tuple[str, str, str]:
    return ("concept", key, name)


def _release_pictures(dataset: fo.Dataset) -> None:
    for name in held_names(dataset) - {one.search.picture for one in concepts(dataset)}:
        release_picture(dataset, name)


def _no_hits(dataset: fo.Dataset) -> Hits:
    ids, scores = np.zeros(0, "U24"), np.zeros(0, np.float32)
    return Hits(ids, ids, ids, scores, scores, dataset)

"""Asks a language model about regions: how likely each choice is to be the answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.dataset.labels import Skipped
from alphaclip.indexing.progress import Progress
from alphaclip.indexing.retrieval.hit_listing import ListedHit, list_hits
from alphaclip.indexing.retrieval.hits import Hits
from alphaclip.indexing.retrieval.region_items import RegionItem, region_items, said_of
from alphaclip.views.prefetch import OnError

_TOGETHER = 2048
"""Hits whose labels are read at once."""


@dataclass(frozen=True, eq=False)
class Asked:
    """What a language model answered.

    Attributes:
        evidence: float32 (n, c), for each choice: its log-likelihood of the region, less that where
            there is nothing to see; NaN where it was not asked, or failed
        skipped: regions that could not be asked about, and why
    """

    evidence: np.ndarray
    skipped: list[Skipped]


def ask_rows(
    index: Any, now: Any, rows: np.ndarray, describer: Any, question: Any, show: Progress
) -> np.ndarray:
    """Asks about rows of an index, int64 (n,): the evidence, float32 (n, c).

    A model that sees vectors gets those of the index, and no picture is opened.

    Args:
        index: a :class:`alphaclip.indexing.retrieval.index.SearchIndex`, which stands above
        now: its snapshot
        rows: of that, ascending
        describer, show: see :func:`ask_hits`
        question: the :class:`alphaclip.language.questions.Question`, without attributes

    Raises:
        AlphaClipError: see :func:`ask_hits`; or if the model sees vectors of another encoder
    """
    sees_vectors, skipped = describer.sees == "vectors", list[Skipped]()
    if sees_vectors and hasattr(describer, "check_encoder"):
        describer.check_encoder(index.encoder)
    items = region_items(index.dataset, now, rows, sees_vectors, skipped.append)
    placed = (replace(item, rows=np.searchsorted(rows, item.rows)) for item in items)
    return _ask(placed, len(rows), describer, question, skipped, show).evidence


def ask_hits(hits: Hits, describer: Any, question: Any, show: Progress) -> Asked:
    """Asks about each of some hits, by its picture: hits may be of several indexes.

    Args:
        hits: to ask about; a deleted one is left out
        describer: an :class:`alphaclip.language.describer.Describer`, which stands above
        question: the :class:`alphaclip.language.questions.Question`; may have attributes of the
            labels in braces
        show: told how far it is

    Raises:
        AlphaClipError: if there is no answer at all, as where an attribute is misspelt
    """
    skipped: list[Skipped] = []
    items = _hit_items(hits, skipped.append)
    return _ask(items, len(hits), describer, question, skipped, show)


def _ask(
    items: Iterable[RegionItem],
    total: int,
    describer: Any,
    question: Any,
    skipped: list[Skipped],
    show: Progress,
) -> Asked:
    """Asks about items whose ``rows`` are those of the evidence."""
    evidence = np.full((total, len(question.choices)), np.nan, np.float32)
    ask = partial(_ask_one, describer, question)
    done = 0
    for item, answers in said_of(items, ask, skipped.append):
        evidence[item.rows] = answers.logliks - answers.priors
        done += len(item.rows)
        show("regions asked about", done, total)
    if skipped and np.isnan(evidence).all():
        first = skipped[0]
        raise AlphaClipError(
            f"the model answered of none of {total} regions; the first, {first.label_id} of "
            f"{first.filepath}: {first.reason}"
        )
    return Asked(evidence, skipped)


def _ask_one(
    describer: Any, question: Any, items: Iterator[Any], on_error: OnError
) -> Iterator[Any]:
    for (answers,) in describer.ask_many(items, [question], on_error):
        yield answers


def _hit_items(hits: Hits, skip: Callable[[Skipped], None]) -> Iterator[RegionItem]:
    """Hits by picture; those of each are at these positions."""
    for start in range(0, len(hits), _TOGETHER):
        by_picture: dict[str, list[ListedHit]] = {}
        for hit in list_hits(hits.take(slice(start, start + _TOGETHER))):
            if hit.region is None:
                skip(Skipped(hit.image, hit.label_id, "it has no area any more"))
            else:
                by_picture.setdefault(hit.image, []).append(hit)
        for path, several in by_picture.items():
            yield RegionItem(
                path,
                [hit.region for hit in several if hit.region is not None],
                np.array([start + hit.rank - 1 for hit in several]),
                [(path, hit.label_id) for hit in several],
                [hit.attributes for hit in several],
            )

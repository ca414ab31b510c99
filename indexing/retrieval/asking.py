"""Asks a language model about hits: how likely each choice is to be the answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.dataset.labels import Skipped
from alphaclip.indexing.progress import Progress
from alphaclip.indexing.retrieval.hit_listing import ListedHit, list_hits
from alphaclip.indexing.retrieval.hits import Hits
from alphaclip.views.prefetch import Failure

_TOGETHER = 2048
"""Hits whose labels are read at once."""

Vectors = Callable[[np.ndarray], np.ndarray]
"""From positions of hits, int64 (n,), to their vectors, float32 (n, dim)."""


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
        rows: of that
        describer, question, show: see :func:`ask_hits`

    Raises:
        AlphaClipError: see :func:`ask_hits`; or if the model sees vectors of another encoder
    """
    if describer.sees == "vectors" and hasattr(describer, "check_encoder"):
        describer.check_encoder(index.encoder)
    nothing = np.zeros(len(rows), np.float32)
    hits = index.hits(now, rows, nothing, nothing)
    return ask_hits(hits, describer, question, show, lambda at: now.vectors(rows[at])).evidence


def ask_hits(
    hits: Hits, describer: Any, question: Any, show: Progress, vectors: Vectors | None = None
) -> Asked:
    """Asks about each of some hits.

    Args:
        hits: to ask about; a deleted one is left out
        describer: an :class:`alphaclip.language.describer.Describer`, which stands above
        question: the :class:`alphaclip.language.questions.Question`; may have attributes of the
            labels in braces
        show: told how far it is
        vectors (None): of the hits, for a model that sees vectors; without them it gets pictures

    Raises:
        AlphaClipError: if there is no answer at all, as where an attribute is misspelt
    """
    evidence = np.full((len(hits), len(question.choices)), np.nan, np.float32)
    skipped: list[Skipped] = []
    for start in range(0, len(hits), _TOGETHER):
        some, seen = hits.take(slice(start, start + _TOGETHER)), None
        if vectors is not None and describer.sees == "vectors":
            seen = vectors(np.arange(start, start + len(some)))
        for at, said in _ask_some(some, describer, question, seen, skipped.append):
            evidence[start + at] = said
            show("regions asked about", start + int(at.max()) + 1, len(hits))
    if skipped and np.isnan(evidence).all():
        first = skipped[0]
        raise AlphaClipError(
            f"the model answered of none of {len(hits)} regions; the first, {first.label_id} of "
            f"{first.filepath}: {first.reason}"
        )
    return Asked(evidence, skipped)


def _ask_some(
    hits: Hits,
    describer: Any,
    question: Any,
    vectors: np.ndarray | None,
    skip: Callable[[Skipped], None],
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Positions of hits that a model saw together, int64 (n,), and the evidence: float32 (n, c)."""
    by_picture: dict[str, list[ListedHit]] = {}
    for hit in list_hits(hits):
        if hit.region is None:
            skip(Skipped(hit.image, hit.label_id, "it has no area any more"))
        else:
            by_picture.setdefault(hit.image if vectors is None else "", []).append(hit)
    groups = list(by_picture.values())
    positions = [np.array([hit.rank - 1 for hit in group]) for group in groups]
    items = (
        (
            group[0].image if vectors is None else vectors[at],
            [hit.region for hit in group],
            [hit.attributes for hit in group],
        )
        for group, at in zip(groups, positions, strict=True)
    )

    def note(failure: Failure) -> None:
        group = groups[failure.item]
        for hit in group if failure.region is None else [group[failure.region]]:
            skip(Skipped(hit.image, hit.label_id, str(failure.error)))

    answered = describer.ask_many(items, [question], note)
    for at, (answers,) in zip(positions, answered, strict=True):
        yield at, answers.logliks - answers.priors

"""Relevance feedback: a query that learns from hits marked right and wrong, and keeps the text.

Public: :func:`refine`.

A classifier of the marked regions alone makes CLIP's rankings worse (SeeSaw, SIGMOD 2023): a few
marks in hundreds of dimensions fit anything. Here the text is the prior: the query vector is that
of a logistic regression whose weights have a Gaussian prior round the text's vector. It is solved
over the marked regions only, in closed steps. Where marks do not help to predict each other, left
out one at a time, the prior is narrowed, in the end to the text itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from alphaclip.arguments import checked
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.explore.several_indexes import check_together, encode_in
from alphaclip.indexing.retrieval.index import SearchIndex
from alphaclip.indexing.retrieval.queries import NEGATIVE_WEIGHT, Query, parts_of

if TYPE_CHECKING:
    from alphaclip.indexing.retrieval.snapshot import Snapshot

TEXT_WEIGHT = 0.5
"""Log-odds of being right for each standard deviation of the text's score."""

TIGHTNESS = 0.5
"""How narrow the prior is at first; chosen, as ``TEXT_WEIGHT``, by ``benchmarks/feedback.py``."""

NARROWER = (1.0, 4.0, 16.0)
"""The prior is tried so many times as narrow, then the text alone is taken."""

SAMPLE = 2000
"""Regions of the index that the spread of its scores is taken from."""

_OFFSET_VARIANCE = 4.0
"""Of the offset that the log-odds of all regions share: wide, so that the marks say where right
ends, not the guess below."""

_TOP, _MIDDLE = 0.998, 0.75
"""Before any mark, a region is as likely right as wrong at 3/4 of the text's 99.8th percentile."""


@checked()
def refine(
    index: SearchIndex | Sequence[SearchIndex],
    query: Query,
    right: Sequence[str],
    wrong: Sequence[str],
    negative: Query | None = None,
) -> np.ndarray:
    """Makes a query of a query and of hits that a person marked.

    Args:
        index: or several of one dataset and one encoder, that were searched
        query: what was searched; of several parts the mean is the prior
        right: names of hits that match, see :class:`Example`
        wrong: names of hits that do not
        negative (None): what was to be avoided; half of it is taken off the prior

    Returns:
        float32 (dim,) of unit length, to be searched with; without marks, the prior. Scores of a
        search with it are cosines to it, not to the text: thresholds do not carry over

    Raises:
        AlphaClipError: if a label is marked both right and wrong, or is in none of the indexes
    """
    indexes = [index] if isinstance(index, SearchIndex) else list(index)
    check_together(indexes)
    both = sorted(set(right) & set(wrong))
    if both:
        raise AlphaClipError(f"{len(both)} labels are marked right and wrong, the first {both[0]}")
    text = encode_in(indexes, parts_of(query)).mean(axis=0)
    if negative is not None:
        text = text - NEGATIVE_WEIGHT * encode_in(indexes, parts_of(negative)).mean(axis=0)
    opened = [(one, one.snapshot()) for one in indexes]
    background = _sample([now for _, now in opened])
    good, bad = (_vectors(opened, list(dict.fromkeys(labels))) for labels in (right, wrong))
    return refined_vector(text, good, bad, background)


def refined_vector(
    text: np.ndarray, right: np.ndarray, wrong: np.ndarray, background: np.ndarray
) -> np.ndarray:
    """The query of a text (dim,) and of marked vectors, (r, dim) right and (w, dim) wrong ones of
    unit length; see :func:`refine`.

    Args:
        text, right, wrong: float; there may be no marks, but the text is not zero
        background: float (n, dim), a sample of what is searched
    """
    text = np.asarray(text, np.float64)
    length = float(np.linalg.norm(text))
    if length < 1e-6:
        raise AlphaClipError("the query's parts cancel each other out: it has no direction")
    spread = background - background.mean(axis=0) if len(background) else background
    deviation = float((spread @ text).std()) if len(background) > 1 else 0.0
    if not len(right) + len(wrong) or deviation < 1e-9:
        return np.asarray(text / length, np.float32)
    prior = _Prior.of(TEXT_WEIGHT * text / deviation, background)
    marks = np.concatenate([right, wrong]).astype(np.float64) - prior.mean
    answers = np.concatenate([np.ones(len(right)), np.zeros(len(wrong))])
    vector = prior.weights + _learnt(prior, marks, answers)
    return np.asarray(vector / np.linalg.norm(vector), np.float32)


@dataclass(frozen=True, eq=False)
class _Prior:
    """What is believed before any mark.

    Attributes:
        weights: float64 (dim,), of the text: they give log-odds
        offset: added to these
        mean: float64 (dim,), of the index
        variance: of each weight, for a tightness of 1: a usual region's log-odds then vary by 1
    """

    weights: np.ndarray
    offset: float
    mean: np.ndarray
    variance: float

    @classmethod
    def of(cls, weights: np.ndarray, background: np.ndarray) -> _Prior:
        mean = background.mean(axis=0).astype(np.float64)
        spread = background - mean
        usual = float((spread**2).sum(axis=1).mean())
        top = float(np.quantile(spread @ weights, _TOP))
        return cls(weights, -_MIDDLE * top, mean, 1 / usual)


def _learnt(prior: _Prior, marks: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """What the marks add to the weights: float64 (dim,); zero where they do not help."""
    expected = marks @ prior.weights + prior.offset
    shared = prior.variance * (marks @ marks.T)
    nothing = np.zeros_like(shared)
    limit = _Fit.of(nothing, expected, answers).loss
    for narrower in NARROWER:
        tightness = TIGHTNESS * narrower
        fit = _Fit.of(shared / tightness, expected, answers)
        if fit.loss <= limit:
            return np.asarray(prior.variance / tightness * (marks.T @ fit.pull))
    return np.zeros_like(prior.weights)


@dataclass(frozen=True, eq=False)
class _Fit:
    """A Gaussian process classifier of the marks, by Laplace's method.

    Attributes:
        pull: float64 (n,), how much each mark pulls at the weights, and which way
        loss: mean logarithmic loss on each mark, predicted from the others
    """

    pull: np.ndarray
    loss: float

    @classmethod
    def of(cls, kernel: np.ndarray, expected: np.ndarray, answers: np.ndarray) -> _Fit:
        """Fits the marks by Newton's method (Rasmussen and Williams, algorithm 3.1).

        Args:
            kernel: (n, n), prior covariance of the log-odds, but for a common offset
            expected: (n,), prior mean of the log-odds
            answers: (n,), 1 for right and 0 for wrong
        """
        kernel = kernel + _OFFSET_VARIANCE
        latent, pull = np.zeros(len(answers)), np.zeros(len(answers))
        for _ in range(30):
            chance = _chance(expected + latent)
            curvature = np.maximum(chance * (1 - chance), 1e-6)
            root = np.sqrt(curvature)
            inner = np.eye(len(answers)) + root[:, None] * kernel * root
            target = curvature * latent + answers - chance
            pull = target - root * np.linalg.solve(inner, root * (kernel @ target))
            step = kernel @ pull - latent
            latent = latent + step
            if np.abs(step).max() < 1e-6:
                break
        precision = root[:, None] * np.linalg.inv(inner) * root
        left_out = expected + latent - pull / np.maximum(np.diag(precision), 1e-12)
        signs = 2 * answers - 1
        return cls(pull, float(np.logaddexp(0, -signs * left_out).mean()))


def _chance(log_odds: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-np.clip(log_odds, -30, 30))))


def _sample(opened: Sequence[Snapshot]) -> np.ndarray:
    """The same rows each time, spread evenly over the indexes: float32 (n, dim)."""
    tables = [now.version.table for now in opened]
    total = sum(map(len, tables))
    vectors = []
    for table in tables:
        count = min(len(table), max(1, SAMPLE * len(table) // max(total, 1)))
        spread = np.linspace(0, max(len(table) - 1, 0), count).astype(np.int64)
        vectors.append(table.take(spread).astype(np.float32))
    return np.concatenate(vectors)


def _vectors(
    opened: Sequence[tuple[SearchIndex, Snapshot]], label_ids: Sequence[str]
) -> np.ndarray:
    """The vectors of labels that may be in any of the indexes: float32 (n, dim)."""
    vectors = [np.zeros((0, opened[0][1].version.dim), np.float32)]
    left = list(label_ids)
    for _, now in opened:
        rows = now.lookup.find_named(left)
        vectors.append(now.vectors(rows[rows >= 0]))
        left = [label for label, row in zip(left, rows, strict=True) if row < 0]
    if left:
        index, now = opened[0]
        index.rows_of(now, left)  # raises
    return np.concatenate(vectors)

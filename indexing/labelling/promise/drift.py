"""Whether new regions are like those that a promise was made on.

Public: :func:`find_drift` and :class:`Drift`.

Two tests, each at half the level: Kolmogorov and Smirnov's of the scores, and a classifier
two-sample test of the vectors (Lopez-Paz and Oquab, ICLR 2017): a logistic regression learns on
half of both to tell them apart; on the other half its ranking is tested by Mann and Whitney's U.
Of each picture one region is taken, as regions of a picture are not independent. At most
``SAMPLE`` of each are compared, so that with very many regions no trifle raises an alarm. Where
nothing has changed, an alarm has a probability of about ``level``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.labelling.promise.binomial import check_share

LEVEL = 0.01
"""Probability of a false alarm: of a nightly job, about one in three months."""

SAMPLE = 1000
"""Regions of each side at most, so that with very many no trifle raises an alarm."""

LEAST = 20
"""Pictures on each side below which nothing can be said."""

MOST_STEPS = 300
"""Of the classifier's solver: three times scikit-learn's own, which vectors often need."""


@dataclass(frozen=True, eq=False)
class Regions:
    """One side of the comparison: vectors (n, dim) of unit length, scores (n,), and the picture of
    each; None takes each for one of its own."""

    vectors: np.ndarray
    scores: np.ndarray
    pictures: Sequence[str] | None = None


@dataclass(frozen=True)
class Drift:
    """What the comparison showed.

    Attributes:
        moved: whether the new regions differ; None if there are too few to say
        level: probability of a false alarm
        score_chance: p-value of the test of the scores; vector_chance: of that of the vectors
        separation: area under the curve of the classifier, 0.5 if it cannot tell them apart
        counts: regions compared, reviewed and new
        reason: in words
    """

    moved: bool | None
    level: float
    score_chance: float | None
    vector_chance: float | None
    separation: float | None
    counts: tuple[int, int]
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """The same in JSON values."""
        return asdict(self) | {"counts": list(self.counts)}


def find_drift(reviewed: Regions, new: Regions, level: float = LEVEL, seed: int = 0) -> Drift:
    """Tests whether new regions are like those of the promise's sample.

    Args:
        reviewed: those that the random sample was drawn from
        new: regions that the threshold is to be applied to
        level (0.01): probability of a false alarm
        seed (0): of what is drawn and held out

    Raises:
        AlphaClipError: if sizes differ, or the level is not in (0, 1)
    """
    from scipy.stats import ks_2samp

    check_share("level", level)
    rng = np.random.default_rng(seed)
    (vectors, scores), (new_vectors, new_scores) = (_drawn(side, rng) for side in (reviewed, new))
    counts = (len(scores), len(new_scores))
    if min(counts) < LEAST:
        reason = f"{counts[0]} known and {counts[1]} new pictures are too few: {LEAST} are needed"
        return Drift(None, level, None, None, None, counts, reason)
    by_score = float(ks_2samp(scores, new_scores, method="asymp").pvalue)
    by_vector, separation = _vector_test(vectors, new_vectors, rng)
    moved = min(by_score, by_vector) <= level / 2
    figures = (
        f"scores differ with p = {by_score:.2g}, vectors with p = {by_vector:.2g} (told apart with "
        f"an area under the curve of {separation:.2f}), at a level of {level:g}"
    )
    reason = f"no difference between new and reviewed regions was found: {figures}"
    if moved:
        reason = f"the new regions are not like the reviewed ones: {figures}; review a new sample"
    return Drift(moved, level, by_score, by_vector, separation, counts, reason)


def _vector_test(old: np.ndarray, new: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """The p-value that a classifier tells them apart by luck, and how well it does."""
    from scipy.stats import mannwhitneyu
    from sklearn.linear_model import LogisticRegression

    vectors = np.concatenate([old, new])
    is_new = np.repeat([False, True], [len(old), len(new)])
    train = np.zeros(len(vectors), bool)
    for side in (~is_new, is_new):
        train[rng.permutation(np.nonzero(side)[0])[: side.sum() // 2]] = True
    fit = LogisticRegression(class_weight="balanced", max_iter=MOST_STEPS)
    ranks = fit.fit(vectors[train], is_new[train]).decision_function(vectors[~train])
    ours, theirs = ranks[is_new[~train]], ranks[~is_new[~train]]
    test = mannwhitneyu(ours, theirs, alternative="greater")
    return float(test.pvalue), float(test.statistic / (len(ours) * len(theirs)))


def _drawn(side: Regions, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Vectors and scores of one region for each picture, at most ``SAMPLE``."""
    vectors, scores = np.asarray(side.vectors, np.float32), np.asarray(side.scores, np.float64)
    pictures = np.arange(len(scores)) if side.pictures is None else np.asarray(side.pictures)
    if not len(vectors) == len(scores) == len(pictures):
        raise AlphaClipError(
            f"{len(vectors)} vectors, {len(scores)} scores and {len(pictures)} pictures: expected "
            "one of each for a region"
        )
    mixed = rng.permutation(len(scores))
    first = np.unique(pictures[mixed], return_index=True)[1]
    rows = mixed[rng.permutation(first)[:SAMPLE]]
    return vectors[rows], scores[rows]

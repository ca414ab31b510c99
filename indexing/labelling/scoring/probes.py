"""Scorers that learn from example regions, on frozen vectors.

Public: :func:`prototypes`, :func:`linear_probe` and :class:`Examples`.

*Prototypes* move each class's text vector by the mean of its examples less the mean of all
examples; few examples move it little. A class without examples stays at its text. A *linear
probe* is a logistic regression; it never answers a class without examples.
:mod:`choosing` says which of them is taken.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace

import numpy as np

from alphaclip.indexing.labelling.scoring.scoring import SCALE, Scorer

MOST_STEPS = 300
"""Of the probe's solver; where it has not converged by then, it is judged as it is."""

SHRINK = 3.0
"""Examples at which a prototype has moved half as far."""


@dataclass(frozen=True, eq=False)
class Examples:
    """Regions of known classes.

    Attributes:
        vectors: float32 (n, dim), of unit length
        truths: int64 (n,), the place of each one's class; the number of classes for "none of
            these"
        pictures: (n,), an id each; regions of one picture are not independent
    """

    vectors: np.ndarray
    truths: np.ndarray
    pictures: np.ndarray

    def __len__(self) -> int:
        return len(self.truths)

    def at(self, rows: np.ndarray) -> Examples:
        """Some of them."""
        return Examples(self.vectors[rows], self.truths[rows], self.pictures[rows])


def prototypes(zero_shot: Scorer, examples: Examples, move: float = 1.0) -> Scorer:
    """Moves the text vectors towards the examples.

    Args:
        zero_shot: where they start
        examples: at least one
        move (1): how far

    Returns:
        as ``zero_shot``, with a column for "none of these" if that has examples
    """
    columns = column_count(zero_shot, examples)
    counts = np.bincount(examples.truths, minlength=columns).astype(np.float32)
    sums = np.zeros((columns, examples.vectors.shape[1]), np.float32)
    np.add.at(sums, examples.truths, examples.vectors)
    middle = examples.vectors.mean(axis=0)
    shift = move * SCALE * (sums - counts[:, None] * middle) / (counts[:, None] + SHRINK)
    start = _started(zero_shot, columns, counts)
    # A region is compared by how it differs from the mean one, which a shift alone must not favour.
    offset = (start.offset - shift @ middle).astype(np.float32)
    return replace(start, weights=start.weights + shift, offset=offset)


def linear_probe(zero_shot: Scorer, examples: Examples, strength: float) -> Scorer:
    """Fits a multinomial logistic regression with an L2 penalty.

    Args:
        zero_shot: gives the columns; nothing else of it is used
        examples: at least one
        strength: scikit-learn's C, larger for a weaker penalty

    Returns:
        logits of -inf for classes without examples, which can never be the answer
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    columns, present = column_count(zero_shot, examples), np.unique(examples.truths)
    weights = np.zeros((columns, examples.vectors.shape[1]), np.float32)
    offset = np.full(columns, -np.inf, np.float32)
    offset[present] = 0
    if len(present) > 1:
        fit = LogisticRegression(C=strength, max_iter=MOST_STEPS, tol=1e-3)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            fit.fit(examples.vectors, examples.truths)
        rows = present if len(present) > 2 else present[1:]
        weights[rows], offset[rows] = fit.coef_, fit.intercept_
    return Scorer(weights, offset, zero_shot.classes)


def column_count(zero_shot: Scorer, examples: Examples) -> int:
    """Columns of logits that a scorer of these examples has."""
    return max(len(zero_shot.weights), int(examples.truths.max()) + 1)


def _started(zero_shot: Scorer, columns: int, counts: np.ndarray) -> Scorer:
    """Zero-shot with a row for each column; what has examples but no text starts at the mean."""
    missing = columns - len(zero_shot.weights)
    weights = np.pad(zero_shot.weights, ((0, missing), (0, 0)))
    offset = np.pad(zero_shot.offset, (0, missing), constant_values=-np.inf)
    known = ~np.isneginf(offset)
    new = ~known & (counts > 0)
    weights[new], offset[new] = weights[known].mean(axis=0), 0
    penalty = zero_shot.penalty
    if penalty is not None:
        penalty = np.pad(penalty, ((0, missing), (0, 0)))
    return replace(zero_shot, weights=weights, offset=offset, penalty=penalty)

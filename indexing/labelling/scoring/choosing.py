"""Which scorer is taken: zero-shot, unless reviewed examples show that another surely helps.

Public: :func:`choose_scorer`, :class:`Choice`, :class:`Trial`, :func:`prototypes`,
:func:`linear_probe` and :class:`Examples`.

*Prototypes* move each class's text vector by the mean of its examples less the mean of all
examples; few examples move it little. A class without examples stays at its text. A *linear
probe* is a logistic regression; it never answers a class without examples.

Both are compared with zero-shot on examples that they were not trained on, regions of one picture
being held out together. Pictures are counted: one is won if more of its regions turn right than
wrong. Among those won or lost, the share won has an
exact lower bound (Clopper and Pearson), and so has the gain. A scorer is taken where the bound of
its gain is above 0, with a confidence of 95 % for both kinds together; of two such, the more
accurate. As folds share training data, this is near, not proven.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.labelling.promise.binomial import clopper_pearson
from alphaclip.indexing.labelling.scoring.scoring import SCALE, Scorer

Kind = Literal["zero-shot", "prototypes", "linear probe"]

FOLDS = 5
INNER_FOLDS = 3
"""Fewer than outside: they only choose among three settings, and cost as much in every fold."""

LEAST_EXAMPLES = 4
"""Of each class, for a linear probe: an outer fold leaves 3 of them, one for each inner fold."""

RISK = 0.05
"""That a scorer which does not help is taken."""

MOST_STEPS = 300
"""Of the probe's solver; where it has not converged by then, it is judged as it is."""

TOLERANCE = 1e-3
"""Of the probe's solver: ten times scikit-learn's own, as only the order of logits matters."""

SHRINK = 3.0
"""Examples at which a prototype has moved half as far."""


@dataclass(frozen=True, eq=False)
class Examples:
    """Regions of known classes: vectors, float32 (n, dim), numbers of the classes, int64 (n,), and
    an id for the picture of each, (n,), as regions of one picture are not independent."""

    vectors: np.ndarray
    truths: np.ndarray
    pictures: np.ndarray

    def __len__(self) -> int:
        return len(self.truths)

    def at(self, some: np.ndarray) -> Examples:
        """Some of them."""
        return Examples(self.vectors[some], self.truths[some], self.pictures[some])


@dataclass(frozen=True)
class Trial:
    """A scorer beside zero-shot, by cross-validation.

    Attributes:
        kind: which scorer
        accuracy: share of the examples that it gets right, held out; None if it was not tried
        gain: share of the pictures that it wins against zero-shot, less those that it loses
        lower: lower bound of the gain
        reason: in words, how it compares or why it was not tried
    """

    kind: Kind
    accuracy: float | None
    gain: float | None
    lower: float | None
    reason: str


@dataclass(frozen=True, eq=False)
class Choice:
    """The scorer that was taken, and why.

    Attributes:
        scorer: trained on all examples
        kind: which it is
        accuracy: of zero-shot on the examples; None without examples
        trials: the others
        held_out: float32 (n, c), logits of the examples from scorers that did not see them; they
            are what :func:`calibration.calibrate` may learn from
    """

    scorer: Scorer
    kind: Kind
    accuracy: float | None
    trials: tuple[Trial, ...]
    held_out: np.ndarray

    @property
    def reason(self) -> str:
        """Why, in words with figures."""
        told = "; ".join(trial.reason for trial in self.trials) or "there are no examples"
        return f"{self.kind} is taken: {told}"

    def to_dict(self) -> dict[str, Any]:
        """The same in JSON values, without the scorer."""
        trials = [asdict(trial) for trial in self.trials]
        told = {"kind": self.kind, "zero_shot_accuracy": self.accuracy, "reason": self.reason}
        return told | {"trials": trials}


def choose_scorer(
    zero_shot: Scorer,
    vectors: np.ndarray,
    truths: np.ndarray,
    pictures: Sequence[str] | None = None,
    seed: int = 0,
) -> Choice:
    """Takes the scorer that the examples show to be best, zero-shot unless another surely is.

    Args:
        zero_shot: of the classes' texts
        vectors: float (n, dim), of the examples; none of the promise's sample may be among them
        truths: int (n,), the number of each example's class; after the last, "none of these"
        pictures (None): n ids, of the picture that each example is in; None takes each for one of
            its own
        seed (0): of the folds

    Raises:
        AlphaClipError: if the sizes differ, or a number is no class
    """
    vectors, truths = np.asarray(vectors, np.float32), np.asarray(truths, np.int64)
    ids = np.arange(len(truths)) if pictures is None else np.asarray(pictures)
    if not len(vectors) == len(truths) == len(ids):
        raise AlphaClipError(
            f"{len(vectors)} vectors, {len(truths)} classes and {len(ids)} pictures: expected one "
            "of each for an example"
        )
    if len(truths) and not 0 <= truths.min() <= truths.max() <= zero_shot.classes:
        raise AlphaClipError(
            f"numbers of classes go from {truths.min()} to {truths.max()}: expected 0 to "
            f"{zero_shot.classes}, the last for 'none of these'"
        )
    examples, plain = Examples(vectors, truths, ids), zero_shot.logits(vectors)
    if not len(examples):
        return Choice(zero_shot, "zero-shot", None, (), plain)
    tried = [_try(kind, zero_shot, examples, plain, seed) for kind in KINDS]
    trials = tuple(trial for trial, _ in tried)
    accuracy = float(_is_right(plain, truths).mean())
    helpful = [
        (trial.accuracy or 0, at) for at, trial in enumerate(trials) if (trial.lower or 0) > 0
    ]
    if not helpful:
        return Choice(zero_shot, "zero-shot", accuracy, trials, plain)
    trial, held_out = tried[max(helpful)[1]]
    scorer = _trained(trial.kind, zero_shot, examples, seed)
    return Choice(scorer, trial.kind, accuracy, trials, held_out)


def prototypes(zero_shot: Scorer, examples: Examples, move: float = 1.0) -> Scorer:
    """Moves the text vectors towards the examples, ``move`` times as far as usual.

    What has examples but no text starts at the mean of the texts. "None of these" gets a column if
    it has examples.
    """
    columns = column_count(zero_shot, examples)
    counts = np.bincount(examples.truths, minlength=columns).astype(np.float32)
    sums = np.zeros((columns, examples.vectors.shape[1]), np.float32)
    np.add.at(sums, examples.truths, examples.vectors)
    middle = examples.vectors.mean(axis=0)
    shift = move * SCALE * (sums - counts[:, None] * middle) / (counts[:, None] + SHRINK)

    missing = columns - len(zero_shot.weights)
    weights = np.pad(zero_shot.weights, ((0, missing), (0, 0)))
    offset = np.pad(zero_shot.offset, (0, missing), constant_values=-np.inf)
    has_text = ~np.isneginf(offset)
    new = ~has_text & (counts > 0)
    weights[new], offset[new] = weights[has_text].mean(axis=0), 0
    penalty = zero_shot.penalty
    if penalty is not None:
        penalty = np.pad(penalty, ((0, missing), (0, 0)))
    # A region is compared by how it differs from the mean one, which a shift alone must not favour.
    offset = (offset - shift @ middle).astype(np.float32)
    return replace(zero_shot, weights=weights + shift, offset=offset, penalty=penalty)


def linear_probe(zero_shot: Scorer, examples: Examples, strength: float) -> Scorer:
    """Fits a multinomial logistic regression with an L2 penalty, weaker for a larger ``strength``.

    The columns are those of ``zero_shot``; classes without examples have a logit of -inf.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    columns, present = column_count(zero_shot, examples), np.unique(examples.truths)
    weights = np.zeros((columns, examples.vectors.shape[1]), np.float32)
    offset = np.full(columns, -np.inf, np.float32)
    offset[present] = 0
    if len(present) > 1:
        fit = LogisticRegression(C=strength, max_iter=MOST_STEPS, tol=TOLERANCE)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            fit.fit(examples.vectors, examples.truths)
        # Of two classes scikit-learn has one row of weights, for the second against the first.
        rows = present if len(present) > 2 else present[1:]
        weights[rows], offset[rows] = fit.coef_, fit.intercept_
    return Scorer(weights, offset, zero_shot.classes)


def column_count(zero_shot: Scorer, examples: Examples) -> int:
    """Columns of logits that a scorer of these examples has."""
    return max(len(zero_shot.weights), int(examples.truths.max()) + 1)


Train = Callable[[Scorer, Examples, float], Scorer]

KINDS: dict[Kind, tuple[Train, tuple[float, ...]]] = {
    "prototypes": (prototypes, (0.5, 1.0, 2.0)),
    "linear probe": (linear_probe, (3.0, 30.0, 300.0)),
}
"""What is tried, with its settings: how far prototypes move, times the mean of very many examples;
and C of the probe, as vectors of unit length need a weak penalty."""


def _try(
    kind: Kind, zero_shot: Scorer, examples: Examples, plain: np.ndarray, seed: int
) -> tuple[Trial, np.ndarray]:
    """Cross-validates one kind; with its held-out logits: float32 (n, c)."""
    folds = _folds(examples, FOLDS, seed)
    columns = column_count(zero_shot, examples)
    counts = np.bincount(examples.truths, minlength=columns)
    few, why_not = int((counts < LEAST_EXAMPLES).sum()), ""
    if not folds:
        why_not = f"{len(examples)} examples are too few to hold some out, in pictures of their own"
    elif kind == "linear probe" and columns < 2:
        why_not = "there is only one class"
    elif kind == "linear probe" and few:
        why_not = f"{few} of {columns} classes have fewer than {LEAST_EXAMPLES} examples"
    if why_not:
        return Trial(kind, None, None, None, f"{kind}: not tried, {why_not}"), plain
    logits = np.full((len(examples), columns), -np.inf, np.float32)
    for own, other in folds:
        scorer = _trained(kind, zero_shot, examples.at(own), seed)
        held_out = scorer.logits(examples.vectors[other])
        logits[other, : held_out.shape[1]] = held_out
    before, after = (_is_right(each, examples.truths) for each in (plain, logits))
    return _compared(kind, before, after, examples.pictures), logits


def _trained(kind: Kind, zero_shot: Scorer, examples: Examples, seed: int) -> Scorer:
    """A scorer with the setting that is the most accurate in an inner cross-validation."""
    train, settings = KINDS[kind]
    folds = _folds(examples, INNER_FOLDS, seed)

    def right(setting: float) -> int:
        count = 0
        for own, other in folds:
            held_out = examples.at(other)
            scorer = train(zero_shot, examples.at(own), setting)
            count += int(_is_right(scorer.logits(held_out.vectors), held_out.truths).sum())
        return count

    best = max(settings, key=right) if folds else settings[len(settings) // 2]
    return train(zero_shot, examples, best)


def _compared(kind: Kind, before: np.ndarray, after: np.ndarray, pictures: np.ndarray) -> Trial:
    """The gain over zero-shot with its lower bound."""
    _, at = np.unique(pictures, return_inverse=True)
    change = np.bincount(at, weights=after.astype(float) - before)
    won, lost, total = int((change > 0).sum()), int((change < 0).sum()), len(change)
    # Bonferroni: each kind gets its part of the risk; a two-sided interval has it at either end.
    least = clopper_pearson(won, won + lost, 1 - 2 * RISK / len(KINDS))[0]
    gain, lower = (won - lost) / total, (won + lost) / total * (2 * least - 1)
    accuracy = float(after.mean())
    reason = (
        f"{kind}: {accuracy:.1%} right against {before.mean():.1%} by text alone, better in {won} "
        f"and worse in {lost} of {total} pictures, lower bound of the gain {lower:+.1%}"
    )
    return Trial(kind, accuracy, gain, lower, reason)


def _folds(examples: Examples, count: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Which to train on and which to hold out, pictures kept together; none if there are too
    few."""
    from sklearn.model_selection import StratifiedGroupKFold

    counts = np.unique(examples.truths, return_counts=True)[1]
    count = min(count, len(np.unique(examples.pictures)), int(counts.max()))
    if count < 2:
        return []
    folds = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class")
        split = list(folds.split(examples.truths, examples.truths, examples.pictures))
    return [(own, other) for own, other in split if len(own) and len(other)]


def _is_right(logits: np.ndarray, truths: np.ndarray) -> np.ndarray:
    return np.asarray(logits.argmax(axis=1) == truths)

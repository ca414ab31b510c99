"""Which scorer is taken: zero-shot, unless reviewed examples show that another surely helps.

Public: :func:`choose_scorer`, :class:`Choice` and :class:`Trial`.

Prototypes and the linear probe (:mod:`probes`) are compared with zero-shot on examples that they
were not trained on, regions of one picture being held out together. Pictures are counted: one is
won if more of its regions turn right than wrong. Among those won or lost, the share won has an
exact lower bound (Clopper and Pearson), and so has the gain. A scorer is taken where the bound of
its gain is above 0, with a confidence of 95 % for both kinds together; of two such, the more
accurate. As folds share training data, this is near, not proven.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.labelling.promise.binomial import clopper_pearson
from alphaclip.indexing.labelling.scoring.probes import (
    Examples,
    column_count,
    linear_probe,
    prototypes,
)
from alphaclip.indexing.labelling.scoring.scoring import Scorer

Kind = Literal["zero-shot", "prototypes", "linear probe"]
Train = Callable[[Scorer, Examples, float], Scorer]

FOLDS = 5
INNER_FOLDS = 3
LEAST_EXAMPLES = 4
"""Of each class, for a linear probe."""

RISK = 0.05
MOVES = (0.5, 1.0, 2.0)
"""How far prototypes move, times the mean of very many examples."""

STRENGTHS = (3.0, 30.0, 300.0)
"""C of the linear probe: vectors of unit length need a weak penalty."""


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

    @property
    def helps(self) -> bool:
        """Whether the lower bound of its gain is positive."""
        return self.lower is not None and self.lower > 0


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
        truths: int (n,), the place of each example's class; the number of classes for "none of
            these"
        pictures (None): n ids, of the picture that each example is in; None takes each for one of
            its own
        seed (0): of the folds

    Raises:
        AlphaClipError: if the sizes differ, or a place is no class
    """
    examples = _checked(zero_shot, vectors, truths, pictures)
    plain = zero_shot.logits(examples.vectors)
    if not len(examples):
        return Choice(zero_shot, "zero-shot", None, (), plain)
    tried = [_try(kind, zero_shot, examples, plain, seed) for kind in _KINDS]
    trials = tuple(trial for trial, _ in tried)
    accuracy = float(_is_right(plain, examples.truths).mean())
    helpful = [(trial.accuracy or 0, at) for at, trial in enumerate(trials) if trial.helps]
    if not helpful:
        return Choice(zero_shot, "zero-shot", accuracy, trials, plain)
    trial, held_out = tried[max(helpful)[1]]
    scorer = _trained(trial.kind, zero_shot, examples, seed)
    return Choice(scorer, trial.kind, accuracy, trials, held_out)


_KINDS: dict[Kind, tuple[Train, tuple[float, ...]]] = {
    "prototypes": (prototypes, MOVES),
    "linear probe": (linear_probe, STRENGTHS),
}


def _try(
    kind: Kind, zero_shot: Scorer, examples: Examples, plain: np.ndarray, seed: int
) -> tuple[Trial, np.ndarray]:
    """Cross-validates one kind; with its held-out logits: float32 (n, c)."""
    folds = _folds(examples, FOLDS, seed)
    why_not = _why_not(kind, zero_shot, examples, folds)
    if why_not:
        return Trial(kind, None, None, None, f"{kind}: not tried, {why_not}"), plain
    shape = len(examples), column_count(zero_shot, examples)
    logits = np.full(shape, -np.inf, np.float32)
    for own, other in folds:
        scorer = _trained(kind, zero_shot, examples.at(own), seed)
        found = scorer.logits(examples.vectors[other])
        logits[other, : found.shape[1]] = found
    before, after = (_is_right(each, examples.truths) for each in (plain, logits))
    return _compared(kind, before, after, examples.pictures), logits


def _trained(kind: Kind, zero_shot: Scorer, examples: Examples, seed: int) -> Scorer:
    """A scorer with the setting that is the most accurate in an inner cross-validation."""
    train, settings = _KINDS[kind]
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
    least = clopper_pearson(won, won + lost, 1 - 2 * RISK / len(_KINDS))[0]
    gain, lower = (won - lost) / total, (won + lost) / total * (2 * least - 1)
    accuracy = float(after.mean())
    reason = (
        f"{kind}: {accuracy:.1%} right against {before.mean():.1%} by text alone, better in {won} "
        f"and worse in {lost} of {total} pictures, lower bound of the gain {lower:+.1%}"
    )
    return Trial(kind, accuracy, gain, lower, reason)


def _why_not(kind: Kind, zero_shot: Scorer, examples: Examples, folds: Sequence[Any]) -> str:
    """Why a kind cannot be tried; empty if it can."""
    if not folds:
        return f"{len(examples)} examples are too few to hold some out, in pictures of their own"
    counts = np.bincount(examples.truths, minlength=column_count(zero_shot, examples))
    few = int((counts < LEAST_EXAMPLES).sum())
    if kind == "linear probe" and len(counts) < 2:
        return "there is only one class"
    if kind == "linear probe" and few:
        return f"{few} of {len(counts)} classes have fewer than {LEAST_EXAMPLES} examples"
    return ""


def _folds(examples: Examples, count: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Rows to train on and rows held out, pictures kept together; none if there are too few."""
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


def _checked(
    zero_shot: Scorer, vectors: np.ndarray, truths: np.ndarray, pictures: Sequence[str] | None
) -> Examples:
    vectors, truths = np.asarray(vectors, np.float32), np.asarray(truths, np.int64)
    ids = np.arange(len(truths)) if pictures is None else np.asarray(pictures)
    if not len(vectors) == len(truths) == len(ids):
        raise AlphaClipError(
            f"{len(vectors)} vectors, {len(truths)} classes and {len(ids)} pictures: expected one "
            "of each for an example"
        )
    if len(truths) and not 0 <= truths.min() <= truths.max() <= zero_shot.classes:
        raise AlphaClipError(
            f"places of classes go from {truths.min()} to {truths.max()}: expected 0 to "
            f"{zero_shot.classes}, the last for 'none of these'"
        )
    return Examples(vectors, truths, ids)

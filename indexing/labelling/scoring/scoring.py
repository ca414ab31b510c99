"""How much a region looks like each class, from its vector alone; the answer, and how sure it is.

Public: :func:`zero_shot`, :class:`Scorer`, :func:`answer`, :func:`answer_logits`,
:func:`batches` and :class:`Answers`.

Zero-shot: a class is the mean of the unit vectors of its prompts, in every template. Its logit is
the cosine times CLIP's scale of 100. A negative prompt counts only where a region looks more like
it than like the class: then the difference is taken off the cosine. (A search takes half the
negative's cosine off, which would put a class with negatives behind all others here.)

"None of these" has a logit of its own, learned from regions that are known to be background: 100
times the cosine that the best class reaches on 95 of 100 of them. Without background regions there
is no such answer.

Everything here is a ranking. What share of a score's answers is right, only reviews can say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.labelling.scoring.classes import ClassSet

SCALE = 100.0
"""CLIP's own logit scale, that its training ended with."""

BACKGROUND_SHARE = 0.95
"""Share of the background regions that "none of these" wins against the best class: not all, as
one odd region would else set the level for everybody."""

SURE = 0.5
"""Share of the softmax that a class and its kinds need together to be the answer: with more than
half, no class beside them can have as much."""

BATCH_VALUES = 16_000_000
"""Logits that are held at a time: 64 MB."""

MOST_SURE = 1e4
"""Log-odds and margins are kept within this, where there is nothing to compare with: logits are at
most ``SCALE``, and JSON has no infinity."""

Encode = Callable[[Sequence[str], Sequence[str] | None], np.ndarray]
"""Texts and templates to float32 (m, dim) of unit length, as :meth:`Encoder.encode_text`."""


@dataclass(frozen=True, eq=False)
class Scorer:
    """Gives logits of the classes, and of "none of these" as a last column where it is known.

    Attributes:
        weights: float32 (c, dim); the logit of a vector is its product with the row, plus offset
        offset: float32 (c,); -inf where a class cannot be told, as it has no text
        penalty: float32 (c, dim); what the product of a vector with the row is above 0 is taken off
            the logit; None if no class has negatives
        classes: how many classes; ``c`` is that, or one more with "none of these"
    """

    weights: np.ndarray
    offset: np.ndarray
    classes: int
    penalty: np.ndarray | None = None

    def logits(self, vectors: np.ndarray) -> np.ndarray:
        """The logits of regions, of their vectors (n, dim) of unit length: float32 (n, c)."""
        vectors = np.asarray(vectors, np.float32)
        if vectors.ndim != 2 or vectors.shape[1] != self.weights.shape[1]:
            raise AlphaClipError(
                f"vectors have the shape {vectors.shape}: expected (n, {self.weights.shape[1]})"
            )
        logits = vectors @ self.weights.T
        if self.penalty is not None:
            logits -= np.maximum(vectors @ self.penalty.T, 0)
        return np.asarray(logits + self.offset)


@dataclass(frozen=True, eq=False)
class Answers:
    """The answer for each region.

    Attributes:
        classes: int64 (n,), the number of the class; after the last, "none of these"
        scores: float32 (n,), log-odds of the answer in the softmax over all: any number, larger
            is surer. Of a single class, its logit. A ranking, not a probability
        margins: float32 (n,), logit of the best class less that of the second best; 0 or more
    """

    classes: np.ndarray
    scores: np.ndarray
    margins: np.ndarray

    def __len__(self) -> int:
        return len(self.classes)

    @classmethod
    def joined(cls, parts: Sequence[Answers]) -> Answers:
        """The answers of blocks of regions, one after the other."""
        columns = ("classes", "scores", "margins")
        return cls(*(np.concatenate([getattr(part, c) for part in parts]) for c in columns))


def zero_shot(
    classes: ClassSet,
    encode: Encode,
    templates: Sequence[str] | None = None,
    background: np.ndarray | None = None,
) -> Scorer:
    """Makes a scorer of the classes' texts.

    Args:
        classes: those without text, only with examples, have a logit of -inf; if none has text,
            the names are taken
        encode: the encoder's ``encode_text``
        templates (None): each with one ``{}``, such as ``alphaclip.encoder.prompts.PHOTO``
        background (None): float (b, dim), vectors of regions that are none of the classes
    """
    has_text = np.array([bool(one.texts) for one in classes])
    if not has_text.any():
        has_text[:] = True
    texts = [one.texts or (one.name,) for one in classes]
    weights = SCALE * _means(texts, encode, templates)
    offset = np.where(has_text, 0, -np.inf).astype(np.float32)
    penalty = None
    if any(one.negatives for one in classes):
        penalty = SCALE * _means([one.negatives for one in classes], encode, templates) - weights
        penalty[[not one.negatives for one in classes]] = 0
    return with_background(Scorer(weights, offset, len(classes), penalty), background)


def with_background(scorer: Scorer, background: np.ndarray | None) -> Scorer:
    """The same with "none of these", whose level is learned from regions that are none of the
    classes: float (b, dim), their vectors. Without any the same as it was."""
    if background is None or not len(background):
        return scorer
    best = [scorer.logits(some).max(axis=1) for some in batches(background, scorer)]
    level = np.quantile(np.concatenate(best), BACKGROUND_SHARE).astype(np.float32)
    nothing = np.zeros((1, scorer.weights.shape[1]), np.float32)
    return replace(
        scorer,
        weights=np.concatenate([scorer.weights, nothing]),
        offset=np.append(scorer.offset, level),
        penalty=None if scorer.penalty is None else np.concatenate([scorer.penalty, nothing]),
    )


def answer(vectors: np.ndarray, scorer: Scorer, classes: ClassSet) -> Answers:
    """The answer for each region; memory is bounded, however many regions and classes.

    Among classes without parents it is the best. With a hierarchy it is the lowest class that,
    together with its kinds, has at least half of the softmax ("bird", where neither sparrow nor
    finch has, but both together), or the best class where none has.
    """
    some = [answer_logits(scorer.logits(batch), classes) for batch in batches(vectors, scorer)]
    return Answers.joined(some)


def batches(vectors: np.ndarray, scorer: Scorer) -> Iterator[np.ndarray]:
    """The vectors in parts whose logits fit in memory; one, if there are none."""
    size = max(1, BATCH_VALUES // len(scorer.weights))
    for start in range(0, max(len(vectors), 1), size):
        yield vectors[start : start + size]


def answer_logits(logits: np.ndarray, classes: ClassSet) -> Answers:
    """The same as :func:`answer`, of logits that are there already: float32 (n, c)."""
    rows, best = np.arange(len(logits)), logits.argmax(axis=1)
    top = logits[rows, best]
    if logits.shape[1] == 1:
        return Answers(best, top, np.full(len(logits), MOST_SURE, np.float32))
    others = logits.copy()
    others[rows, best] = -np.inf
    margins = np.minimum(top - others.max(axis=1), MOST_SURE)
    if classes.is_flat:
        answered, inside, outside = best, top, _log_sum(others)
    else:
        answered, covered = _climb(logits, classes)
        inside = _log_sum(np.where(covered, logits, -np.inf))
        outside = _log_sum(np.where(covered, -np.inf, logits))
    return Answers(answered, np.clip(inside - outside, -MOST_SURE, MOST_SURE), margins)


def _climb(logits: np.ndarray, classes: ClassSet) -> tuple[np.ndarray, np.ndarray]:
    """The rule of :func:`answer` for a hierarchy: the answers (n,), and bool (n, c), which columns
    they cover."""
    kinds = classes.kinds[: logits.shape[1], : logits.shape[1]]
    depths = np.diff(kinds.indptr)
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares = (kinds.T @ weights.T).T / weights.sum(axis=1, keepdims=True)
    sure = np.where(shares >= SURE, depths, 0)
    answered = np.where(sure.any(axis=1), sure.argmax(axis=1), logits.argmax(axis=1))
    return answered, kinds[:, answered].toarray().T > 0


def _log_sum(logits: np.ndarray) -> np.ndarray:
    """The logarithm of the sum of exponentials of each row; -inf of nothing."""
    from scipy.special import logsumexp

    return np.asarray(logsumexp(logits, axis=1), np.float32)


def _means(
    texts: Sequence[Sequence[str]], encode: Encode, templates: Sequence[str] | None
) -> np.ndarray:
    """The unit mean of each class's texts: float32 (c, dim), zero for a class without."""
    owners = np.repeat(np.arange(len(texts)), [len(some) for some in texts])
    vectors = np.asarray(encode([text for some in texts for text in some], templates), np.float32)
    sums = np.zeros((len(texts), vectors.shape[1]), np.float32)
    np.add.at(sums, owners, vectors)
    return sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)

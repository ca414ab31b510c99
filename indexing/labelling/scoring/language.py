"""How likely a language model takes a region for each class, in the place of vectors.

Public: :func:`ask_classes`.

The texts of the classes, and their negatives, are the choices of one question, *what is it?*; of a
single text, *is it this?* is answered by yes or no. A class's logit is the mean evidence for its
texts: the log-likelihood less that where there is nothing to see. A negative counts as in zero-shot
scoring. Evidence stands in the place of cosines, so examples and reviews are learned from as they
are from vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from alphaclip.indexing.labelling.scoring.classes import ClassSet
from alphaclip.indexing.labelling.scoring.scored import LanguageScores
from alphaclip.indexing.labelling.scoring.scoring import SCALE, Scorer
from alphaclip.indexing.progress import Progress
from alphaclip.indexing.retrieval.asking import ask_rows
from alphaclip.language.questions import Question

if TYPE_CHECKING:
    from alphaclip.indexing.retrieval.index import SearchIndex
    from alphaclip.indexing.retrieval.snapshot import Snapshot
    from alphaclip.language.describer import Describer


def ask_classes(
    index: SearchIndex, now: Snapshot, classes: ClassSet, describer: Describer, show: Progress
) -> LanguageScores:
    """Asks what each region of a snapshot is, as far as the model has not said it before.

    Raises:
        AlphaClipError: if the model cannot tell the texts apart, or answers for no region
    """
    texts = [one.prompts or (one.name,) for one in classes]
    negatives = [one.negatives for one in classes]
    choices = tuple(dict.fromkeys(chain(*texts, *negatives)))
    weights = SCALE * _shares(texts, choices)
    penalty = None
    if any(negatives):
        penalty = SCALE * _shares(negatives, choices) - weights
        penalty[[not some for some in negatives]] = 0
    scorer = Scorer(weights, np.zeros(len(classes), np.float32), len(classes), penalty)
    evidence = _evidence(index, now, choices, describer, show)
    failed = np.isnan(evidence).any(axis=1)
    return LanguageScores(now, scorer, np.nan_to_num(evidence / SCALE), failed, describer.name)


def _evidence(
    index: SearchIndex,
    now: Snapshot,
    choices: tuple[str, ...],
    describer: Describer,
    show: Progress,
) -> np.ndarray:
    """Of each region and choice: float32 (n, t)."""
    if len(choices) > 1:
        question = Question("what is it?", choices)
    else:
        question = Question(f"is it {choices[0]}?", ("yes", "no"))
    evidence = ask_rows(index, now, np.arange(len(now)), describer, question, show)
    return evidence if len(choices) > 1 else evidence[:, :1] - evidence[:, 1:]


def _shares(texts: Sequence[Sequence[str]], choices: Sequence[str]) -> np.ndarray:
    """The share that each choice has in each class's mean: float32 (c, t)."""
    numbers = {choice: number for number, choice in enumerate(choices)}
    shares = np.zeros((len(texts), len(choices)), np.float32)
    for number, some in enumerate(texts):
        for text in some:
            shares[number, numbers[text]] += 1 / len(some)
    return shares

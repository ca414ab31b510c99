"""What LLaVA is trained on: pictures with a region, a prompt, and what is to be said to it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from torch.utils.data import Dataset

from alphaclip.errors import AlphaClipError
from alphaclip.language.inputs import Inputs
from alphaclip.language.shown import Showing, Shown
from alphaclip.regions.region import Region
from alphaclip.training.finetune.config import FinetuneError
from alphaclip.training.pairs.format.reading import Pair, PairSet

logger = logging.getLogger(__name__)

AlphaMaps = Literal["box", "mask", "mixed"]
"""What the tower is shown of a region: the box round it, as in the paper, its mask, or each half of
the time."""

_TRIES = 20
"""Pairs that are tried in the place of one that cannot be used; beyond it, the set is damaged."""


@dataclass(frozen=True)
class Conversation:
    """What is shown, what is asked, and what is to be said."""

    shown: Shown
    prompt: str
    answer: str


class Conversations(Dataset[Conversation]):
    """Every conversation of a run in its order; each from a seed of its own, so that a run that
    goes on in the middle sees what it would have seen.

    The prompt is the one that :meth:`alphaclip.language.Describer.describe` has. An epoch is every
    pair once, in an order of its own, with one of its texts.

    Args:
        pairs: regions with texts
        inputs: of the model, which know how it is spoken to, and its marks
        size: of the picture that it is shown
        wholes: whether whole pictures with their captions are shown, one of each picture
        alpha: see :data:`AlphaMaps`; whole pictures have none
        seed: of all that is drawn
        count: conversations of the run
    """

    def __init__(
        self,
        pairs: PairSet,
        inputs: Inputs,
        size: int,
        wholes: bool,
        alpha: AlphaMaps,
        seed: int,
        count: int,
    ) -> None:
        self._pairs, self._inputs, self._size = pairs, inputs, size
        self._wholes, self._alpha, self._seed, self._count = wholes, alpha, seed, count
        self._order: tuple[int, np.ndarray] = (-1, np.empty(0, int))

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Conversation:
        """A conversation; one that cannot be had is told of, and that of another pair is taken.

        Raises:
            FinetuneError: many pairs one after another cannot be used
        """
        reason = ""
        for number in self._candidates(index):
            try:
                return self._of(self._pairs[number], np.random.default_rng([self._seed, 1, index]))
            except AlphaClipError as error:
                reason = str(error)
                logger.warning("another pair takes the place of number %d: %s", number, reason)
        raise FinetuneError(
            f"{_TRIES} pairs one after another cannot be used, the last: {reason}. `alphaclip "
            "pairs check` says what is wrong with the set"
        )

    def _candidates(self, index: int) -> Iterator[int]:
        """The pair that is due, and those after it."""
        units = count_units(self._pairs, self._wholes)
        epoch, within = divmod(index, units)
        if self._order[0] != epoch:
            rng = np.random.default_rng([self._seed, 0, epoch])
            self._order = epoch, rng.permutation(units)
        for place in range(within, within + _TRIES):
            unit = int(self._order[1][place % units])
            yield self._pairs.of_picture(unit)[0] if self._wholes else unit

    def _of(self, pair: Pair, rng: np.random.Generator) -> Conversation:
        (view,) = self._inputs.dialect.views
        if self._wholes:
            region, answer = Region.whole_image(), pair.caption
        else:
            region, answer = pair.region, pair.texts[rng.integers(len(pair.texts))]
            boxed = self._alpha == "box" or (self._alpha == "mixed" and rng.random() < 0.5)
            view = replace(view, alpha="box" if boxed else "region")
        shown = Showing(pair.image, (view,), self._size).show(region)
        prompt = self._inputs.dialect.describing("", shown.box)
        return Conversation(shown, prompt, self._inputs.tokens.check_text(answer))


def count_units(pairs: PairSet, wholes: bool) -> int:
    """What an epoch shows once: whole pictures, or pairs."""
    return pairs.picture_count if wholes else len(pairs)

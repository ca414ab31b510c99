"""The words that a small captioner has learnt, as tokens of nano's byte pairs."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

from alphaclip.catalog.zoo import NANO_FOLDER
from alphaclip.language.captioner_network import END, PAD, UNKNOWN

if TYPE_CHECKING:
    from open_clip import SimpleTokenizer

logger = logging.getLogger(__name__)

_MARKS = max(PAD, UNKNOWN, END) + 1
"""Tokens that are no words come first."""


class Words:
    """Texts as a captioner's tokens, and back.

    Args:
        learnt: numbers of the tokens among nano's
        name: of the captioner, for messages
    """

    def __init__(self, learnt: Iterable[int], name: str) -> None:
        self.learnt = list(learnt)
        self._own = {number: own for own, number in enumerate(self.learnt, start=_MARKS)}
        self._name = name
        self._told: set[str] = set()
        self.of = lru_cache(maxsize=65536)(self._of)

    @classmethod
    def in_texts(cls, texts: Iterable[str], name: str) -> Words:
        """Those of some texts."""
        cut = cls((), name)._tokenizer.encode
        return cls(sorted({token for text in texts for token in cut(text)}), name)

    def __len__(self) -> int:
        return _MARKS + len(self.learnt)

    @cached_property
    def _tokenizer(self) -> SimpleTokenizer:
        from open_clip import SimpleTokenizer

        return SimpleTokenizer(str(NANO_FOLDER / "merges.txt.gz"))

    def _of(self, text: str) -> tuple[int, ...]:
        """A text's tokens; of words that were never learnt, a warning tells once."""
        ids = tuple(self._own.get(token, UNKNOWN) for token in self._tokenizer.encode(text))
        if UNKNOWN in ids and self.learnt:
            self._warn(text)
        return ids

    def _warn(self, text: str) -> None:
        cut = self._tokenizer.encode
        words = (word.strip("?!.,;:") for word in text.split())
        new = {one for one in words if any(t not in self._own for t in cut(one))} - self._told
        if new:
            self._told |= new
            logger.warning(
                "%s has never read %s: such words say nothing to it; its card lists the names that "
                "it knows, a larger model knows more",
                self._name,
                ", ".join(map(repr, sorted(new))),
            )

    def text(self, ids: Sequence[int]) -> str:
        """The text of tokens."""
        words = [self.learnt[own - _MARKS] for own in ids if own >= _MARKS]
        return self._tokenizer.decode(words).strip().replace(" - ", "-").replace(" '", "'")

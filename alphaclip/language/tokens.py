"""Texts as a model's tokenizer cuts them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache
from typing import Any

from alphaclip.errors import AlphaClipError, brief


class Tokens:
    """The tokens of prompts and of what may follow them.

    Args:
        tokenizer: of transformers
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.of = lru_cache(maxsize=4096)(self._of)

    def __reduce__(self) -> tuple[type[Tokens], tuple[Any]]:
        """To another process goes what it is made of, not what it remembers."""
        return Tokens, (self._tokenizer,)

    def _of(self, text: str) -> tuple[int, ...]:
        return tuple(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    @cached_property
    def _marks(self) -> frozenset[str]:
        added = [mark for mark in self._tokenizer.get_added_vocab() if mark.startswith("<")]
        return frozenset([*added, *self._tokenizer.all_special_tokens])

    def check_text(self, text: str) -> str:
        """A text from outside, unchanged.

        Raises:
            AlphaClipError: it holds what is no word to the model, and would end a turn or stand
                for a picture
        """
        for mark in sorted(self._marks):
            if mark in text:
                raise AlphaClipError(
                    f"{brief(text)} holds {mark!r}, which the model takes for a mark of its own: "
                    "leave it out"
                )
        return text

    def following(self, prompt: str, choices: Sequence[str]) -> list[list[int]]:
        """The tokens of each choice as the model would write them after a prompt.

        Raises:
            AlphaClipError: see `told_apart`
        """
        joint = "" if prompt[-1:].isspace() or prompt.endswith(tuple(self._marks)) else " "
        before = self.of(prompt)

        def cut(choice: str) -> Sequence[int]:
            both = self.of(prompt + joint + choice)
            is_behind = both[: len(before)] == before
            return both[len(before) :] if is_behind else self.of(joint + choice)

        return told_apart(choices, cut)

    def decoded(self, choices: Sequence[str]) -> list[list[int]]:
        """The tokens of each choice as a decoder of its own writes them, without the last mark."""

        def cut(choice: str) -> Sequence[int]:
            ids = self._tokenizer(choice)["input_ids"]
            return ids[:-1] if ids and ids[-1] == self._tokenizer.eos_token_id else ids

        return told_apart(choices, cut)

    def count_words(self, ids: Sequence[int]) -> int:
        """How many tokens there are behind the marks that a text begins with."""
        marks = set(self._tokenizer.all_special_ids)
        return len(ids) - next((n for n, one in enumerate(ids) if one not in marks), 0)


def told_apart(choices: Sequence[str], cut: Callable[[str], Sequence[int]]) -> list[list[int]]:
    """The tokens of each choice.

    Raises:
        AlphaClipError: two are the same to the model, or one is nothing to it
    """
    seen: dict[tuple[int, ...], str] = {}
    for choice in choices:
        ids = tuple(cut(choice))
        if not ids:
            raise AlphaClipError(f"{brief(choice)} has no token in this model: choose another word")
        if ids in seen:
            raise AlphaClipError(
                f"{brief(seen[ids])} and {brief(choice)} are the same tokens to this model: it "
                "cannot tell them apart; choose other words"
            )
        seen[ids] = choice
    return [list(ids) for ids in seen]

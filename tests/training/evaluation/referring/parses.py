"""Dependency parses written by hand: ``man<1`` depends on word 1, brackets are noun chunks."""

from __future__ import annotations

from alphaclip.training.datasets.phrases import Sentence, Word


def parse(text: str) -> Sentence:
    """Reads ``[the<1 man<1] on<1 [the<4 left<2]``: each word with the place of its head."""
    words: list[Word] = []
    chunks, start = [], 0
    for part in text.split():
        if part.startswith("["):
            start = len(words)
        word, head = part.strip("[]").split("<")
        words.append(Word(word, int(head)))
        if part.endswith("]"):
            chunks.append((start, len(words)))
    return Sentence(tuple(words), tuple(chunks))

"""Expressions parsed by spaCy, where the user has it and its English model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from alphaclip.errors import AlphaClipError
from alphaclip.training.datasets.phrases import Sentence, Word

MODEL = "en_core_web_sm"
"""ReCLIP's (version 3.0.0 there); another version parses some expressions otherwise."""


def load_parser(model: str = MODEL) -> tuple[Callable[[str], Sentence], str]:
    """Loads a parser of expressions.

    Args:
        model: a spaCy pipeline with a dependency parser, its name or folder

    Returns:
        what parses a text in lower case, and the pipeline's name and version for reports

    Raises:
        AlphaClipError: if spaCy or the pipeline is not installed; says how to get them
    """
    try:
        import spacy

        pipeline = spacy.load(model)
    except (ImportError, OSError) as error:
        raise AlphaClipError(
            f"method 'parse' needs spaCy and its model {model} ({error}): run "
            f"`pip install 'alphaclip-fiftyone[rec]'` and `python -m spacy download {model}`. "
            "Method 'plain' needs neither, but is another protocol with other figures"
        ) from error
    if not pipeline.has_pipe("parser"):
        raise AlphaClipError(f"{model} has no dependency parser: take {MODEL}")
    meta = pipeline.meta
    return lambda text: sentence_of(pipeline(text)), f"{meta['name']} {meta['version']}"


def sentence_of(doc: Any) -> Sentence:
    """The parse that a spaCy ``Doc`` holds."""
    words = tuple(Word(token.text, token.head.i, token.whitespace_) for token in doc)
    return Sentence(words, tuple((chunk.start, chunk.end) for chunk in doc.noun_chunks))

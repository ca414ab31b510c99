"""What an expression says: whom it describes, beside whom, and which extreme (ReCLIP's rules).

Source: Subramanian et al., "ReCLIP", ACL 2022 (arXiv 2204.05991), section 3.2, and the settings its
released code runs with: relations and superlatives on, ``between`` off, chunks not expanded. Words
are compared as they are written, in lower case. A :class:`Sentence` is what a parser gives; only
:func:`load_parser` needs spaCy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

from alphaclip.errors import AlphaClipError

MODEL = "en_core_web_sm"
"""ReCLIP's (version 3.0.0 there); another version parses some expressions otherwise."""

RELATIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "left": ("left", "west"),
        "right": ("right", "east"),
        "above": ("above", "north", "top", "back", "behind"),
        "below": ("below", "south", "under", "front"),
        "bigger": ("bigger", "larger", "closer"),
        "smaller": ("smaller", "tinier", "further"),
        "inside": ("inside", "within", "contained"),
    }
)
"""Words between two objects, by the relation they mean; the first relation that has one counts."""

SUPERLATIVES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "left": ("left", "west", "leftmost", "western"),
        "right": ("right", "rightmost", "east", "eastern"),
        "above": ("above", "north", "top"),
        "below": ("below", "south", "underneath", "front"),
        "bigger": ("bigger", "biggest", "larger", "largest", "closer", "closest"),
        "smaller": ("smaller", "smallest", "tinier", "tiniest", "further", "furthest"),
    }
)
"""Words that single one object out, by the relation it has to most others."""

NO_OBJECTS = ("part", "image", "side", "picture", "half", "region", "section")
"""Nouns that name no object, as ``side`` in "on the left side"."""

_RELATION_WORDS = frozenset(word for words in RELATIONS.values() for word in words)
_SUPERLATIVE_WORDS = frozenset(word for words in SUPERLATIVES.values() for word in words)
_LEADING_ON = _RELATION_WORDS | frozenset(NO_OBJECTS)


@dataclass(frozen=True)
class Word:
    """A word of a parsed sentence: ``text`` in lower case, the number of the word that it depends
    on (its own for a root), and the space behind it.
    """

    text: str
    head: int
    space: str = " "


@dataclass(frozen=True)
class Sentence:
    """A dependency parse and its noun chunks.

    Attributes:
        words: in order
        chunks: first and last word of each noun chunk, the last exclusive; they do not overlap

    Raises:
        AlphaClipError: if a place is outside the sentence, or heads lead round in a circle
    """

    words: tuple[Word, ...]
    chunks: tuple[tuple[int, int], ...] = ()
    _chunk_at: dict[int, tuple[int, int]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        count = len(self.words)
        numbers = [word.head for word in self.words] + [
            i for s, e in self.chunks for i in (s, e - 1)
        ]
        if not all(0 <= number < count for number in numbers):
            raise AlphaClipError(f"parse of {count} words has a place outside it: {numbers}")
        for number in range(count):
            self.path_to_root(number)
        chunk_at = {i: chunk for chunk in self.chunks for i in range(*chunk)}
        object.__setattr__(self, "_chunk_at", chunk_at)

    @cached_property
    def children(self) -> tuple[tuple[int, ...], ...]:
        """For each word the places of those that depend on it, in order."""
        numbers = range(len(self.words))
        return tuple(
            tuple(i for i in numbers if self.words[i].head == head and i != head)
            for head in numbers
        )

    @property
    def root(self) -> int | None:
        """The first word that depends on none."""
        return next((i for i, word in enumerate(self.words) if word.head == i), None)

    def chunk(self, number: int) -> tuple[int, int] | None:
        """The noun chunk that a word is in."""
        return self._chunk_at.get(number)

    def chunk_root(self, chunk: tuple[int, int]) -> int:
        """The word of a chunk that is nearest to the sentence's root."""
        inside = range(*chunk)
        leaving = [i for i in inside if self.words[i].head == i or self.words[i].head not in inside]
        return min(leaving, key=lambda number: len(self.path_to_root(number)))

    def chunk_text(self, chunk: tuple[int, int]) -> str:
        """A chunk as it is written."""
        return "".join(self.words[i].text + self.words[i].space for i in range(*chunk)).rstrip()

    def path_to_root(self, number: int) -> list[int]:
        """The words above a word, nearest first."""
        path: list[int] = []
        while (head := self.words[number].head) != number:
            if len(path) >= len(self.words):
                raise AlphaClipError("parse has heads that lead round in a circle")
            path.append(head)
            number = head
        return path

    def subtree(self, number: int) -> Iterator[int]:
        """A word and all that depend on it."""
        yield number
        for child in self.children[number]:
            yield from self.subtree(child)


@dataclass(frozen=True)
class Entity:
    """Somebody or something an expression speaks of.

    Attributes:
        text: its description, which is scored by the encoder
        relations: names of :data:`RELATIONS` and whom they hold to
        superlatives: names of :data:`SUPERLATIVES`
    """

    text: str
    relations: tuple[tuple[str, Entity], ...] = ()
    superlatives: tuple[str, ...] = ()

    def texts(self) -> Iterator[str]:
        """Every description in it."""
        yield self.text
        for _, other in self.relations:
            yield from other.texts()


def read_entity(sentence: Sentence) -> Entity | None:
    """The object that an expression means, and its relations.

    Args:
        sentence: parsed expression, in lower case

    Returns:
        None where the whole expression is all there is to score: it has no word of
        :data:`RELATIONS` or :data:`SUPERLATIVES`, or no noun chunk to start from
    """
    if not any(word.text in _RELATION_WORDS | _SUPERLATIVE_WORDS for word in sentence.words):
        return None
    head = sentence.root
    start = None if head is None else _start(sentence, head)
    if start is None and sentence.chunks:
        first = sentence.chunk_root(sentence.chunks[0])
        start = _start(sentence, sentence.words[first].head)
    return None if start is None else _entity(sentence, start)


_Found = tuple[list[tuple[list[int], int]], list[str]]
"""Chains of words and the word of another object each leads to; and superlatives."""


def _start(sentence: Sentence, head: int) -> int | None:
    """The word to start from: the head, or its first child as in "the man is on the left"."""
    if sentence.chunk(head):
        return head
    children = sentence.children[head]
    return children[0] if children and sentence.chunk(children[0]) else None


def _entity(sentence: Sentence, head: int) -> Entity:
    own = sentence.chunk(head)
    if own is None:
        raise AlphaClipError(f"word {head} is in no noun chunk")
    links, superlatives = _explore(sentence, head, own, [])
    text, relations = sentence.chunk_text(own), []
    for chain, number in links:
        name = _meant(RELATIONS, sentence, chain)
        if name is not None:
            relations.append((name, _entity(sentence, number)))
        else:
            text = _described_with(sentence, own, sentence.chunk(number) or (number, number + 1))
    return Entity(text, tuple(relations), tuple(superlatives))


def _explore(sentence: Sentence, number: int, own: tuple[int, int], chain: list[int]) -> _Found:
    """Goes down the parse from a word, to other objects or to the ends."""
    text, chunk, children = sentence.words[number].text, sentence.chunk(number), sentence.children
    if chunk and chunk != own and text not in _LEADING_ON:
        return [(sorted(chain), number)], []
    if not children[number]:
        return [], _superlatives(sentence, [*chain, number])
    is_kept = not chunk or text in _LEADING_ON | _SUPERLATIVE_WORDS
    longer = [*chain, number] if is_kept else chain
    links: list[tuple[list[int], int]] = []
    superlatives: list[str] = []
    for child in children[number]:
        if _is_plain_part(sentence, child, chunk):
            if len(children[number]) == 1:
                superlatives += _superlatives(sentence, [*chain, number])
            continue
        further = _explore(sentence, child, own, longer)
        links += further[0]
        superlatives += further[1]
    return links, superlatives


def _is_plain_part(sentence: Sentence, child: int, chunk: tuple[int, int] | None) -> bool:
    same = chunk is not None and sentence.chunk(child) == chunk
    return same and sentence.words[child].text not in _SUPERLATIVE_WORDS


def _superlatives(sentence: Sentence, chain: list[int]) -> list[str]:
    name = _meant(SUPERLATIVES, sentence, chain)
    return [] if name is None else [name]


def _meant(
    table: Mapping[str, tuple[str, ...]], sentence: Sentence, chain: list[int]
) -> str | None:
    said = {sentence.words[number].text for number in chain}
    return next((name for name, words in table.items() if said.intersection(words)), None)


def _described_with(sentence: Sentence, own: tuple[int, int], other: tuple[int, int]) -> str:
    """An object's chunk, another's below it with all that depends on it, and the words above."""
    below = {number for start in range(*own) for number in sentence.subtree(start)}
    said = set(range(*own))
    for number in range(*other):
        if number in below:
            said.update(sentence.path_to_root(number), sentence.subtree(number))
    return " ".join(sentence.words[number].text for number in sorted(said))


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

"""Phrases of a caption that name something to see, and where they stand in it.

Source: Peng et al., "Kosmos-2", 2023 (arXiv 2306.14824), section 2: noun chunks by spaCy, abstract
ones left out; a chunk grows to a referring expression by all words that depend on it, unless it is
joined to another by "and" or the like; and an expression inside another one is not kept. The
dependency labels are not looked at: a chunk whose first word hangs directly on a word of another
chunk is what is joined to that one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate

from alphaclip.errors import AlphaClipError
from alphaclip.training.datasets.phrases import MODEL, NO_OBJECTS, Sentence, load_parser

_ABSTRACT = (
    "time love freedom life day night week month year way idea fun peace hope luck thing things "
    "lot kind type background photo photograph picture image view stock"
)
ABSTRACT = frozenset((*_ABSTRACT.split(), *NO_OBJECTS))
"""Last words of chunks that no box can be drawn round."""

_PRONOUNS = (
    "i me you he him she her it we us they them this that these those who whom which what there "
    "one everyone everything someone something anyone anything nobody nothing myself itself "
    "himself herself themselves"
)
PRONOUNS = frozenset(_PRONOUNS.split())
"""Chunks of one word that name nothing by themselves."""


Span = tuple[int, int]
"""First and last word or character, the last exclusive."""


@dataclass(frozen=True)
class Phrase:
    """A part of a caption that names something.

    Attributes:
        chunk: first and last character of the noun chunk, the last exclusive
        expression: of the referring expression that it grows to; None where a longer one
            of another chunk holds it
    """

    chunk: Span
    expression: Span | None


Chunker = Callable[[str], list[Phrase]]


def load_chunker(model: str = MODEL) -> tuple[Chunker, str]:
    """Loads what finds the phrases of English captions.

    Args:
        model: a spaCy pipeline with a dependency parser, its name or folder

    Returns:
        what finds the phrases of a caption, and the pipeline's name and version

    Raises:
        AlphaClipError: if spaCy or the pipeline is not installed; says how to get them
    """
    try:
        parse, name = load_parser(model)
    except AlphaClipError as error:
        raise AlphaClipError(
            f"captions are cut into phrases by spaCy and its model {model}, which cannot be used "
            f"({error.__cause__ or error}): run `pip install 'alphaclip-fiftyone[rec]'` and "
            f"`python -m spacy download {model}`"
        ) from error
    return lambda caption: find_phrases(parse(caption)), name


def find_phrases(sentence: Sentence) -> list[Phrase]:
    """The phrases of a parsed caption, in order.

    Args:
        sentence: its words, written as in the caption

    Returns:
        a phrase for each noun chunk that names something to see
    """
    lengths = (len(word.text) + len(word.space) for word in sentence.words)
    starts = list(accumulate(lengths, initial=0))

    def characters(span: Span) -> Span:
        last = span[1] - 1
        return starts[span[0]], starts[last] + len(sentence.words[last].text)

    chunks = [chunk for chunk in sentence.chunks if _is_visible(sentence, chunk)]
    grown = [_grown(sentence, chunk) for chunk in chunks]
    longest = {
        span
        for span in grown
        if not any(other != span and other[0] <= span[0] and span[1] <= other[1] for other in grown)
    }
    return [
        Phrase(characters(chunk), characters(span) if span in longest else None)
        for chunk, span in zip(chunks, grown, strict=True)
    ]


def _is_visible(sentence: Sentence, chunk: Span) -> bool:
    first, last = chunk
    name = sentence.words[last - 1].text.lower()
    if last - first == 1 and name in PRONOUNS:
        return False
    return name not in ABSTRACT and any(char.isalnum() for char in name)


def _grown(sentence: Sentence, chunk: Span) -> Span:
    """A chunk and the words after it that depend on it, up to the first that does not."""
    root = sentence.chunk_root(chunk)
    for child in sentence.children[root]:
        other = sentence.chunk(child)
        if other is not None and other != chunk and sentence.chunk_root(other) == child:
            return chunk  # Joined to another chunk, as by "and".
    below = set(sentence.subtree(root))
    end = chunk[1]
    while end in below:
        end += 1
    while end > chunk[1] and not any(char.isalnum() for char in sentence.words[end - 1].text):
        end -= 1
    return chunk[0], end

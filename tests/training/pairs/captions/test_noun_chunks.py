"""Phrases of captions, on parses written by hand."""

import builtins

import pytest

from alphaclip.errors import AlphaClipError
from alphaclip.training.datasets.phrases import Sentence, Word
from alphaclip.training.pairs.captions import noun_chunks
from alphaclip.training.pairs.captions.noun_chunks import Phrase, find_phrases, load_chunker


def parse(text: str) -> Sentence:
    """Reads ``[A<1 dog<1] barks<2 .<2~``: words with the place of their head; ``~``: no space
    before the next; brackets are noun chunks."""
    words, chunks, start = [], [], 0
    for part in text.split():
        if part.startswith("["):
            start = len(words)
        word, head = part.strip("[]~").split("<")
        words.append(Word(word, int(head), "" if part.endswith("~") else " "))
        if part.rstrip("~").endswith("]"):
            chunks.append((start, len(words)))
    return Sentence(tuple(words), tuple(chunks))


def said(text: str) -> list[tuple[str, str | None]]:
    """The chunks and expressions of a parse, as they are written."""
    sentence = parse(text)
    caption = "".join(word.text + word.space for word in sentence.words)
    return [
        (caption[slice(*p.chunk)], caption[slice(*p.expression)] if p.expression else None)
        for p in find_phrases(sentence)
    ]


def test_find_phrases__a_chunk_grows_by_all_that_depends_on_it() -> None:
    caption = "[A<1 dog<1] in<1 [a<4 field<2] of<4 [flowers<5]"
    assert said(caption) == [
        ("A dog", "A dog in a field of flowers"),
        ("a field", None),
        ("flowers", None),
    ]


def test_find_phrases__spans_are_characters_of_the_caption() -> None:
    sentence = parse("[A<1 man<1~] ,<1 smiling<1 ,<3 [a<6~ cat<3]")
    assert find_phrases(sentence)[0].chunk == (0, 5)
    assert find_phrases(parse("[The<1 cat<1]")) == [Phrase((0, 7), (0, 7))]


def test_find_phrases__joined_chunks_do_not_grow() -> None:
    assert said("[A<1 dog<1] and<1 [a<4 cat<1] on<4 [a<7 sofa<5]") == [
        ("A dog", "A dog"),
        ("a cat", "a cat on a sofa"),
        ("a sofa", None),
    ]


def test_find_phrases__pronouns_and_what_no_box_can_show_are_left_out() -> None:
    assert said("[A<1 photo<1] of<1 [a<5 red<5 car<2]") == [("a red car", "a red car")]
    assert said("[It<1] is<1 [time<1]") == []
    assert said("[left<1 side<1] of<1 [it<2]") == []


def test_find_phrases__closing_marks_do_not_belong_to_an_expression() -> None:
    assert said("[a<1 girl<1] with<1 [glasses<2~] .<1") == [
        ("a girl", "a girl with glasses"),
        ("glasses", None),
    ]


def test_find_phrases__words_that_belong_elsewhere_end_an_expression() -> None:
    assert said("[A<1 boy<2] eats<2 [an<4 apple<2] quickly<2") == [
        ("A boy", "A boy"),
        ("an apple", "an apple"),
    ]


def test_find_phrases__nothing_in_an_empty_caption() -> None:
    assert find_phrases(Sentence(())) == []


def test_load_chunker__says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_spacy(name: str, *rest: object) -> object:
        if name == "spacy":
            raise ModuleNotFoundError("No module named 'spacy'", name="spacy")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_spacy)
    with pytest.raises(AlphaClipError, match=r"fiftyone\[rec\].*download en_core_web_sm"):
        load_chunker()


def test_load_chunker__phrases_of_what_the_parser_says(monkeypatch: pytest.MonkeyPatch) -> None:
    sentence = parse("[A<1 dog<1]")
    monkeypatch.setattr(noun_chunks, "load_parser", lambda model: (lambda text: sentence, "m 1"))
    chunker, name = load_chunker()
    assert (chunker("A dog"), name) == ([Phrase((0, 5), (0, 5))], "m 1")

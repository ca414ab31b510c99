"""What is read from an expression, and whom it then means: on parses written by hand."""

import numpy as np
import pytest

from alphaclip.errors import AlphaClipError
from alphaclip.training.datasets.examples import Box
from alphaclip.training.datasets.phrases import (
    RELATIONS,
    SUPERLATIVES,
    Entity,
    Sentence,
    Word,
    read_entity,
)
from alphaclip.training.evaluation.referring.relations import decide, relation

from ..evaluation.referring.parses import parse

LEFT: Box = (0.0, 40.0, 10.0, 10.0)
MIDDLE: Box = (45.0, 45.0, 20.0, 20.0)
RIGHT: Box = (90.0, 0.0, 10.0, 30.0)
BOXES = (LEFT, MIDDLE, RIGHT)

DOG_LEFT_OF_CAT = "[the<1 dog<1] to<1 [the<4 left<2] of<4 [the<7 cat<5]"
MAN_ON_THE_LEFT = "[the<1 man<1] on<1 [the<4 left<2]"


def test_read_entity__superlative_in_the_noun_chunk() -> None:
    entity = read_entity(parse("[the<2 largest<2 apple<2]"))
    assert entity == Entity("the largest apple", (), ("bigger",))


def test_read_entity__place_behind_the_noun() -> None:
    assert read_entity(parse(MAN_ON_THE_LEFT)) == Entity("the man", (), ("left",))


def test_read_entity__a_side_is_no_object() -> None:
    sentence = parse("[man<0] on<0 [the<4 left<4 side<1] of<4 [the<7 picture<5]")
    assert read_entity(sentence) == Entity("man", (), ("left",))


def test_read_entity__relation_to_another_object() -> None:
    entity = read_entity(parse(DOG_LEFT_OF_CAT))
    assert entity == Entity("the dog", (("left", Entity("the cat")),))
    assert list(entity.texts()) == ["the dog", "the cat"]


def test_read_entity__relations_nest() -> None:
    sentence = parse("[cup<0] left<0 of<1 [plate<2] under<3 [lamp<4]")
    lamp = Entity("plate", (("below", Entity("lamp")),))
    assert read_entity(sentence) == Entity("cup", (("left", lamp),))


def test_read_entity__other_links_describe() -> None:
    sentence = parse("[man<0] in<0 [red<3 shirt<1] on<0 [the<6 left<4]")
    assert read_entity(sentence) == Entity("man in red shirt", (), ("left",))


def test_read_entity__what_is_predicated_is_not_read_as_in_the_reference_code() -> None:
    sentence = parse("[the<1 dog<2] is<2 bigger<2 than<3 [the<6 cat<4]")
    assert read_entity(sentence) == Entity("the dog")


def test_read_entity__first_chunk_where_the_root_has_none() -> None:
    sentence = parse("sitting<0 closest<0 on<0 [the<4 chair<2]")
    assert read_entity(sentence) == Entity("the chair")


@pytest.mark.parametrize("text", ["[the<1 red<2 apple<2]", "", "[man<0] holding<0 [umbrella<1]"])
def test_read_entity__nothing_but_a_description(text: str) -> None:
    assert read_entity(parse(text)) is None


def test_read_entity__keyword_without_any_object() -> None:
    assert read_entity(parse("left<0")) is None


@pytest.mark.parametrize(("name", "words"), RELATIONS.items())
def test_read_entity__every_word_of_a_relation(name: str, words: tuple[str, ...]) -> None:
    for word in words:
        entity = read_entity(parse(f"[cup<0] {word}<0 [plate<1]"))
        assert entity == Entity("cup", ((name, Entity("plate")),))


@pytest.mark.parametrize(("name", "words"), SUPERLATIVES.items())
def test_read_entity__every_word_of_a_superlative(name: str, words: tuple[str, ...]) -> None:
    for word in words:
        assert read_entity(parse(f"[{word}<1 cup<1]")) == Entity(f"{word} cup", (), (name,))


def test_sentence__chunk_keeps_its_spelling() -> None:
    words = Word("man", 1, ""), Word("'s", 2), Word("hat", 2, " ")
    assert Sentence(words, ((0, 3),)).chunk_text((0, 3)) == "man's hat"


def test_sentence__root_of_a_chunk_is_the_word_nearest_to_the_sentences() -> None:
    sentence = parse("goes<0 in<0 [old<4 red<4 shirt<1]")
    assert sentence.chunk_root((2, 5)) == 4


@pytest.mark.parametrize(
    ("words", "chunks", "reason"),
    [
        ((Word("a", 1), Word("b", 0)), (), "circle"),
        ((Word("a", 5),), (), "outside"),
        ((Word("a", 0),), ((0, 3),), "outside"),
    ],
)
def test_sentence__malformed(words: tuple, chunks: tuple, reason: str) -> None:
    with pytest.raises(AlphaClipError, match=reason):
        Sentence(words, chunks)


@pytest.mark.parametrize(
    ("name", "pairs"),
    [
        ("left", [(0, 1), (0, 2), (1, 2)]),
        ("right", [(1, 0), (2, 0), (2, 1)]),
        ("above", [(2, 0), (2, 1), (0, 1)]),
        ("below", [(0, 2), (1, 2), (1, 0)]),
        ("bigger", [(1, 0), (1, 2), (2, 0)]),
        ("smaller", [(0, 1), (2, 1), (0, 2)]),
    ],
)
def test_relation__holds_between(name: str, pairs: list[tuple[int, int]]) -> None:
    expected = np.zeros((3, 3))
    for one, other in pairs:
        expected[one, other] = 1
    assert (relation(name, np.array(BOXES)) == expected).all()


def test_relation__equal_boxes_are_in_no_order() -> None:
    boxes = np.array([LEFT, LEFT])
    for name in ("left", "right", "above", "below", "bigger", "smaller"):
        assert not relation(name, boxes).any()


def test_relation__inside_is_the_share_of_the_first() -> None:
    boxes = np.array([[0, 0, 10, 10], [5, 0, 10, 10], [0, 0, 20, 20], [3, 3, 0, 5]], float)
    expected = [[1, 0.5, 1, 0], [0.5, 1, 1, 0], [0.25, 0.25, 1, 0], [0, 0, 0, 0]]
    assert np.allclose(relation("inside", boxes), expected)


def test_decide__relation_moves_the_answer() -> None:
    entity = read_entity(parse(DOG_LEFT_OF_CAT))
    fits = {
        "dog": np.array([0.2, 0.3, 0.5]),
        "the dog": np.array([0.3, 0.3, 0.4]),
        "the cat": np.array([0.1, 0.8, 0.1]),
    }
    likely = decide("dog", entity, fits, BOXES)
    # left of a cat: box 0 by 0.8 + 0.1, box 1 by 0.1, box 2 by nothing
    expected = np.array([0.2 * 0.3 * 0.9, 0.3 * 0.3 * 0.1, 0.0])
    assert np.allclose(likely, expected / expected.sum())
    assert likely.argmax() == 0


def test_decide__superlative_weighs_by_whom_it_is_compared_with() -> None:
    fits = {"x": np.array([0.2, 0.3, 0.5]), "the man": np.array([0.2, 0.3, 0.5])}
    likely = decide("x", Entity("the man", (), ("left",)), fits, BOXES)
    # 0 is left of 0.3 + 0.5, 1 of 0.5, 2 of none
    expected = np.array([0.2 * 0.2 * 0.8, 0.3 * 0.3 * 0.5, 0.0])
    assert np.allclose(likely, expected / expected.sum())


def test_decide__what_holds_for_no_box_is_passed_over() -> None:
    fits = {"x": np.array([0.4, 0.6]), "the man": np.array([0.3, 0.7])}
    likely = decide("x", Entity("the man", (), ("left",)), fits, (LEFT, LEFT))
    assert np.allclose(likely, np.array([0.12, 0.42]) / 0.54)


def test_decide__without_entity_or_choice() -> None:
    fits = {"x": np.array([0.4, 0.6])}
    assert (decide("x", None, fits, (LEFT, RIGHT)) == fits["x"]).all()
    one = {"x": np.array([1.0])}
    assert decide("x", Entity("unknown", (), ("left",)), one, (LEFT,)) == [1.0]

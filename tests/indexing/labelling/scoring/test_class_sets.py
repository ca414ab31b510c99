"""Classes as lines of text, and classes that are kept with a dataset."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.labelling.scoring import class_sets
from alphaclip.indexing.labelling.scoring.class_sets import (
    class_set_names,
    classes_from_text,
    classes_to_text,
    save_classes,
    saved_classes,
)
from alphaclip.indexing.labelling.scoring.classes import LabelClass

BIRD = LabelClass("bird", ("a bird", "a flying bird"), ("a kite",), (), "animal", ("fowl", "Vogel"))


@pytest.mark.parametrize(
    ("text", "classes"),
    [
        ("", []),
        ("ant\n\n  bee  \r\n", [LabelClass("ant"), LabelClass("bee")]),
        ("ant: an ant", [LabelClass("ant", ("an ant",))]),
        (
            "bird: a bird, a flying bird; not: a kite; kind of: animal; also: fowl, Vogel",
            [BIRD],
        ),
        ("ant: not: a bee", [LabelClass("ant", negatives=("a bee",))]),
        ("ant; KIND OF : insect;", [LabelClass("ant", parent="insect")]),
        ("not: also", [LabelClass("not", ("also",))]),
        (
            '"scale 1:2": "a model, small", "the ""tiny"" one"',
            [
                LabelClass("scale 1:2", ("a model, small", 'the "tiny" one')),
            ],
        ),
        ('5" pipe: a 5" pipe', [LabelClass('5" pipe', ('a 5" pipe',))]),
        ("été: 猫, 犬", [LabelClass("été", ("猫", "犬"))]),
    ],
)
def test_classes_from_text__a_line_is_a_class(text: str, classes: list[LabelClass]) -> None:
    assert classes_from_text(text) == classes


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (": a cat", "begin with a name"),
        ("cat, dog", "begin with a name"),
        ("; kind of: animal", "begin with a name"),
        ("cat:", "prompts is empty"),
        ("cat: a cat,", "prompts is empty"),
        ("cat: a cat; not:", "negatives is empty"),
        ('cat: "  "', "prompts is empty"),
        ("cat: a cat; a dog", "'a dog' does not say what it gives"),
        ("cat: a cat; or: a dog", "'or' does not say"),
        ("cat: scale 1:2", "colon after a text"),
        ("cat: also: scale 1:2", "colon after a text"),
        ("cat; not: a; not: b", "negatives in two places"),
        ("cat; kind of: a, b", "kind of 2 classes"),
        ('cat: "a cat', "do not end"),
        ('cat: "a" cat', "end before the text"),
        ('cat: "a"b"', "end before the text"),
    ],
)
def test_classes_from_text__says_which_line_and_what_is_expected(line: str, message: str) -> None:
    with pytest.raises(AlphaClipError, match=f"line 3: .*{message}.*; expected 'name', or"):
        classes_from_text(f"ant\n\n{line}\nbee")


@pytest.mark.parametrize(
    "classes",
    [
        ["animal", BIRD],
        [LabelClass("a; b", ("x: y", " padded ", '"quoted"', 'in "the" middle'), synonyms=(",",))],
        [LabelClass("ant", negatives=("not", "also"), synonyms=("kind of",))],
    ],
)
def test_classes_to_text__reads_the_same(classes: Any) -> None:
    wanted = [LabelClass.from_dict(one) if isinstance(one, str) else one for one in classes]
    assert classes_from_text(classes_to_text(classes)) == wanted


def test_classes_to_text__without_examples() -> None:
    assert classes_to_text(["ant", LabelClass("part 17", examples=("x",))]) == "ant\npart 17"
    assert classes_to_text(["animal", BIRD]) == (
        "animal\nbird: a bird, a flying bird; not: a kite; kind of: animal; also: fowl, Vogel"
    )


def test_classes_to_text__a_line_break_is_told() -> None:
    with pytest.raises(AlphaClipError, match="line break"):
        classes_to_text([LabelClass("ant", ("an\nant",))])


def test_classes_from_text__is_quick_whatever_is_typed() -> None:
    start = time.monotonic()
    assert len(classes_from_text("\n".join(f"kind {i}: a, b" for i in range(10_000)))) == 10_000
    for text in (" " * 100_000 + "x", '"' * 100_001, '"a' * 50_000, "a" + " " * 100_000 + ",b"):
        try:
            classes_from_text(text)
        except AlphaClipError as error:
            assert len(str(error)) < 400
    assert time.monotonic() - start < 5


def test_save_classes__gives_them_back(dataset_factory: Callable) -> None:
    dataset = dataset_factory()
    assert class_set_names(dataset) == []
    some = ["animal", BIRD, LabelClass("part 17", examples=("0" * 24,))]
    save_classes(dataset, "draft", some)
    save_classes(dataset, "a_1", ["ant"])
    assert class_set_names(dataset) == ["a_1", "draft"]
    assert saved_classes(dataset, "draft") == [LabelClass("animal"), *some[1:]]
    save_classes(dataset, "draft", ["bee"])
    assert saved_classes(dataset, "draft") == [LabelClass("bee")]


def test_saved_classes__names_what_there_is(dataset_factory: Callable) -> None:
    dataset = dataset_factory()
    with pytest.raises(AlphaClipError, match="no class set 'draft'; it has: none"):
        saved_classes(dataset, "draft")
    save_classes(dataset, "other", ["ant"])
    with pytest.raises(AlphaClipError, match="no class set 'draft'; it has: other"):
        saved_classes(dataset, "draft")


@pytest.mark.parametrize("name", ["", "Draft", "1st", "a" * 65, "a\n", "../a", "a b", None, 3])
def test_class_sets__bad_names(dataset_factory: Callable, name: Any) -> None:
    dataset = dataset_factory()
    with pytest.raises(AlphaClipError, match=r"expected a (text|lowercase letter)"):
        save_classes(dataset, name, ["ant"])
    with pytest.raises(AlphaClipError, match=r"expected a (text|lowercase letter)"):
        saved_classes(dataset, name)


def test_save_classes__refuses_what_cannot_be_used(
    dataset_factory: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = dataset_factory()
    with pytest.raises(AlphaClipError, match="two classes"):
        save_classes(dataset, "draft", ["ant", "Ant"])
    monkeypatch.setattr(class_sets, "MOST_KEPT", 20)
    with pytest.raises(AlphaClipError, match="keeps 20 at most"):
        save_classes(dataset, "draft", ["ant", "bee"])
    assert class_set_names(dataset) == []

"""Classes and their hierarchy."""

import time

import pytest

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.labelling.scoring.classes import ClassSet, LabelClass

BIRDS = ClassSet(
    [
        {"name": "animal"},
        {"name": "bird", "parent": "animal"},
        LabelClass("sparrow", parent="bird", synonyms=("house sparrow",)),
        LabelClass("finch", parent="Bird"),
        "car",
    ]
)


def test_label_class__the_name_is_the_prompt_unless_there_is_another_or_examples() -> None:
    assert LabelClass("car").texts == ("car",)
    assert LabelClass("car", prompts=["a red car"]).texts == ("a red car",)
    assert LabelClass("part 17", examples=["abc"]).texts == ()


def test_label_class__in_json_and_back() -> None:
    full = LabelClass("a", ("b",), ("c",), ("d",), "e", ("f",))
    assert LabelClass.from_dict(full.to_dict()) == full
    assert LabelClass("a").to_dict() == {"name": "a"}
    assert LabelClass("a", examples=("d",)).to_dict() == {"name": "a", "examples": ["d"]}


def test_class_set__finds_names_and_synonyms_whatever_their_case() -> None:
    assert BIRDS.number("House  Sparrow") == BIRDS.number("sparrow") == 2
    assert BIRDS.number(None) == 5 and BIRDS.name(5) is None and BIRDS.name(4) == "car"
    assert BIRDS.names == ["animal", "bird", "sparrow", "finch", "car"]


def test_class_set__lineages_lead_to_the_root() -> None:
    assert BIRDS.lineages == [(0,), (1, 0), (2, 1, 0), (3, 1, 0), (4,)]
    assert not BIRDS.is_flat and ClassSet(["a", "b"]).is_flat


@pytest.mark.parametrize(
    ("answer", "truth", "right"),
    [
        ("bird", "sparrow", True),
        ("animal", "finch", True),
        ("sparrow", "bird", False),
        ("finch", "sparrow", False),
        ("house sparrow", "sparrow", True),
        (None, None, True),
        (None, "car", False),
        ("car", None, False),
    ],
)
def test_is_right__for_the_truth_and_what_it_is_a_kind_of(
    answer: str | None, truth: str | None, right: bool
) -> None:
    assert BIRDS.is_right(BIRDS.number(answer), BIRDS.number(truth)) is right


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ([], "0 classes"),
        ("apple", "expected a list"),
        ([" "], "expected some text"),
        ([{"name": "a", "prompts": []}], "empty list of prompts and no examples"),
        ([{"name": "a", "prompt": "b"}], "an object of name, prompts"),
        ([{"prompts": ["b"]}], "expected a name"),
        ([3], "expected a name"),
        ([{"name": "a", "prompts": "b"}], "expected a list of texts"),
        ([{"name": "a", "negatives": [""]}], "none empty"),
        (["Apple", "apple "], "two classes"),
        (["a", {"name": "b", "synonyms": ["A"]}], "'a' is a name or synonym of two"),
        ([{"name": "a", "parent": "b"}], "parent 'b', which is no class"),
        ([{"name": "a", "parent": "b"}, {"name": "b", "parent": "a"}], "its own ancestor"),
        ([{"name": "a", "parent": "a"}], "its own ancestor"),
    ],
)
def test_class_set__refuses_what_cannot_be_told_apart(classes: list, message: str) -> None:
    with pytest.raises(AlphaClipError, match=message):
        ClassSet(classes)


def test_place__names_what_there_is() -> None:
    with pytest.raises(AlphaClipError, match="'dog' is none of the 5 classes \\(animal, bird"):
        BIRDS.number("dog")


def test_class_set__takes_10_000_classes() -> None:
    start = time.monotonic()
    classes = ClassSet(
        [LabelClass(f"kind {i}", parent="kind 0" if i else None) for i in range(10_000)]
    )
    assert len(classes.lineages) == 10_000 and classes.number("kind 9999") == 9999
    assert time.monotonic() - start < 10

"""What regions would be taken for, and what else they may be."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import fiftyone as fo
import numpy as np
import pytest

from alphaclip.errors import AlphaClipError, MissingWeightsError
from alphaclip.indexing import build
from alphaclip.indexing.act.acting import history
from alphaclip.indexing.labelling.review.previewing import (
    ClassPreview,
    alternatives,
    preview_classes,
    review_choices,
)
from alphaclip.indexing.labelling.review.runs import Labelling, labelled_fields, labelling_of
from alphaclip.indexing.labelling.scoring.classes import LabelClass
from alphaclip.indexing.region_index import RegionIndex

from ..conftest import ToyEncoder

CLASSES = ("ant", "bee", "cat")
QUIET: dict[str, Any] = {"progress": lambda *_: None}

PICTURES = [[(0, 0.3), (1, 0.2)], [(0, 0.1), (0, 0.2), (2, 0.05)]]
"""Three ants, of which the second is the surest, a bee and a cat."""


@pytest.fixture
def dataset(make_dataset: Callable) -> fo.Dataset:
    return make_dataset(PICTURES)


@pytest.fixture
def index(dataset: fo.Dataset, make_index: Callable) -> RegionIndex:
    return make_index(dataset)


def ids(dataset: fo.Dataset) -> list[str]:
    return dataset.values("boxes.detections.id", unwind=True)


def counts(previews: Sequence[ClassPreview]) -> dict[str | None, int]:
    return {one.name: one.count for one in previews}


def test_preview_classes__counts_and_the_surest(dataset: fo.Dataset, index: RegionIndex) -> None:
    previews = preview_classes(index, CLASSES, **QUIET)
    assert counts(previews) == {"ant": 3, "bee": 1, "cat": 1, None: 0}
    own = ids(dataset)
    assert previews[0].hits.label_ids.tolist() == [own[2], own[3], own[0]]
    assert previews[0].hits.sample_ids.tolist() == [
        s.id for s in (*[dataset.last()] * 2, dataset.first())
    ]
    assert (np.diff(previews[0].hits.scores) < 0).all()
    assert [one.hits.label_ids.tolist() for one in previews[1:]] == [[own[1]], [own[4]], []]
    assert len(previews[3].hits) == 0 and len(previews[0].hits.view()) == 3


def test_preview_classes__are_those_of_a_run(index: RegionIndex) -> None:
    classes = ["cat", LabelClass("insect", ("bee",)), LabelClass("ant", parent="insect")]
    previews = preview_classes(index, classes, **QUIET)
    report = index.label(classes, **QUIET)
    assert {line.name: line.answered for line in report.classes} == {
        one.name: one.count for one in previews if one.name
    }


def test_preview_classes__writes_nothing(dataset: fo.Dataset, index: RegionIndex) -> None:
    dataset.reload()
    before = dataset.get_field_schema(flat=True).keys(), dataset.last_modified_at
    preview_classes(index, CLASSES, {ids(dataset)[0]: "ant"}, **QUIET)
    dataset.reload()
    assert (dataset.get_field_schema(flat=True).keys(), dataset.last_modified_at) == before
    assert labelled_fields(dataset) == [] and not history(dataset)


@pytest.mark.parametrize(("examples", "shown"), [(2, 2), (0, 0), (9, 3)])
def test_preview_classes__shows_so_many(index: RegionIndex, examples: int, shown: int) -> None:
    ant = preview_classes(index, CLASSES, examples=examples, **QUIET)[0]
    assert (ant.count, len(ant.hits)) == (3, shown)


def test_preview_classes__none_of_these_is_learned(
    make_dataset: Callable, make_index: Callable
) -> None:
    dataset = make_dataset([[(0, 0.1), (0, 0.45), (0, 0.5)]])
    own = ids(dataset)
    previews = preview_classes(make_index(dataset), CLASSES, dict.fromkeys(own[1:]), **QUIET)
    assert counts(previews) == {"ant": 2, "bee": 0, "cat": 0, None: 1}
    assert previews[-1].hits.label_ids.tolist() == [own[2]], "95 of 100 background regions"


def test_preview_classes__encodes_what_is_new(dataset: fo.Dataset) -> None:
    asked: list[str] = []

    class Counting(ToyEncoder):
        fingerprint = "counted in previews"

        def encode_text(self, prompts: Any, templates: Any = None) -> np.ndarray:
            asked.extend(prompts)
            return super().encode_text(prompts, templates)

    index = build(dataset, "boxes", Counting(), "counted", **QUIET)
    preview_classes(index, ["ant", "bee"], **QUIET)
    preview_classes(index, ["ant", "cat"], **QUIET)
    alternatives(index, ["cat", "bee"], ids(dataset))
    assert asked == ["ant", "bee", "cat"]


def test_preview_classes__says_how_far_it_is(dataset: fo.Dataset) -> None:
    class Fresh(ToyEncoder):
        fingerprint = "never asked before"

    told: list[tuple[str, int, int]] = []
    index = build(dataset, "boxes", Fresh(), "fresh", **QUIET)
    preview_classes(index, CLASSES, progress=lambda *one: told.append(one))
    assert told == [("prompts encoded", 3, 3), ("regions scored", 5, 5)]


@pytest.mark.parametrize(
    ("classes", "options", "message"),
    [
        ([], {}, "0 classes"),
        (["ant", "Ant"], {}, "two classes"),
        (CLASSES, {"examples": -1}, "examples is -1"),
        (CLASSES, {"examples": "6"}, "examples is '6'"),
        (CLASSES, {"training": {"0" * 24: "ant"}}, "not in index"),
        (CLASSES, {"templates": ["a photo"]}, "has no {}"),
        ([{"name": n, "examples": ["0" * 24]} for n in CLASSES], {}, "is an example of 'bee' and"),
    ],
)
def test_preview_classes__bad_input(
    index: RegionIndex, classes: Any, options: dict, message: str
) -> None:
    with pytest.raises(AlphaClipError, match=message):
        preview_classes(index, classes, **options, **QUIET)


def test_preview_classes__without_text_weights(dataset: fo.Dataset) -> None:
    class Blind(ToyEncoder):
        fingerprint = "without text"

        def encode_text(self, prompts: Any, templates: Any = None) -> np.ndarray:
            raise MissingWeightsError("the text tower has no weights")

    index = build(dataset, "boxes", Blind(), "blind", **QUIET)
    with pytest.raises(AlphaClipError, match="labels start from the classes' names"):
        preview_classes(index, CLASSES, **QUIET)


def test_alternatives__the_likeliest_first(dataset: fo.Dataset, index: RegionIndex) -> None:
    own = ids(dataset)
    found = alternatives(index, ("cat", "bee", "ant"), [own[4], own[0]])
    assert found == {own[4]: ["cat", "ant", "bee"], own[0]: ["ant", "bee", "cat"]}
    assert list(found) == [own[4], own[0]], "in the order that was asked"
    assert alternatives(index, CLASSES, own[:1], count=2) == {own[0]: ["ant", "bee"]}


def test_alternatives__leaves_out_what_it_cannot_tell(
    dataset: fo.Dataset, index: RegionIndex
) -> None:
    own = ids(dataset)
    assert alternatives(index, CLASSES, ["0" * 24, "", "é", own[1]]).keys() == {own[1]}
    assert alternatives(index, CLASSES, []) == {}
    by_example = LabelClass("bee", examples=(own[2],))
    assert alternatives(index, ["ant", by_example], own[:1]) == {own[0]: ["ant"]}


def test_alternatives__without_none_of_these(dataset: fo.Dataset, index: RegionIndex) -> None:
    own = ids(dataset)
    found = alternatives(index, CLASSES, own, {own[0]: None})
    assert all(set(names) == set(CLASSES) for names in found.values())


@pytest.mark.parametrize("count", [0, -1, True, 2.5, None])
def test_alternatives__bad_count(index: RegionIndex, count: Any) -> None:
    with pytest.raises(AlphaClipError, match="count is"):
        alternatives(index, CLASSES, [], count=count)


def test_review_choices__what_it_was_taken_for_comes_first(
    dataset: fo.Dataset, index: RegionIndex
) -> None:
    own = ids(dataset)
    index.label(CLASSES, precision=0.9, **QUIET)
    labelling = labelling_of(dataset, "auto")
    assert labelling is not None
    assert review_choices(index, labelling, own[:1]) == {own[0]: ["ant", "bee", "cat"]}
    other = replace(labelling, answers={own[0]: "cat", own[1]: None})
    assert review_choices(index, other, [*own[:2], "gone"], count=2) == {
        own[0]: ["cat", "ant"],
        own[1]: ["bee", "cat"],
        "gone": ["ant", "bee"],
    }


def test_review_choices__of_classes_that_were_too_many_to_be_kept(
    dataset: fo.Dataset, index: RegionIndex
) -> None:
    own = ids(dataset)
    without = Labelling("auto", index.key, classes=("x", "y", "z"), answers={own[0]: "z"})
    assert review_choices(index, without, own[:1]) == {own[0]: ["z", "x", "y"]}

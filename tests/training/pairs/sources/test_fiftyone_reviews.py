"""Pairs from reviewed regions: what people said, and what is left out."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from alphaclip.indexing.labelling.review.runs import Labelling, add_reviews
from alphaclip.training.pairs.format.reading import open_pairs
from alphaclip.training.pairs.format.records import PairError
from alphaclip.training.pairs.sources.fiftyone_pairs import pairs_from_dataset

if TYPE_CHECKING:
    import fiftyone as fo

CLASSES = (
    {"name": "owl", "prompts": ["a grey owl", "an owl at night"], "negatives": ["a cat"]},
    {"name": "pear", "synonyms": ["fruit"]},
)


@pytest.fixture
def dataset(dataset_factory: Callable[..., fo.Dataset], tmp_path: Path) -> fo.Dataset:
    """Four pictures of two boxes each, whose labels say nothing."""
    import fiftyone as fo

    made = dataset_factory("reviews")
    for number in range(4):
        path = tmp_path / f"{number}.png"
        Image.new("RGB", (20, 20), (number, 0, 0)).save(path)
        boxes = [fo.Detection(bounding_box=[0.5 * at, 0, 0.5, 1]) for at in range(2)]
        made.add_sample(fo.Sample(str(path), things=fo.Detections(detections=boxes)))
    return made


def _ids(dataset: fo.Dataset) -> list[str]:
    return [str(one) for one in dataset.values("things.detections.id", unwind=True)]


def _label(dataset: fo.Dataset, into: str = "auto", drawn: int = 0, **kept: Any) -> list[str]:
    """The state after a run that drew the last regions as its sample; returns all label ids."""
    ids = _ids(dataset)
    sample = {"label_ids": ids[len(ids) - drawn :], "seed": 0, "candidates": len(ids)}
    draws = ({**sample, "per_class": False},) if drawn else ()
    Labelling(into, "regions", draws=draws, **{"class_set": CLASSES, **kept}).save(dataset)
    return ids


def _made(folder: Path) -> dict[str, tuple[str | None, tuple[str, ...], tuple[str, ...]]]:
    """Label, texts and negatives of all pairs, by label id."""
    found = {}
    for picture in open_pairs(folder / "train").pictures():
        found |= {one.id: (one.label, one.texts, one.negatives) for one in picture.regions}
    return found


def test_texts__are_the_prompts_of_what_people_named(dataset: fo.Dataset, tmp_path: Path) -> None:
    """Or the name in the templates; a synonym stands for its class; others are named as typed."""
    ids = _label(dataset)
    said = {ids[0]: "OWL", ids[1]: "fruit", ids[2]: "stone", ids[3]: None}
    add_reviews(dataset, "auto", said, skipped=[ids[4]])
    (report,) = pairs_from_dataset(
        dataset, "things", tmp_path, validation=0, reviews="auto"
    ).values()
    assert _made(tmp_path) == {
        ids[0]: ("owl", ("a grey owl", "an owl at night"), ("a cat",)),
        ids[1]: ("pear", ("pear", "a pear"), ()),
        ids[2]: ("stone", ("stone", "a stone"), ()),
    }
    assert (report.items, report.left_out.counts) == (2, {"none of the classes": 1})


def test_classes__of_a_run_that_kept_none_are_names(dataset: fo.Dataset, tmp_path: Path) -> None:
    ids = _label(dataset, class_set=())
    add_reviews(dataset, "auto", {ids[0]: "owl"})
    options = {"templates": ("the {}",), "validation": 0, "reviews": "auto"}
    (report,) = pairs_from_dataset(dataset, "things", tmp_path, **options).values()  # type: ignore[arg-type]
    assert _made(tmp_path) == {ids[0]: ("owl", ("the owl",), ())}
    assert report.left_out.counts == {"not reviewed": 1}


def test_promise__its_sample_is_never_a_pair(dataset: fo.Dataset, tmp_path: Path) -> None:
    """Nor are regions that reviewers disagree on."""
    ids = _label(dataset, drawn=4)
    add_reviews(dataset, "auto", dict.fromkeys(ids, "pear"), reviewer="one")
    add_reviews(dataset, "auto", {ids[1]: "owl"}, reviewer="another")
    pairs_from_dataset(dataset, "things", tmp_path, validation=0, reviews="auto")
    assert sorted(_made(tmp_path)) == sorted([ids[0], ids[2], ids[3]])


def test_deleted__regions_are_left_out_and_counted(
    dataset: fo.Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ids = _label(dataset)
    add_reviews(dataset, "auto", {ids[0]: "owl", ids[2]: "pear"})
    dataset.delete_labels(ids=[ids[0]], fields="things")
    with caplog.at_level(logging.INFO, logger="alphaclip"):
        pairs_from_dataset(dataset, "things", tmp_path / "a", validation=0, reviews="auto")
    assert list(_made(tmp_path / "a")) == [ids[2]]
    assert "reviewed in 1 of 4 pictures (2 of a class and 0 of none); 1 of these" in caplog.text
    dataset.delete_labels(ids=[ids[2]], fields="things")
    with pytest.raises(PairError, match="none of the 2 reviewed regions is in field 'things'"):
        pairs_from_dataset(dataset, "things", tmp_path / "b", reviews="auto")


def test_split__is_of_the_reviewed_pictures(dataset: fo.Dataset, tmp_path: Path) -> None:
    ids = _label(dataset, into="things.found")
    add_reviews(dataset, "things.found", dict.fromkeys(ids[:4], "owl"))
    reports = pairs_from_dataset(
        dataset, "things", tmp_path, validation=0.5, reviews="things.found"
    )
    assert [report.regions for report in reports.values()] == [2, 2]


def test_another_answer__is_another_set(dataset: fo.Dataset, tmp_path: Path) -> None:
    """The same answers go on; one more does not."""
    ids = _label(dataset)
    add_reviews(dataset, "auto", {ids[0]: "owl"})
    for _ in range(2):
        pairs_from_dataset(dataset, "things", tmp_path, validation=0, reviews="auto")
    made = json.loads((tmp_path / "train" / "plan.json").read_text())["settings"]["made"]
    assert made["reviews"] == "auto"
    add_reviews(dataset, "auto", {ids[0]: "pear"})
    with pytest.raises(PairError, match="reviewed"):
        pairs_from_dataset(dataset, "things", tmp_path, validation=0, reviews="auto")


@pytest.mark.parametrize("into", ["other", "", "../up", "auto."])
def test_place__that_nobody_labelled_into(dataset: fo.Dataset, tmp_path: Path, into: str) -> None:
    _label(dataset)
    with pytest.raises(PairError, match="was labelled into: auto"):
        pairs_from_dataset(dataset, "things", tmp_path / "set", reviews=into)
    assert not (tmp_path / "set").exists()


def test_reviews__that_name_no_class(dataset: fo.Dataset, tmp_path: Path) -> None:
    """None at all, none of these, skipped, or all of the promise's sample."""
    ids = _label(dataset, drawn=2)
    message = r"\(0 are none of the classes; 0 answers are of the promise's sample"
    with pytest.raises(PairError, match=message):
        pairs_from_dataset(dataset, "things", tmp_path / "set", reviews="auto")
    answers = {**dict.fromkeys(ids[:3]), **dict.fromkeys(ids[6:], "owl")}
    add_reviews(dataset, "auto", answers, skipped=[ids[3]])
    message = r"\(3 are none of the classes; 2 answers are of the promise's sample"
    with pytest.raises(PairError, match=message):
        pairs_from_dataset(dataset, "things", tmp_path / "set", reviews="auto")
    assert not (tmp_path / "set").exists()


def test_text__and_reviews_exclude_each_other(dataset: fo.Dataset, tmp_path: Path) -> None:
    _label(dataset)
    with pytest.raises(PairError, match="leave one out"):
        pairs_from_dataset(dataset, "things", tmp_path, text=("note",), reviews="auto")


def test_texts__a_label_that_was_copied_to_another_picture(
    dataset: fo.Dataset, tmp_path: Path
) -> None:
    """What people said of one says nothing of the other, unless it is named."""
    import fiftyone as fo

    ids, first = _label(dataset), dataset.first()
    path = tmp_path / "copy.png"
    Image.new("RGB", (20, 20), (99, 0, 0)).save(path)
    copied = fo.Detections.from_dict(first.things.to_dict())
    sample_id = dataset.add_sample(fo.Sample(str(path), things=copied))
    for said, expected in (
        ({ids[0]: "owl"}, {(first.id, ids[0]): "owl"}),
        (
            {f"{sample_id}-{ids[0]}": "pear"},
            {(first.id, ids[0]): "owl", (sample_id, ids[0]): "pear"},
        ),
    ):
        add_reviews(dataset, "auto", said)
        folder = tmp_path / str(len(expected))
        pairs_from_dataset(dataset, "things", folder, validation=0, reviews="auto")
        pictures = list(open_pairs(folder / "train").pictures())
        made = {(picture.key, one.id): one.label for picture in pictures for one in picture.regions}
        assert made == expected

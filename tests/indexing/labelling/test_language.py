"""A language model in the place of the vectors: labels under a promise, and errors of labels.

The pictures are no pictures, so that a model which sees vectors must not open them.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest

from alphaclip.cli import main
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.explore.label_errors import find_label_errors
from alphaclip.indexing.labelling.report_words import summary_lines
from alphaclip.indexing.labelling.review.runs import labelling_of
from alphaclip.indexing.labelling.scoring.classes import ClassSet, LabelClass
from alphaclip.indexing.labelling.scoring.language import ask_classes
from alphaclip.indexing.region_index import RegionIndex
from alphaclip.language import Answers, Caption, Describer, Question, loading
from alphaclip.language.describer import Item
from alphaclip.views.prefetch import Failure, OnError

from .conftest import KINDS

CLASSES = (LabelClass("ant", ("emmet",)), LabelClass("bee", ("bee", "drone")), LabelClass("cat"))
"""The encoder of these tests has no vector for the word "emmet"."""

KIND_OF = {"emmet": 0, "bee": 1, "drone": 1, "cat": 2, "nothing": 3}
TRUTH = "boxes.detections.truth"
QUIET = {"progress": lambda *_: None}


class Naming(Describer):
    """Takes a region for a kind as far as its vector is of it, or knows nothing; likes the first
    choice best whatever it sees."""

    name, sees = "naming", "vectors"

    def __init__(
        self, knows: bool = True, fails_at: int | None = None, ends_at: int | None = None
    ) -> None:
        self.knows, self.fails_at, self.ends_at = knows, fails_at, ends_at
        self.asked, self.seen = list[str](), 0
        self.rng = np.random.default_rng(0)

    @property
    def fingerprint(self) -> str:
        return f"{self.knows} {self.fails_at}"

    def describe_many(self, *_: object, **__: object) -> Iterator[list[Caption]]:
        raise NotImplementedError

    def ask_many(
        self,
        items: Iterable[Item],
        questions: Sequence[Question],
        on_error: OnError | None = None,
    ) -> Iterator[list[Answers]]:
        (question,) = questions
        self.asked.append(question.text)
        for number, (vectors, regions, attributes) in enumerate(items):
            assert vectors.shape == (len(regions), 8) and len(attributes) == len(regions)
            if number == self.ends_at:
                raise KeyboardInterrupt
            self.seen += len(regions)
            prior = np.array([5.0] + [0.0] * (len(question.choices) - 1), np.float32)
            if question.choices == ("yes", "no"):
                kind = KIND_OF[question.text.removeprefix("is it ").removesuffix("?")]
                evidence = 10 * np.stack([vectors[:, kind], 1 - vectors[:, kind]], axis=1)
            else:
                evidence = 10 * vectors[:, [KIND_OF[choice] for choice in question.choices]]
            if not self.knows:
                evidence = self.rng.normal(size=evidence.shape)
            if self.fails_at is not None and number == 0:
                evidence[self.fails_at] = np.nan
                on_error(Failure(number, self.fails_at, AlphaClipError("no number")))
            yield [Answers(question.choices, (prior + evidence).astype(np.float32), prior)]


def pictures() -> list[list[tuple[int, float]]]:
    """Of one region in seven kind and next kind are alike."""
    rng = np.random.default_rng(0)
    unsure = rng.random((60, 4)) < 0.15
    xs = np.where(unsure, rng.uniform(0.4, 0.6, unsure.shape), rng.uniform(0, 0.35, unsure.shape))
    kinds = rng.integers(3, size=unsure.shape)
    return [list(zip(*both, strict=True)) for both in zip(kinds.tolist(), xs.tolist(), strict=True)]


@pytest.fixture
def index(make_dataset: Callable, make_index: Callable) -> RegionIndex:
    return make_index(make_dataset(pictures()))


def written(dataset: fo.Dataset) -> list[fo.Detection]:
    return [one for one in dataset.values("auto.detections", unwind=True) if one is not None]


def test_label__by_a_language_model_under_the_promise(index: RegionIndex) -> None:
    model, options = Naming(), {"precision": 0.9, "reviews": "boxes.truth", **QUIET}
    report = index.label(CLASSES, scorer=model, **options)
    columns = index.dataset.values(["boxes.detections.id", TRUTH], unwind=True)
    truth = dict(zip(*columns, strict=True))
    copies = written(index.dataset)
    assert report.outcome == "done" and report.promise.is_made and len(copies) > 150
    assert np.mean([one.label == truth[one.source_id] for one in copies]) >= 0.9
    assert set(index.dataset.distinct("auto.detections.model")) == {"naming, zero-shot", "review"}
    assert report.run["model"] == labelling_of(index.dataset, "auto").settings["scorer"] == "naming"
    again = index.label(CLASSES, scorer=model, **options)
    assert again.promise == report.promise and again.counts["written"] == 0
    assert set(model.asked) == {"what is it?"} and model.seen == len(index)
    other = index.label(CLASSES, scorer=Naming(fails_at=0), **options)
    assert other.samples == 2  # The promise was of the other model's answers


def test_label__goes_on_where_the_model_was_ended(
    index: RegionIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alphaclip.indexing.retrieval.region_items._TOGETHER", 100)
    with pytest.raises(KeyboardInterrupt):
        index.label(CLASSES, scorer=Naming(ends_at=1), **QUIET)
    model = Naming()
    index.label(CLASSES, scorer=model, **QUIET)
    assert model.seen == len(index) - 100


def test_label__nothing_is_promised_of_a_model_that_knows_nothing(index: RegionIndex) -> None:
    report = index.label(
        CLASSES, scorer=Naming(knows=False), precision=0.9, reviews="boxes.truth", **QUIET
    )
    assert report.outcome == "not reachable" and not report.promise.is_made
    assert {one.model for one in written(index.dataset)} == {"review"}


def test_label__what_a_model_fails_at_gets_no_label(index: RegionIndex) -> None:
    report = index.label(CLASSES, scorer=Naming(fails_at=2), **QUIET)
    first = str(index.snapshot().label_ids[2])
    assert report.counts["not answered"] == 1 and report.counts["none of these"] == 0
    assert report.counts["written"] == len(index) - 1
    assert first not in {one.source_id for one in written(index.dataset)}
    assert "1 region not answered by the model." in summary_lines(report.to_dict())


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        (CLASSES, lambda kinds: kinds),
        ([LabelClass("ant", ("emmet",), ("bee",)), "cat"], lambda k: k[:, [0, 2]] - _over(k)),
        (["cat"], lambda kinds: 2 * kinds[:, 2:] - 1),
    ],
)
def test_ask_classes__logits(index: RegionIndex, classes: list, expected: Callable) -> None:
    now = index.snapshot()
    said = ask_classes(index, now, ClassSet(classes), Naming(), lambda *_: None)
    kinds = now.vectors(np.arange(len(now)))[:, :3]
    assert np.allclose(said.scorer.logits(said.evidence), 10 * expected(kinds), atol=1e-2)


def _over(kinds: np.ndarray) -> np.ndarray:
    """So much more a region is a bee than an ant is taken off."""
    return np.stack([np.maximum(kinds[:, 1] - kinds[:, 0], 0), 0 * kinds[:, 0]], axis=1)


def test_find_label_errors__by_a_language_model(index: RegionIndex) -> None:
    words = {"ant": "emmet", "bee": "drone", "cat": "cat"}
    names = [[words[one] for one in some] for some in index.dataset.values(TRUTH)]
    right, names[4][0] = names[4][0], "cat" if names[4][0] != "cat" else "drone"
    index.dataset.set_values("boxes.detections.label", names)
    found = find_label_errors(index, 5, by="language", model=Naming(fails_at=1), **QUIET)
    wrong = index.dataset.skip(4).first().boxes.detections[0].id
    assert (found.judged_by, found.judged, found.left_out) == ("language", 239, 1)
    assert (found.hits.label_ids[0], found.suggested[0], found.is_sure[0]) == (wrong, right, True)
    assert found.agreement > 0.85 and 0 <= found.hits.scores[0] < 0.1 < found.suggested_scores[0]


def test_label__by_a_language_model_in_a_shell(
    index: RegionIndex, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(loading, "load", lambda name, device: Naming())
    classes = tmp_path / "classes.json"
    classes.write_text(json.dumps([one.to_dict() for one in CLASSES]))
    command = ["label", index.dataset.name, index.key, "--classes", str(classes)]
    assert main([*command, "--scorer", "some/model"]) == 0
    assert {one.label for one in written(index.dataset)} == set(KINDS[:3])

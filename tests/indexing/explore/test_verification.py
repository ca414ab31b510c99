"""A second look at hits, by a detector or by a language model."""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest

from alphaclip.cli import main
from alphaclip.detectors import phrase_detectors
from alphaclip.detectors.boxes import FoundBox
from alphaclip.errors import AlphaClipError
from alphaclip.indexing import verify
from alphaclip.indexing.region_index import RegionIndex
from alphaclip.language import Answers, Caption, Describer, Question, loading
from alphaclip.language.describer import Item
from alphaclip.language.questions import fill
from alphaclip.regions.images import open_image
from alphaclip.views.prefetch import Failure, OnError

LABELS = ["boxes.detections.id", "boxes.detections.label"]


class Seeing:
    """Sees the words at one box of every picture, and counts its looks."""

    name = "seeing"

    def __init__(self, box: Sequence[float], score: float = 0.8) -> None:
        x, y, w, h = box
        self.box, self.looks = FoundBox((x, y, x + w, y + h), score), 0

    def ground(self, image: np.ndarray, phrases: Sequence[str]) -> list[list[FoundBox]]:
        self.looks += 1
        return [[self.box] for _ in phrases]


def test_verify__what_is_seen_comes_first(dataset: fo.Dataset, index: RegionIndex) -> None:
    """Neighbours of each picture overlap by 1/2, so each box is on one region and two others."""
    hits = index.search("red apple", k=None)
    boxes = {d.id: d.bounding_box for d in dataset.values("boxes.detections", unwind=True)}
    last = hits.label_ids[-1]
    detector = Seeing(boxes[last])
    verified = verify(hits, "red apple", detector, least_overlap=0.9, progress=False)
    seen = [label for label in hits.label_ids.tolist() if boxes[label] == boxes[last]]
    others = [label for label in hits.label_ids.tolist() if label not in seen]
    assert last in seen and detector.looks == len(dataset)
    assert verified.hits.label_ids.tolist() == seen + others
    assert np.allclose(verified.detected, [0.8] * len(seen) + [0] * len(others))
    assert hits.label_ids[verified.ranks].tolist() == verified.hits.label_ids.tolist()
    assert np.array_equal(verified.hits.scores, hits.scores[verified.ranks])
    assert (np.diff(verified.hits.rank_scores) < 0).all()
    assert f"the words are seen in {len(seen)}" in str(verified)


def test_verify__only_the_best_are_looked_at(dataset: fo.Dataset, index: RegionIndex) -> None:
    hits = index.search("red apple", k=None)
    detector = Seeing([0.9, 0.9, 0.1, 0.1])
    verified = verify(hits, "red apple", detector, most=1, progress=False)
    assert detector.looks == 1 and verified.hits.label_ids.tolist() == hits.label_ids.tolist()
    assert verified.detected[0] == 0 and np.isnan(verified.detected[1:]).all()
    assert len(verify(hits.take(slice(0)), "x", detector, progress=False).hits) == 0


def test_verify__boxes_without_area_are_skipped(dataset: fo.Dataset, index: RegionIndex) -> None:
    hits = index.search("red apple", k=None)
    verified = verify(hits, "red apple", Seeing([0.2, 0.2, 0, 0.3]), progress=False)
    assert len(verified.skipped) == len(dataset) and np.isnan(verified.detected).all()
    assert all("has no area" in skipped.reason for skipped in verified.skipped)


def test_verify__a_picture_that_is_gone_is_skipped(dataset: fo.Dataset, index: RegionIndex) -> None:
    hits = index.search("red apple", k=None)
    Path(dataset.first().filepath).unlink()
    verified = verify(hits, "red apple", Seeing([0.2, 0.2, 0.3, 0.3]), progress=False)
    assert [skipped.filepath for skipped in verified.skipped] == [dataset.first().filepath]
    assert np.isnan(verified.detected).sum() == len(dataset.first().boxes.detections)
    assert np.isnan(verified.detected[-1]) and "pictures skipped: 1" in str(verified)


def test_verify__without_words(index: RegionIndex) -> None:
    with pytest.raises(AlphaClipError, match="words is empty"):
        verify(index.search("x"), "  ", Seeing([0, 0, 1, 1]))


def test_search__verified_in_a_shell(
    dataset: fo.Dataset,
    index: RegionIndex,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(phrase_detectors, "load_detector", lambda *how: Seeing([0, 0, 1, 1]))
    command = ["search", dataset.name, index.key, "red apple", "--verify", "some/detector"]
    assert main(command) == 0
    told = capsys.readouterr()
    assert "10 hits looked at" in told.err and len(told.out.splitlines()) == 10


class Answering(Describer):
    """Says yes of the regions whose label has this ending, but fails at those of one label."""

    name, sees, fingerprint = "answering", "painted", "0"

    def __init__(self, ending: str, fails_at: str = "") -> None:
        self.ending, self.fails_at, self.questions = ending, fails_at, []

    def describe_many(self, *_: object, **__: object) -> Iterator[list[Caption]]:
        raise NotImplementedError

    def ask_many(
        self,
        items: Iterable[Item],
        questions: Sequence[Question],
        on_error: OnError | None = None,
    ) -> Iterator[list[Answers]]:
        (question,) = questions
        for number, (picture, regions, attributes) in enumerate(items):
            open_image(picture)
            assert len(regions) == len(attributes)
            rows = []
            for at, its in enumerate(attributes):
                label = its["label"]
                try:
                    self.questions.append(fill(question.text, its))
                except AlphaClipError as error:
                    rows.append([np.nan, np.nan])
                    on_error(Failure(number, at, error))
                    continue
                rows.append([2.0, 1.0] if label.endswith(self.ending) else [0.0, 1.0])
                if label == self.fails_at:
                    rows[-1] = [np.nan, np.nan]
                    on_error(Failure(number, at, AlphaClipError("too dark")))
            yield [Answers(question.choices, np.array(rows, np.float32), np.float32(0.5))]


@pytest.mark.parametrize("ending", ["0", "3"])
def test_verify__by_a_question(index: RegionIndex, ending: str) -> None:
    hits = index.search("red apple", k=None)
    model = Answering(ending)
    verified = hits.verify("Is this {label} a {query}?", model, progress=False)
    names = dict(zip(*index.dataset.values(LABELS, unwind=True), strict=True))
    seen = [one for one in hits.label_ids.tolist() if names[one].endswith(ending)]
    others = [one for one in hits.label_ids.tolist() if one not in seen]
    assert verified.hits.label_ids.tolist() == seen + others
    sigmoid = 1 / (1 + np.exp([-1.0] * 3 + [1.0] * 9))
    assert np.allclose(verified.detected, sigmoid)
    assert sorted(model.questions)[0] == "Is this 00 a red apple?"
    up = sum(at > to for to, at in enumerate(verified.ranks.tolist()))
    assert f"of 3 'yes' is likelier than all else, {up} moved up" in str(verified)
    assert verified.question.choices == ("yes", "no")


def test_verify__what_a_model_fails_at(index: RegionIndex) -> None:
    hits = index.search("red apple", k=None)
    verified = verify(hits, "is it bad?", Answering("1", "11"), choices=["no", "yes"])
    assert [skipped.reason for skipped in verified.skipped] == ["too dark"]
    assert np.isnan(verified.detected).sum() == 1 and np.isnan(verified.detected[-1])
    assert str(verified).startswith("11 hits looked at: of 2 'no'")
    assert "regions skipped: 1" in str(verified)


def test_search__asked_about_in_a_shell(
    index: RegionIndex, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(loading, "load", lambda name, device: Answering("3"))
    search = ["search", index.dataset.name, index.key, "red apple", "-k", "12", "--json"]
    assert main([*search, "--question", "is this {label}?"]) == 0
    told = capsys.readouterr()
    assert "of 3 'yes'" in told.err
    assert [json.loads(one)["label"][1] for one in told.out.splitlines()[:3]] == ["3"] * 3


def test_verify__what_cannot_be_asked(index: RegionIndex) -> None:
    hits = index.search(np.ones(192, np.float32))
    with pytest.raises(AlphaClipError, match="of no search for words"):
        hits.verify("is this a {query}?", Answering(""))
    with pytest.raises(AlphaClipError, match="two texts or more"):
        hits.verify("is it?", Answering(""), choices=["yes"])
    with pytest.raises(
        AlphaClipError, match=r"none of 12 regions.* names \{colour\}.*it has .*label"
    ):
        hits.verify("is it {colour}?", Answering(""), progress=False)

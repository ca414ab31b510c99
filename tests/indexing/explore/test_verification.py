"""A second look at hits by a detector."""

from collections.abc import Sequence
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

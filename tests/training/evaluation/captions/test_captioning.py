"""Caption scores, against values worked out by hand or by the papers' formulas."""

import argparse
import json
import math
import os
import shutil
import sys
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from alphaclip.errors import AlphaClipError
from alphaclip.training.datasets.sources import MissingDataError
from alphaclip.training.evaluation.captions import captioning, captions
from alphaclip.training.evaluation.captions.captioning import (
    CaptionScores,
    score_captions,
    score_tokens,
    tokenize,
)
from alphaclip.training.evaluation.captions.captions import (
    CAPTIONS,
    CaptionEntry,
    read_predictions,
    read_references,
)


def test_bleu__by_hand() -> None:
    """Clipped n-grams of both: 7 of 9, 5 of 7, 2 of 5, 1 of 4; 9 tokens, 11 in the references."""
    scores = score_tokens(
        {"1": ["the cat the cat on the mat"], "2": ["a dog"]},
        {
            "1": ["the cat is on the mat", "there is a cat on the mat"],
            "2": ["a dog runs fast"],
        },
    )
    brevity = math.exp(1 - 11 / 9)
    precisions = [7 / 9, 5 / 7, 2 / 5, 1 / 4]
    for n in range(1, 5):
        expected = 100 * brevity * math.prod(precisions[:n]) ** (1 / n)
        assert scores.overall[f"BLEU-{n}"] == pytest.approx(expected, abs=1e-5)
    assert scores.each["BLEU-1"][0] == pytest.approx(100 * 5 / 7, abs=1e-5)
    assert scores.each["BLEU-2"][1] == pytest.approx(100 * math.exp(1 - 4 / 2), abs=1e-5)


def test_rouge__by_hand() -> None:
    """Longest common subsequences: 3 of 4 and 4; and 2 of 2 and 4, where recall weighs 1.2."""
    scores = score_tokens(
        {"1": ["police killed the gunman"], "2": ["a cat"]},
        {"1": ["police kill the gunman"], "2": ["a big cat sat"]},
    )
    second = (1 + 1.2**2) * 1.0 * 0.5 / (0.5 + 1.2**2 * 1.0)
    assert scores.each["ROUGE-L"] == pytest.approx([75.0, 100 * second])
    assert scores.overall["ROUGE-L"] == pytest.approx((75.0 + 100 * second) / 2)


def test_cider__by_hand() -> None:
    """A sentence of rare words equals itself in every n-gram: 10; another shares none: 0."""
    scores = score_tokens(
        {"1": ["one red cat sleeps"], "2": ["five green birds fly"]},
        {"1": ["one red cat sleeps"], "2": ["two dogs run home"]},
    )
    assert scores.each["CIDEr"] == pytest.approx([1000.0, 0.0])
    assert scores.overall["CIDEr"] == pytest.approx(500.0)


def cider_d(predictions: Mapping[str, str], references: Mapping[str, Sequence[str]]) -> list[float]:
    """Vedantam et al. 2015, equations 1 to 4 with section 5's clipping and length penalty."""

    def ngrams(text: str, n: int) -> Counter:
        words = text.split()
        return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))

    def similarity(text: str, reference: str, n: int) -> float:
        own, other = ngrams(text, n), ngrams(reference, n)
        vocabulary = sorted({*own, *other})
        seen = [
            sum(any(gram in ngrams(r, n) for r in group) for group in references.values())
            for gram in vocabulary
        ]
        idf = np.log(len(references) / np.maximum(1, seen))
        a, b = (np.array([counts[gram] for gram in vocabulary]) * idf for counts in (own, other))
        if not a.any() or not b.any():
            return 0.0
        gap = len(text.split()) - len(reference.split())
        cosine = np.minimum(a, b) @ b / (np.linalg.norm(a) * np.linalg.norm(b))
        return float(np.exp(-(gap**2) / (2 * 6.0**2)) * cosine)

    return [
        10 * float(np.mean([[similarity(text, r, n) for r in references[k]] for n in range(1, 5)]))
        for k, text in predictions.items()
    ]


def test_cider__as_the_formula_on_a_small_corpus() -> None:
    predictions = {
        "1": "a red cat sits on a red mat",
        "2": "a dog runs over the green grass",
        "3": "two birds on a wire",
    }
    references = {
        "1": ["a red cat on a mat", "the cat sits on a mat"],
        "2": ["a brown dog runs over grass", "the dog runs over the green grass", "a dog"],
        "3": ["three birds sit on a wire"],
    }
    scores = score_tokens({k: [v] for k, v in predictions.items()}, references)
    expected = cider_d(predictions, references)
    assert scores.each["CIDEr"] == pytest.approx([100 * value for value in expected])
    assert scores.overall["CIDEr"] == pytest.approx(100 * np.mean(expected))
    assert 0 < min(expected) < max(expected) < 10


@pytest.mark.java
def test_tokenize__as_penn_treebank_without_punctuation() -> None:
    captions = ["The Café's cat, isn't it?", "", 'A "red" one (big).']
    brackets = "a red one -lrb- big -rrb-"  # in lower case they are no longer punctuation
    assert tokenize(captions) == ["the café 's cat is n't it", "", brackets]
    assert tokenize([]) == []


@pytest.mark.java
def test_tokenize__a_caption_of_two_lines_is_no_silent_shift() -> None:
    with pytest.raises(AlphaClipError, match="made 3 lines of 2 captions"):
        tokenize(["one\ntwo", "three"])


@pytest.mark.java
def test_score_captions__meteor_by_hand_and_a_german_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """METEOR 1.5's formula with its English parameters: 0.85, 0.2, 0.6, 0.75."""
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-Duser.language=de -Duser.country=DE")
    reference = "The cat sat on the mat."
    predictions = {
        "1": "The cat sat on the mat!",
        "2": "On the mat sat the cat.",
        "3": "The cat was sat on the mat.",
        "4": "blue",
    }
    scores = score_captions(predictions, {k: [reference] for k in predictions})
    shuffled = 1 - 0.6 * (3 / 6) ** 0.2
    precision = (0.75 * 3 + 0.25 * 3) / (0.75 * 3 + 0.25 * 4)
    f_mean = precision / (0.85 * precision + 0.15)
    inserted = f_mean * (1 - 0.6 * (2 / 6) ** 0.2)
    assert scores.each["METEOR"] == pytest.approx([100, 100 * shuffled, 100 * inserted, 0])
    assert scores.each["ROUGE-L"][0] == 100.0
    assert scores.each["BLEU-4"][0] == pytest.approx(100, abs=1e-4)
    assert list(scores.overall) == [*captioning.METRICS[:-1]]
    assert os.environ["JAVA_TOOL_OPTIONS"] == "-Duser.language=de -Duser.country=DE"


def test_score_captions__one_picture_has_no_cider() -> None:
    with pytest.raises(AlphaClipError, match="at least two"):
        score_captions({"1": "a"}, {"1": ["a"]})


def test_score_captions__without_java(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(AlphaClipError, match="Debian: default-jre-headless"):
        score_captions({"1": "a", "2": "b"}, {"1": ["a"], "2": ["b"]})


def test_score_captions__without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycocoevalcap.cider.cider", None)
    with pytest.raises(AlphaClipError, match=r"alphaclip-fiftyone\[captions\]"):
        score_captions({"1": "a", "2": "b"}, {"1": ["a"], "2": ["b"]})


def test_score_captions__spice_is_never_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captioning, "_java", lambda: "java")
    monkeypatch.setattr(captioning, "_SPICE_FILES", ("no-such.jar",))
    with pytest.raises(MissingDataError, match=r"SPICE needs no-such\.jar in .*2015-12-09"):
        score_captions({"1": "a", "2": "b"}, {"1": ["a"], "2": ["b"]}, spice=True)


def test_meteor__that_stops_does_not_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library holds its lock when it fails, and its destructor waits for it."""
    from pycocoevalcap.meteor import meteor

    made = []

    class Failing:
        def __init__(self) -> None:
            self.lock = threading.Lock()
            made.append(self)

        def compute_score(self, references: object, predictions: object) -> None:
            self.lock.acquire()
            raise ValueError("could not convert string to float: b''")

    monkeypatch.setattr(meteor, "Meteor", Failing)
    with pytest.raises(AlphaClipError, match="METEOR's Java program stopped"):
        captioning._meteor({}, {})
    assert not made[0].lock.locked()


def write(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content), "utf-8")
    return path


def test_read_predictions__bad_entries_are_reported(tmp_path: Path) -> None:
    content = [
        {"image_id": 1, "caption": "a\u2028red\n cat "},
        {"image_id": 1, "caption": "again"},
        {"image_id": None, "caption": "x"},
        {"image_id": 2},
        {"image_id": 3, "caption": 5},
        "text",
        {"image_id": "name", "caption": ""},
    ]
    skipped: list[str] = []
    found = read_predictions(write(tmp_path / "p.json", content), skipped)
    assert found == {"1": "a red cat", "name": ""}
    assert [line.partition(":")[0] for line in skipped] == [f"p.json[{n}]" for n in range(1, 6)]
    assert "second prediction for picture 1" in skipped[0]
    assert "has no 'caption'" in skipped[2]


def test_read_references__both_forms(tmp_path: Path) -> None:
    coco = {
        "images": [{"id": 1}],
        "annotations": [
            {"id": 5, "image_id": 1, "caption": "a cat"},
            {"id": 6, "image_id": 2, "caption": "a dog"},
            {"id": 7, "image_id": 1, "caption": "one cat"},
            {"id": 8, "image_id": 1, "caption": "  "},
        ],
    }
    expected = {"1": ("a cat", "one cat"), "2": ("a dog",)}
    skipped: list[str] = []
    assert read_references(write(tmp_path / "coco.json", coco), skipped) == expected
    assert skipped == ["coco.json[3]: has no words for picture 1"]
    plain = {"1": ["a cat", "one cat"], "2": ["a dog"]}
    assert read_references(write(tmp_path / "plain.json", plain), []) == expected


@pytest.mark.parametrize("content", [5, "text", [1, 2], {"1": "a cat"}, {"1": 3}])
def test_read_references__another_form(tmp_path: Path, content: object) -> None:
    with pytest.raises(AlphaClipError, match="holds no references"):
        read_references(write(tmp_path / "r.json", content), [])


def test_read__missing_and_damaged_files(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="is not there"):
        read_predictions(tmp_path / "none.json", [])
    (tmp_path / "cut.json").write_text('[{"image_id": 1')
    with pytest.raises(AlphaClipError, match="cannot be read as JSON"):
        read_references(tmp_path / "cut.json", [])
    with pytest.raises(AlphaClipError, match="holds no predictions"):
        read_predictions(write(tmp_path / "p.json", {"1": "a"}), [])


REFERENCES = {"1": ("one red cat sleeps",), "2": ("two dogs run home", "dogs run"), "3": ("x",)}


@pytest.fixture
def without_java(monkeypatch: pytest.MonkeyPatch) -> None:
    """Captions split at spaces, and no METEOR."""

    def score(
        predictions: Mapping[str, str], references: Mapping[str, Sequence[str]], spice: bool
    ) -> CaptionScores:
        own = {key: [text] for key, text in predictions.items()}
        return score_tokens(own, {key: list(texts) for key, texts in references.items()})

    monkeypatch.setattr(captions, "score_captions", score)


@pytest.mark.usefixtures("without_java")
def test_run__an_outcome_in_the_order_of_the_references(tmp_path: Path) -> None:
    content = [
        {"image_id": 3, "caption": "y"},
        {"image_id": 9, "caption": "unknown"},
        {"image_id": 2, "caption": "five green birds"},
        {"image_id": 1, "caption": "one red cat sleeps"},
    ]
    path = write(tmp_path / "predictions.json", content)
    outcome = CAPTIONS.run(
        str(path), CaptionEntry("refcocog", REFERENCES, skipped=("a line",)), None
    )  # type: ignore[arg-type]
    assert [row.id for row in outcome.rows] == ["1", "2", "3"]
    assert [row.correct for row in outcome.rows] == pytest.approx([10.0, 0.0, 0.0])
    assert outcome.rows[1].truth == "two dogs run home / dogs run"
    mean = 100 * float(np.mean([row.correct for row in outcome.rows]))
    assert outcome.metrics["CIDEr"] == pytest.approx(mean)
    assert outcome.metrics["pictures"] == 3
    assert outcome.primary == "CIDEr"
    assert outcome.setting == ""
    assert outcome.skipped == ("a line", "1 predictions are for pictures without reference: 9")


@pytest.mark.usefixtures("without_java")
def test_run__missing_predictions(tmp_path: Path) -> None:
    content = [{"image_id": n, "caption": "one red cat"} for n in (1, 2)]
    path = str(write(tmp_path / "predictions.json", content))
    with pytest.raises(AlphaClipError, match="1 of 3 pictures have no prediction, such as 3"):
        captions.run(path, CaptionEntry("set", REFERENCES))
    outcome = captions.run(path, CaptionEntry("set", REFERENCES, subset=True))
    assert outcome.setting == "1 pictures left out"
    assert len(outcome.rows) == 2


def test_task__reads_its_arguments(tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--limit", type=int)
    CAPTIONS.add_arguments(parser)
    path = write(tmp_path / "refs.json", {"1": ["a"], "2": ["b"], "3": ["c"]})
    args = parser.parse_args(["--references", str(path), "--limit", "2", "--subset"])
    (entry,) = CAPTIONS.load(args)
    assert (entry.name, list(entry.references), entry.subset) == ("refs", ["1", "2"], True)
    assert CAPTIONS.subjects == "predictions"

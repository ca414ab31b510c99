"""Naming regions: by hand, and against scikit-learn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import recall_score, top_k_accuracy_score

from alphaclip.errors import AlphaClipError
from alphaclip.regions.region import Region
from alphaclip.training.datasets.examples import Example, LabelledRegion, RegionSet
from alphaclip.training.evaluation.classification.classification import classify
from alphaclip.training.evaluation.classification.protocols import (
    imagenet_names,
    imagenet_s_protocol,
    openai_templates,
    region_protocol,
)
from alphaclip.training.evaluation.outcomes import Means

OWN = region_protocol("own")


class Given:
    """An encoder of given vectors: the first ``len(texts)`` are of the texts."""

    name, fingerprint = "given", "0" * 32

    def __init__(self, vectors: np.ndarray, texts: np.ndarray) -> None:
        self.dim = vectors.shape[1]
        self._vectors, self._texts = vectors, texts

    def encode_many(self, items, on_error=None):
        start = 0
        for _, regions in items:
            yield self._vectors[start : start + len(regions)]
            start += len(regions)

    def encode_text(self, prompts, templates=None):
        return self._texts


def labelled(labels: list[str], classes: list[str], tmp_path, areas=None) -> RegionSet:
    examples = tuple(
        Example(
            f"p{i}", tmp_path / f"{i}.png", 9, 9,
            (LabelledRegion(f"r{i}", Region.whole_image(), areas[i] if areas else 1.0, label),),
        )
        for i, label in enumerate(labels)
    )  # fmt: skip
    return RegionSet("given", examples, tuple(classes))


def test_classify__counts_by_hand(colour_set, colour_encoder) -> None:
    """Red: 2 of 2 right. Green: the red and the blue one are wrong, one is right: 1 of 3."""
    outcome = classify(colour_encoder, colour_set, OWN)
    assert [(row.id, row.predicted, row.truth, row.correct) for row in outcome.rows] == [
        ("a0", "red", "red", 1.0),
        ("a1", "red", "green", 0.0),
        ("b0", "blue", "green", 0.0),
        ("b1", "green", "green", 1.0),
        ("c0", "red", "red", 1.0),
    ]
    assert outcome.metrics["top-1"] == pytest.approx(100 * (1 + 1 / 3) / 2)
    assert outcome.metrics["top-1 of all"] == 60.0
    assert outcome.metrics["top-5"] == 100.0
    assert outcome.metrics["top-1 small"] == pytest.approx(100 * (1 + 0) / 2)
    assert outcome.metrics["top-1 medium"] == 50.0
    assert np.isnan(outcome.metrics["top-1 large"])
    assert (outcome.metrics["regions"], outcome.metrics["regions medium"]) == (5, 2)
    assert (outcome.primary, outcome.estimator, outcome.set) == ("top-1", "class-mean", "colours")
    assert [row.example for row in outcome.rows] == ["a", "a", "b", "b", "c"]
    assert all(row.score == pytest.approx(1.0) for row in outcome.rows)


def test_classify__agrees_with_scikit_learn(tmp_path) -> None:
    rng = np.random.default_rng(0)
    classes = [f"c{i:02d}" for i in range(12)]
    texts, vectors = rng.normal(size=(12, 8)), rng.normal(size=(300, 8))
    truths = rng.integers(0, 10, 300)
    vectors += 1.2 * texts[truths]
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    given = Given(vectors.astype(np.float32), texts.astype(np.float32))
    outcome = classify(given, labelled([classes[t] for t in truths], classes, tmp_path), OWN)
    scores = vectors @ texts.T
    mean = recall_score(truths, scores.argmax(axis=1), labels=range(10), average="macro")
    of_all = top_k_accuracy_score(truths, scores, k=5, labels=range(12))
    recalls = [
        top_k_accuracy_score(truths[truths == c], scores[truths == c], k=5, labels=range(12))
        for c in range(10)
    ]
    assert outcome.metrics["top-1"] == pytest.approx(100 * mean)
    assert outcome.metrics["top-5 of all"] == pytest.approx(100 * of_all)
    assert outcome.metrics["top-5"] == pytest.approx(100 * np.mean(recalls))


def test_classify__equal_names_go_to_the_first_class(colour_set, colour_encoder) -> None:
    outcome = classify(colour_encoder, colour_set, OWN, words=["red", "green", "red"])
    first = outcome.rows[0]
    assert (first.predicted, first.truth) == ("red", "red")
    twice = replace(colour_set, classes=("blue", "green", "red"))
    outcome = classify(colour_encoder, twice, OWN, words=["red", "green", "red"])
    first = outcome.rows[0]
    assert (first.predicted, first.truth, first.correct) == ("red (blue)", "red", 0.0)


def test_classify__bad_picture_is_left_out_and_named(colour_set, colour_encoder) -> None:
    colour_set.examples[0].path.unlink()
    outcome = classify(colour_encoder, colour_set, OWN)
    assert [row.id for row in outcome.rows] == ["b0", "b1", "c0"]
    assert len(outcome.skipped) == 1
    assert "picture a" in outcome.skipped[0]
    assert outcome.metrics["top-1"] == pytest.approx(100 * (1 + 1 / 2) / 2)


def test_classify__label_that_is_no_class_is_left_out_and_named(
    paint: Callable[..., Example], colour_encoder
) -> None:
    regions = RegionSet("one", (paint("a", "red", ("blue", "mauve")),), ("red",), ("before",))
    outcome = classify(colour_encoder, regions, OWN)
    assert [row.id for row in outcome.rows] == ["a0"]
    assert outcome.skipped == ("before", "region a1: label 'mauve' is not a class")


def test_classify__crowds_count_unless_told_otherwise(colour_set, colour_encoder) -> None:
    crowd = replace(colour_set.examples[2].regions[0], crowd=True)
    examples = (*colour_set.examples[:2], replace(colour_set.examples[2], regions=(crowd,)))
    regions = replace(colour_set, examples=examples)
    assert len(classify(colour_encoder, regions, OWN).rows) == 5
    without = classify(colour_encoder, regions, region_protocol("own", crowd=False))
    assert [row.id for row in without.rows] == ["a0", "a1", "b0", "b1"]
    assert without.setting == "own view, no crowds"


def test_classify__nothing_judged_has_no_figures(colour_encoder, tmp_path) -> None:
    outcome = classify(colour_encoder, RegionSet("none", (), ("red",)), OWN)
    assert outcome.rows == ()
    assert np.isnan(outcome.metrics["top-1"])
    assert outcome.metrics["regions"] == 0


def test_classify__names_that_do_not_fit_the_classes_are_refused(
    colour_set, colour_encoder
) -> None:
    with pytest.raises(AlphaClipError, match="3 classes and 1 names"):
        classify(colour_encoder, colour_set, OWN, words=["red"])
    with pytest.raises(AlphaClipError, match="0 classes"):
        classify(colour_encoder, replace(colour_set, classes=()), OWN)


def test_classify__nano_is_loaded_with_the_protocols_view(paint, tmp_path) -> None:
    regions = RegionSet("painted", (paint("a", "red", "green"),), ("red", "green"))
    crop, whole = (
        classify("alphaclip-nano", regions, region_protocol(show), means=Means(tmp_path / "cache"))
        for show in ("crop", "whole")
    )
    assert crop.settings["view"]["context"] == 1.5
    assert whole.settings["view"]["kind"] == "image"
    assert crop.settings["shown"] == crop.settings["view"]
    assert crop.settings["fingerprint"] != whole.settings["fingerprint"]
    kept = list((tmp_path / "cache").rglob("*.npz"))
    texts = [path for path in kept if path.name.startswith("texts-")]
    assert (len(kept), len(texts)) == (3, 1)
    assert all(-1 <= row.score <= 1 for row in (*crop.rows, *whole.rows))


@pytest.mark.parametrize(("alpha", "kind"), [("mask", "region"), ("box", "box"), ("ones", "ones")])
def test_imagenet_s_protocol__is_a_joint_centre_crop_without_antialias(alpha, kind) -> None:
    view = imagenet_s_protocol(alpha).view
    assert view is not None
    assert view.to_dict() == {
        "kind": "center",
        "antialias": False,
        **({} if kind == "region" else {"alpha": kind}),
    }


def test_imagenet_s_protocol__templates_of_the_paper_and_of_openai() -> None:
    assert imagenet_s_protocol("mask").templates == ("a photo of a {}.",)
    templates = imagenet_s_protocol("mask", "openai").templates
    assert templates == openai_templates()
    assert len(templates) == 80
    assert templates[0] == "a bad photo of a {}."
    assert all(template.count("{}") == 1 for template in templates)


def test_region_protocol__crop_is_white_beyond_the_picture_and_masked_is_the_mean_colour() -> None:
    crop, masked = region_protocol("crop").view, region_protocol("masked").view
    assert crop is not None
    assert masked is not None
    assert (crop.kind, crop.context, crop.padding, crop.background, crop.antialias) == (
        "context", 1.5, "white", "kept", False,
    )  # fmt: skip
    assert masked == replace(crop, background="mean")
    assert region_protocol("own").view is None


def test_region_protocol__other_templates_are_another_setting() -> None:
    assert region_protocol("crop").setting == "1.5x crop, mask alpha"
    assert region_protocol("crop", templates=("{}",)).setting == "1.5x crop, mask alpha, '{}'"
    assert region_protocol("own", templates=("{}", "a {}")).setting == "own view, 2 templates"


def test_classify__method_of_a_name_is_laid_over_the_protocols_view(paint) -> None:
    regions = RegionSet("painted", (paint("a", "red", "green"),), ("red", "green"))
    outcome = classify("alphaclip-nano+blur", regions, region_protocol("crop", "box"))
    assert outcome.settings["view"]["alpha"] == "box"
    assert outcome.settings["shown"] == outcome.settings["view"] | {"background": "blur"}


def test_imagenet_names__paper_keeps_underscores_of_the_first_lemma() -> None:
    synsets = ["n01440764", "n01484850", "n03630383", "n02012849", "n03126707"]
    assert imagenet_names(synsets, "paper") == [
        "tench", "great_white_shark", "lab_coat", "crane", "crane",
    ]  # fmt: skip
    assert imagenet_names(synsets, "openai") == [
        "tench", "great white shark", "lab coat", "crane bird", "construction crane",
    ]  # fmt: skip


def test_imagenet_names__unknown_class_is_named() -> None:
    with pytest.raises(AlphaClipError, match="'n00000001' is not one of ImageNet-1k's"):
        imagenet_names(["n01440764", "n00000001"], "paper")

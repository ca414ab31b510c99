"""Measures ``alphaclip-nano-captioner`` on regions of scenes that it never saw."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from alphaclip.encoder.encoder import Encoder
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.calibration import calibrate, reliability
from alphaclip.language.describer import Describer
from alphaclip.language.questions import Question
from alphaclip.regions.region import Region
from alphaclip.training.datasets.words import article
from alphaclip.training.evaluation.captions.captioning import score_captions
from recipes.captioner.regions import SceneRegions
from recipes.captioner.texts import QUESTIONS, Facts, references, wrong_name

REVIEWS = 100
"""After which the calibration error is measured, on the other regions."""

DRAWS = 20
"""Of which regions are reviewed; the error is the mean."""


def measure(
    model: Describer, encoder: Encoder, regions: SceneRegions, near: np.ndarray, seed: int
) -> dict[str, Any]:
    """Figures of one set of regions.

    Args:
        model: that reads their vectors
        encoder: nano, whose cosine is measured beside it
        regions: that the model never saw
        near: the nearest names of each concept, of which the hard wrong ones are
        seed: of what is asked and reviewed

    Returns:
        number of regions; captions a CPU second, their CIDEr and METEOR against three references;
        by kind of question the share of right answers, and that of the most frequent answer; how
        well a true name is told from a wrong one, see :func:`_tell_apart`
    """
    facts = [regions.facts(number) for number in range(len(regions))]
    seen = regions.vectors.astype(np.float32), [Region.from_box(box) for box in regions.boxes]
    captions, per_second = _timed_captions(model, *seen)
    figures: dict[str, Any] = {"regions": len(regions), "captions a CPU second": per_second}
    figures |= _caption_scores(captions, facts)
    for kind, (question, *_) in QUESTIONS.items():
        if kind != "is":
            answers = model.describe(*seen, prompt=question)
            figures[kind] = _shares(answers, [one.answer(kind) for one in facts])
    for title, hard in (("hard wrong names", 1.0), ("random wrong names", 0.0)):
        rng = np.random.default_rng(seed)
        is_true = rng.random(len(facts)) < 0.5
        names = [
            one.kind if true else wrong_name(one.concept, near, rng, hard)
            for one, true in zip(facts, is_true, strict=True)
        ]
        figures[title] = _checks(model, encoder, seen, names, is_true, rng)
    return figures


Seen = tuple[np.ndarray, Sequence[Region]]


def _timed_captions(
    model: Describer, vectors: np.ndarray, boxes: Sequence[Region]
) -> tuple[list[str], int]:
    model.describe(vectors[:8], boxes[:8])
    began = time.process_time()
    captions = model.describe(vectors, boxes)
    return captions, round(len(captions) / (time.process_time() - began))


def _caption_scores(captions: Sequence[str], facts: Sequence[Facts]) -> dict[str, float]:
    """CIDEr and METEOR, times 100; nothing where Java or pycocoevalcap is missing."""
    predictions = {str(number): caption for number, caption in enumerate(captions)}
    wording = {str(number): references(one) for number, one in enumerate(facts)}
    try:
        overall = score_captions(predictions, wording).overall
    except AlphaClipError:
        return {}
    return {name: round(overall[name], 1) for name in ("CIDEr", "METEOR")}


def _shares(answers: Sequence[str], truth: Sequence[str]) -> dict[str, float]:
    right = np.array(answers) == np.array(truth)
    most = np.unique(truth, return_counts=True)[1].max()
    return {"right": round(float(right.mean()), 4), "majority": round(float(most) / len(truth), 4)}


def _checks(
    model: Describer,
    encoder: Encoder,
    seen: Seen,
    names: Sequence[str],
    is_true: np.ndarray,
    rng: np.random.Generator,
) -> dict[str, Any]:
    """How well a name of each region is told to be true or wrong: asked whether it is that; by how
    likely the name is as an answer to what it is; and by nano's cosine."""
    labels = [{"label": name} for name in names]
    ((asked,),) = model.ask_many([(*seen, labels)], [Question("is it a {label}?", ("yes", "no"))])
    gains = asked.logliks - asked.priors
    said = _name_gains(model, seen, names)
    texts = encoder.encode_text([f"a drawing of {article(name)}" for name in names])
    cosines = (texts * seen[0]).sum(axis=1)
    scores = {"is it a NAME?": gains[:, 0] - gains[:, 1], "what is it?": said, "cosine": cosines}
    return {
        "is it a NAME?, right": round(float(((gains[:, 0] > gains[:, 1]) == is_true).mean()), 4),
        **{title: _tell_apart(score, is_true, rng) for title, score in scores.items()},
    }


def _name_gains(model: Describer, seen: Seen, names: Sequence[str]) -> np.ndarray:
    """How much likelier each name is of its region than of any."""
    gains = np.empty(len(names))
    vectors, boxes = seen
    for number, name in enumerate(names):
        other = "yes"  # A question has two choices; this one is never an answer to it
        one = model.ask(vectors[number : number + 1], boxes[number : number + 1], "what is it?",
                        [name, other])  # fmt: skip
        gains[number] = one.logliks[0, 0] - one.priors[0, 0]
    return gains


def _tell_apart(
    scores: np.ndarray, is_true: np.ndarray, rng: np.random.Generator
) -> dict[str, float]:
    """The area under the curve, and the calibration error (ECE) after some reviews."""
    errors = []
    for _ in range(DRAWS):
        order = rng.permutation(len(scores))
        reviewed, others = order[:REVIEWS], order[REVIEWS:]
        one = np.zeros(len(scores), int)
        curve = calibrate(scores[reviewed], is_true[reviewed], one[reviewed])
        found = reliability(curve.probabilities(scores[others], one[others]), is_true[others])
        errors.append(found.error if found else np.nan)
    return {
        "AUC": round(float(roc_auc_score(is_true, scores)), 4),
        f"ECE after {REVIEWS} reviews": round(float(np.mean(errors)), 4),
    }

"""Zero-shot classification of regions: the class whose name is nearest by cosine."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from alphaclip.encoder.encoder import Encoder
from alphaclip.encoder.load import load
from alphaclip.errors import AlphaClipError
from alphaclip.training.datasets.examples import SIZES, Example, LabelledRegion, RegionSet
from alphaclip.training.evaluation.classification.protocols import Protocol
from alphaclip.training.evaluation.outcomes import Means, Outcome, Row
from alphaclip.training.evaluation.vectors import region_vectors, text_vectors

PRIMARY = "top-1"
_CHUNK = 4096
_TOP = 5


def classify(
    encoder: str | Encoder,
    regions: RegionSet,
    protocol: Protocol,
    words: Sequence[str] | None = None,
    means: Means | None = None,
    task: str = "regions",
) -> Outcome:
    """Names every region by the class whose prompt is nearest, and counts how often it is right.

    Args:
        encoder: its name, or an encoder, which keeps its own view
        regions: with labels that are among ``regions.classes``; others are skipped and reported
        protocol: what is shown and how classes are asked for
        words: what each class is called in a prompt, in the order of ``regions.classes``; None
            takes the classes themselves
        means: cache, progress, device
        task: as the outcome is to say

    Returns:
        in percent, ``top-1`` and ``top-5`` as means over the classes that occur, ``top-1 of all``
        and ``top-5 of all`` over regions; ``top-1 small`` and so on by COCO's sizes, over classes;
        and the numbers of regions. Equal cosines go to the first class of the file

    Raises:
        AlphaClipError: if there are no classes, or ``words`` does not fit them
    """
    means = means or Means()
    words = regions.classes if words is None else words
    if not regions.classes or len(words) != len(regions.classes):
        raise AlphaClipError(
            f"{regions.name}: {len(regions.classes)} classes and {len(words)} names for them: "
            "expected one name for each of at least one class"
        )
    judged, skipped = _with_known_labels(regions, protocol.crowd)
    loaded = _loaded(encoder, protocol, means)
    vectors = region_vectors(loaded, judged, means.cache, means.progress, skipped.append)
    texts = text_vectors(loaded, words, protocol.templates, means.cache)
    titles = [_title(name, word) for name, word in zip(regions.classes, words, strict=True)]
    rows, among_five = _judge(judged, vectors, texts, titles)
    return Outcome(
        task=task,
        set=regions.name,
        encoder=encoder if isinstance(encoder, str) else encoder.name,
        metrics=_metrics(rows, among_five),
        rows=tuple(rows),
        settings=protocol.to_dict() | _identity(loaded),
        skipped=(*regions.skipped, *skipped),
        primary=PRIMARY,
        estimator="class-mean",
    )


def _with_known_labels(regions: RegionSet, crowd: bool) -> tuple[RegionSet, list[str]]:
    known, skipped, examples = set(regions.classes), [], []
    for example in regions.examples:
        kept = [r for r in example.regions if crowd or not r.crowd]
        for labelled in kept:
            if labelled.label not in known:
                skipped.append(f"region {labelled.id}: label {labelled.label!r} is not a class")
        fitting = tuple(r for r in kept if r.label in known)
        examples.append(replace(example, regions=fitting))
    return replace(regions, examples=tuple(examples)), skipped


def _loaded(encoder: str | Encoder, protocol: Protocol, means: Means) -> Encoder:
    if isinstance(encoder, str):
        return load(encoder, means.device, means.precision, protocol.view)
    return encoder


def _identity(encoder: Encoder) -> dict[str, Any]:
    """What an encoder shows with its method laid over the protocol's view, and its fingerprint."""
    view = getattr(encoder, "view", None)
    shown = None if view is None else view.to_dict()
    return {"shown": shown, "fingerprint": encoder.fingerprint}


def _title(name: str, word: str) -> str:
    """A class as a person reads it, different for each: two classes may have one word."""
    return name if word == name else f"{word} ({name})"


def _judge(
    regions: RegionSet, vectors: np.ndarray, texts: np.ndarray, titles: Sequence[str]
) -> tuple[list[Row], np.ndarray]:
    """A row for each region with a vector, and whether its class is among the first five."""
    place = {name: number for number, name in enumerate(regions.classes)}
    fine = np.flatnonzero(~np.isnan(vectors).any(axis=1))
    pairs = list(regions.regions)
    truths = np.array([place[pairs[at][1].label] for at in fine], dtype=int)
    order, scores = _nearest(vectors[fine], texts)
    rows = [
        _row(pairs[at], titles[truth], titles[first], score)
        for at, truth, first, score in zip(fine, truths, order[:, :1].ravel(), scores, strict=True)
    ]
    return rows, (order == truths[:, None]).any(axis=1)


def _nearest(vectors: np.ndarray, texts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nearest texts, int (n, up to 5), and the cosine of the first, float (n,)."""
    orders, scores = [np.zeros((0, 1), int)], [np.zeros(0)]
    for start in range(0, len(vectors), _CHUNK):
        cosines = vectors[start : start + _CHUNK] @ texts.T
        orders.append(np.argsort(-cosines, axis=1, kind="stable")[:, :_TOP])
        scores.append(cosines.max(axis=1))
    return np.concatenate(orders[1:] or orders), np.concatenate(scores)


def _row(pair: tuple[Example, LabelledRegion], truth: str, predicted: str, score: float) -> Row:
    example, labelled = pair
    return Row(
        id=labelled.id,
        example=example.id,
        correct=float(predicted == truth),
        predicted=predicted,
        truth=truth,
        score=float(score),
        group=labelled.size,
    )


def _metrics(rows: Sequence[Row], among_five: np.ndarray) -> dict[str, float]:
    first = np.array([row.correct for row in rows])
    truths = [row.truth for row in rows]
    metrics = {
        PRIMARY: _class_mean(first, truths),
        "top-5": _class_mean(among_five, truths),
        "top-1 of all": _percent(first),
        "top-5 of all": _percent(among_five),
        "regions": float(len(rows)),
    }
    for size in SIZES:
        chosen = [place for place, row in enumerate(rows) if row.group == size]
        metrics[f"top-1 {size}"] = _class_mean(first[chosen], [truths[at] for at in chosen])
        metrics[f"regions {size}"] = float(len(chosen))
    return metrics


def _class_mean(values: np.ndarray, classes: Sequence[str]) -> float:
    """The mean of the classes' means, in percent; NaN where there is nothing."""
    found: defaultdict[str, list[float]] = defaultdict(list)
    for value, name in zip(values, classes, strict=True):
        found[name].append(float(value))
    return _percent(np.array([np.mean(of_class) for of_class in found.values()]))


def _percent(values: np.ndarray) -> float:
    return 100.0 * float(np.mean(values)) if len(values) else float("nan")

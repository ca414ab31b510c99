"""Zero-shot classification of regions: the class whose name is nearest by cosine.

The tasks ``imagenet-s`` and ``regions`` of ``alphaclip eval``.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from operator import attrgetter

import numpy as np

from alphaclip.encoder.encoder import Encoder
from alphaclip.encoder.load import load
from alphaclip.encoder.prompts import PHOTO
from alphaclip.errors import AlphaClipError
from alphaclip.training.datasets.coco import read_coco, read_lvis
from alphaclip.training.datasets.examples import SIZES, RegionSet
from alphaclip.training.datasets.imagenet_s import read_imagenet_s_folder, read_imagenet_s_json
from alphaclip.training.evaluation.classification.protocols import (
    ALPHAS,
    SHOWS,
    Protocol,
    imagenet_names,
    imagenet_s_protocol,
    region_protocol,
)
from alphaclip.training.evaluation.outcomes import Means, Outcome, Row, percent
from alphaclip.training.evaluation.tasks import (
    Task,
    add_dataset_options,
    data_folder,
    read_dataset,
)
from alphaclip.training.evaluation.vectors import region_vectors, text_vectors

PRIMARY = "top-1"
_TOP = 5
_CHUNK = 4096
"""Regions whose cosines are in memory at once: with LVIS's 1203 classes 20 MB."""


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
    loaded = encoder
    if isinstance(loaded, str):
        loaded = load(loaded, means.device, means.precision, protocol.view)
    vectors = region_vectors(loaded, judged, means.cache, means.progress, skipped.append)
    texts = text_vectors(loaded, words, protocol.templates, means.cache)
    # two classes may have one word: with its id a title is different for each
    titles = [n if w == n else f"{w} ({n})" for n, w in zip(regions.classes, words, strict=True)]
    rows, among_five = _judge(judged, vectors, texts, titles)
    view = getattr(loaded, "view", None)  # the protocol's, a method of the encoder laid over it
    return Outcome(
        task=task,
        set=regions.name,
        encoder=encoder if isinstance(encoder, str) else encoder.name,
        metrics=_metrics(rows, among_five),
        rows=tuple(rows),
        settings=protocol.to_dict()
        | {"shown": view and view.to_dict(), "fingerprint": loaded.fingerprint},
        skipped=(*regions.skipped, *skipped),
        primary=PRIMARY,
        estimator="class-mean",
    )


def _with_known_labels(regions: RegionSet, crowd: bool) -> tuple[RegionSet, list[str]]:
    classes, skipped, examples = set(regions.classes), [], []
    for example in regions.examples:
        judged = [r for r in example.regions if crowd or not r.crowd]
        for labelled in judged:
            if labelled.label not in classes:
                skipped.append(f"region {labelled.id}: label {labelled.label!r} is not a class")
        fitting = tuple(r for r in judged if r.label in classes)
        examples.append(replace(example, regions=fitting))
    return replace(regions, examples=tuple(examples)), skipped


def _judge(
    regions: RegionSet, vectors: np.ndarray, texts: np.ndarray, titles: Sequence[str]
) -> tuple[list[Row], np.ndarray]:
    """A row for each region with a vector, and whether its class is among the first five."""
    number = {name: number for number, name in enumerate(regions.classes)}
    fine = np.flatnonzero(~np.isnan(vectors).any(axis=1))
    pairs = list(regions.regions)
    truths = np.array([number[pairs[row][1].label] for row in fine], dtype=int)
    order, scores = _nearest(vectors[fine], texts)
    rows = []
    for row, truth, first, score in zip(fine, truths, order[:, :1].ravel(), scores, strict=True):
        example, labelled = pairs[row]
        rows.append(
            Row(
                id=labelled.id,
                example=example.id,
                correct=float(titles[first] == titles[truth]),
                predicted=titles[first],
                truth=titles[truth],
                score=float(score),
                group=labelled.size,
            )
        )
    return rows, (order == truths[:, None]).any(axis=1)


def _nearest(vectors: np.ndarray, texts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nearest texts, int (n, up to 5), and the cosine of the first, float (n,)."""
    orders, scores = [np.zeros((0, 1), int)], [np.zeros(0)]
    for start in range(0, len(vectors), _CHUNK):
        cosines = vectors[start : start + _CHUNK] @ texts.T
        orders.append(np.argsort(-cosines, axis=1, kind="stable")[:, :_TOP])
        scores.append(cosines.max(axis=1))
    return np.concatenate(orders[1:] or orders), np.concatenate(scores)


def _metrics(rows: Sequence[Row], among_five: np.ndarray) -> dict[str, float]:
    first = np.array([row.correct for row in rows])
    truths = [row.truth for row in rows]
    metrics = {
        PRIMARY: _class_mean(first, truths),
        "top-5": _class_mean(among_five, truths),
        "top-1 of all": percent(first),
        "top-5 of all": percent(among_five),
        "regions": float(len(rows)),
    }
    for size in SIZES:
        chosen = [number for number, row in enumerate(rows) if row.group == size]
        metrics[f"top-1 {size}"] = _class_mean(first[chosen], [truths[number] for number in chosen])
        metrics[f"regions {size}"] = float(len(chosen))
    return metrics


def _class_mean(values: np.ndarray, classes: Sequence[str]) -> float:
    """The mean of the classes' means, in percent; NaN where there is nothing."""
    by_class: defaultdict[str, list[float]] = defaultdict(list)
    for value, name in zip(values, classes, strict=True):
        by_class[name].append(float(value))
    return percent(np.array([np.mean(of_class) for of_class in by_class.values()]))


@dataclass(frozen=True)
class ClassificationEntry:
    """A set in a setting, for a task; ``words`` are what the classes are called, None as they
    are."""

    task: str
    regions: RegionSet
    protocol: Protocol
    words: Sequence[str] | None = None


def _run(encoder: str, entry: ClassificationEntry, means: Means) -> Outcome:
    return classify(encoder, entry.regions, entry.protocol, entry.words, means, entry.task)


def _add_imagenet_s(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--classes",
        type=int,
        choices=(50, 300, 919),
        default=919,
        help="which ImageNet-S (default: %(default)s)",
    )
    parser.add_argument(
        "--alpha",
        nargs="+",
        choices=ALPHAS,
        default=["mask"],
        help="what the alpha map shows: the mask, the box round it, or all ones (default: mask)",
    )
    parser.add_argument(
        "--names",
        nargs="+",
        choices=("paper", "openai"),
        default=["paper"],
        help="the paper's class names and template, or CLIP's names and 80 templates",
    )


def _load_imagenet_s(args: argparse.Namespace) -> list[ClassificationEntry]:
    data = data_folder(args, "ImageNet-S")
    if args.classes == 919 and (data / "imagenet_919.json").is_file():
        regions = read_imagenet_s_json(data, args.limit)
    else:
        regions = read_imagenet_s_folder(data, args.classes, limit=args.limit)
    return [
        ClassificationEntry(
            "imagenet-s",
            regions,
            imagenet_s_protocol(alpha, names),
            imagenet_names(regions.classes, names),
        )
        for names in args.names
        for alpha in args.alpha
    ]


def _add_regions(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--format", choices=("coco", "lvis"), default="coco", help="of the folder given as --data"
    )
    parser.add_argument("--split", help="of it (default: val2017 of COCO, val of LVIS)")
    add_dataset_options(parser)
    parser.add_argument(
        "--truth",
        metavar="ATTRIBUTE",
        help="attribute of its labels with the right class (default: label); those without it "
        "stand by their label",
    )
    parser.add_argument(
        "--show",
        nargs="+",
        choices=SHOWS,
        help="the encoder's own view (default for a FiftyOne dataset), the whole picture, a 1.5x "
        "crop (default for COCO and LVIS), or that crop masked",
    )
    parser.add_argument(
        "--alpha",
        nargs="+",
        choices=ALPHAS,
        default=["mask"],
        help="what the alpha map shows, unless the view is the encoder's own (default: mask)",
    )
    parser.add_argument(
        "--template",
        nargs="+",
        default=list(PHOTO),
        metavar="TEXT",
        help="what the class names are put into, at {}; several are averaged "
        "(default: a photo of a {}.)",
    )
    parser.add_argument("--no-crowd", action="store_true", help="leave out groups of objects")


def _load_regions(args: argparse.Namespace) -> list[ClassificationEntry]:
    if args.dataset is not None:
        if args.split is not None:
            raise AlphaClipError("--split is of --data: leave it out with --dataset")
        regions = read_dataset(args, truth=args.truth or "label")
    else:
        data = data_folder(args, args.format.upper())
        read, split = (read_coco, "val2017") if args.format == "coco" else (read_lvis, "val")
        regions = read(data, args.split or split, limit=args.limit)
    shows = args.show or (["own"] if args.dataset else ["crop"])
    protocols = [
        region_protocol(show, alpha, not args.no_crowd, tuple(args.template))
        for show in shows
        for alpha in (args.alpha[:1] if show == "own" else args.alpha)
    ]
    return [ClassificationEntry("regions", regions, protocol) for protocol in protocols]


IMAGENET_S = Task(
    name="imagenet-s",
    help="name the object of each picture of ImageNet-S",
    add_arguments=_add_imagenet_s,
    load=_load_imagenet_s,
    run=_run,
    regions=attrgetter("regions"),
)

REGIONS = Task(
    name="regions",
    help="name the regions of COCO, LVIS or a FiftyOne dataset",
    add_arguments=_add_regions,
    load=_load_regions,
    run=_run,
    regions=attrgetter("regions"),
)

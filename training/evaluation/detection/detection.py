"""Open-vocabulary detection: somebody else's boxes or masks, named by the encoder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from alphaclip.encoder.encoder import Encoder
from alphaclip.encoder.load import load
from alphaclip.encoder.prompts import PHOTO
from alphaclip.errors import AlphaClipError
from alphaclip.training.datasets.examples import SIZES, Example, LabelledRegion, RegionSet
from alphaclip.training.datasets.proposals import Proposal, Proposals
from alphaclip.training.evaluation.detection.average_precision import (
    AveragePrecision,
    Detection,
    Kind,
    average_precision,
)
from alphaclip.training.evaluation.detection.detection_rows import detection_rows
from alphaclip.training.evaluation.detection.detection_truth import Truth
from alphaclip.training.evaluation.outcomes import Means, Outcome
from alphaclip.training.evaluation.vectors import PICTURES_IN_PART, region_vectors, text_vectors

NAMES = {None: "AP", 0.5: "AP50", 0.75: "AP75"}


@dataclass(frozen=True)
class DetectionProtocol:
    """How proposals become detections.

    No published protocol is met by it: open-vocabulary detectors train their own box head and
    proposals. It says how well an encoder names given proposals, so compare encoders on the same.

    Every proposal is a candidate of every class, its score the softmax of ``logit_scale`` times
    the cosines over all classes and ``background`` prompts, times ``objectness ** gamma``. Of
    boxes of one class that overlap by more than ``max_overlap`` the surer is kept, and of all
    that are left in a picture the ``most`` surest.

    Attributes:
        templates: each with one ``{}`` for the class name, underscores of which become spaces
        background: what a proposal may be instead of a class, such as ``background``; put into the
            templates, never reported as found. None are asked by default
        logit_scale: CLIP's, whatever the model's own
        gamma: 0 leaves objectness out
        max_overlap: IoU of boxes, within a class; 1 keeps all
        most: of a picture; 100 for COCO, 300 for LVIS
        kind: whether boxes or masks are compared
    """

    templates: tuple[str, ...] = PHOTO
    background: tuple[str, ...] = ()
    logit_scale: float = 100.0
    gamma: float = 1.0
    max_overlap: float = 0.5
    most: int = 100
    kind: Kind = "bbox"

    def __post_init__(self) -> None:
        if self.logit_scale <= 0 or self.gamma < 0 or self.most < 1:
            raise AlphaClipError(
                f"logit_scale {self.logit_scale}, gamma {self.gamma}, most {self.most}: expected "
                "above 0, at least 0, at least 1"
            )
        if not 0 <= self.max_overlap <= 1:
            raise AlphaClipError(f"max_overlap is {self.max_overlap}: expected a number in [0, 1]")


@dataclass(frozen=True)
class DetectionEntry:
    """A set of pictures with proposals.

    Attributes:
        truth: what is really there
        proposals: by picture; a picture without an entry has none
        source: where they come from, as in reports
        protocol: how they become detections
    """

    truth: Truth
    proposals: Proposals
    source: str
    protocol: DetectionProtocol = field(default_factory=DetectionProtocol)


def run(encoder: str, entry: DetectionEntry, means: Means) -> Outcome:
    """Names the proposals and compares them with the truth.

    Args:
        encoder: its name; its own view is taken
        entry: pictures and proposals
        means: what to run with

    Returns:
        in percent ``AP`` (over IoU 0.50 to 0.95), ``AP50``, ``AP75``, ``AP small`` and so on,
        ``AP novel`` and so on for each group of classes; ``proposals``, how many there are

    Raises:
        AlphaClipError: if the encoder cannot be used, or masks are compared and a proposal is a box
    """
    if entry.protocol.kind == "segm":
        _check_masks(entry)
    skipped = [*entry.truth.skipped]
    loaded = load(encoder, means.device, means.precision)
    found = list(detect(loaded, entry, means, skipped))
    judged = average_precision(entry.truth, found, entry.protocol.kind, entry.protocol.most)
    count = sum(len(entry.proposals.get(e.id, ())) for e in entry.truth.examples)
    return Outcome(
        task="detection",
        set=entry.truth.name,
        encoder=encoder,
        metrics=_figures(judged, entry.truth) | {"proposals": float(count)},
        rows=detection_rows(entry.truth, entry.proposals, found),
        settings=_settings(entry) | {"fingerprint": loaded.fingerprint},
        skipped=tuple(skipped),
        primary="AP",
        estimator="none",
    )


def detect(
    encoder: Encoder, entry: DetectionEntry, means: Means, skipped: list[str]
) -> Iterator[Detection]:
    """Names the proposals of every picture, a few pictures at a time.

    Args:
        encoder: names them
        entry: pictures and proposals
        means: cache and progress
        skipped: gets a line for each proposal that cannot be encoded

    Yields:
        the detections that are left, those of one picture together, the surest first
    """
    examples, total = entry.truth.examples, len(entry.truth.examples)
    texts = _texts(encoder, entry, means)
    for start in range(0, total, PICTURES_IN_PART):
        some = examples[start : start + PICTURES_IN_PART]
        kept = [_usable(example, entry.proposals.get(example.id, ()), skipped) for example in some]
        shown = RegionSet(entry.truth.name, tuple(example for example, _ in kept))
        vectors = region_vectors(encoder, shown, means.cache, None, skipped.append)
        ends = np.cumsum([len(proposals) for _, proposals in kept])
        for (example, proposals), rows in zip(kept, np.split(vectors, ends[:-1]), strict=True):
            yield from name_proposals(example.id, proposals, rows, texts, entry)
        if means.progress is not None:
            means.progress(min(start + PICTURES_IN_PART, total), total)


def name_proposals(
    example: str,
    proposals: Sequence[Proposal],
    vectors: np.ndarray,
    texts: np.ndarray,
    entry: DetectionEntry,
) -> list[Detection]:
    """The detections of one picture.

    Args:
        example: the picture's id
        proposals: of it
        vectors: float32 (proposals, dim) of unit length; NaN rows are left out
        texts: float32 (classes and then background prompts, dim)
        entry: classes and protocol

    Returns:
        the surest first
    """
    protocol, categories = entry.protocol, list(entry.truth.classes)
    known = [place for place in range(len(proposals)) if not np.isnan(vectors[place]).any()]
    likely = _softmax(protocol.logit_scale * (vectors[known].astype(np.float64) @ texts.T))
    sure = np.array([proposals[place].objectness for place in known]) ** protocol.gamma
    scores = likely[:, : len(categories)] * sure[:, None]
    boxes = np.array([proposals[place].box for place in known], np.float64).reshape(-1, 4)
    return [
        Detection(
            example,
            categories[column],
            proposals[known[row]].box,
            float(scores[row, column]),
            proposals[known[row]].rle,
        )
        for row, column in _choose(boxes, scores, protocol)
    ]


def _check_masks(entry: DetectionEntry) -> None:
    without = [found["id"] for found in entry.truth.objects if not found.get("segmentation")]
    if without:
        raise AlphaClipError(
            f"{entry.truth.name}: {len(without)} objects have no mask, the first is {without[0]}: "
            "compare boxes ('bbox')"
        )
    boxes = sum(p.rle is None for some in entry.proposals.values() for p in some)
    if boxes:
        raise AlphaClipError(
            f"{entry.source}: {boxes} proposals have no mask: compare boxes ('bbox'), or take "
            "proposals with masks, such as SAM's"
        )


def _choose(
    boxes: np.ndarray, scores: np.ndarray, protocol: DetectionProtocol
) -> list[tuple[int, int]]:
    """Rows and columns of the scores that are kept, the highest first."""
    import torch
    from torchvision.ops import batched_nms

    if not scores.size:
        return []
    rows, columns = (places.ravel() for places in np.indices(scores.shape))
    flat = torch.from_numpy(scores.ravel())
    corners = torch.from_numpy(np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1))
    if protocol.max_overlap < 1:
        classes = torch.from_numpy(columns)
        kept = batched_nms(corners[torch.from_numpy(rows)], flat, classes, protocol.max_overlap)
    else:
        kept = torch.argsort(flat, descending=True, stable=True)
    return [(int(rows[place]), int(columns[place])) for place in kept[: protocol.most].tolist()]


def _usable(
    example: Example, proposals: Sequence[Proposal], skipped: list[str]
) -> tuple[Example, list[Proposal]]:
    kept, regions = [], []
    for place, proposal in enumerate(proposals):
        name = f"{example.id}/{place}"
        try:
            regions.append(LabelledRegion(name, proposal.region(example), 0.0))
        except AlphaClipError as error:
            skipped.append(f"proposal {name}: {error}")
        else:
            kept.append(proposal)
    shown = Example(example.id, example.path, example.width, example.height, tuple(regions))
    return shown, kept


def _texts(encoder: Encoder, entry: DetectionEntry, means: Means) -> np.ndarray:
    names = [name.replace("_", " ") for name in entry.truth.classes.values()]
    if not names:
        raise AlphaClipError(f"{entry.truth.name} has no classes: nothing can be found")
    protocol = entry.protocol
    return text_vectors(encoder, [*names, *protocol.background], protocol.templates, means.cache)


def _softmax(logits: np.ndarray) -> np.ndarray:
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


def _figures(judged: AveragePrecision, truth: Truth) -> dict[str, float]:
    parts: Mapping[str, Any] = {"": None, **truth.groups}
    figures = {
        f"{name} {group}".strip(): judged.mean(categories, threshold)
        for group, categories in parts.items()
        for threshold, name in NAMES.items()
    }
    return figures | {f"AP {size}": judged.mean(size=size) for size in SIZES}


def _options(protocol: DetectionProtocol) -> Iterator[str]:
    """What is not as usual."""
    usual = DetectionProtocol()
    for name in ("templates", "background", "logit_scale", "gamma", "max_overlap"):
        value = getattr(protocol, name)
        if value != getattr(usual, name):
            yield f"{name} {' / '.join(value) if isinstance(value, tuple) else value}"


def _settings(entry: DetectionEntry) -> dict[str, Any]:
    rules = "COCO's" if entry.truth.federated is None else "LVIS's federated"
    return {
        "setting": ", ".join([entry.source, entry.protocol.kind, *_options(entry.protocol)]),
        "proposals": entry.source,
        "classes": len(entry.truth.classes),
        "rules": rules,
        **asdict(entry.protocol),
    }

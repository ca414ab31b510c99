"""Naming proposals: from somebody else's boxes or masks to detections, by an encoder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from alphaclip.encoder.encoder import Encoder
from alphaclip.encoder.prompts import PHOTO
from alphaclip.errors import AlphaClipError
from alphaclip.training.datasets.examples import Example, LabelledRegion, RegionSet
from alphaclip.training.datasets.proposals import Proposal, Proposals
from alphaclip.training.evaluation.detection.average_precision import Detection, Kind
from alphaclip.training.evaluation.detection.truth import Truth
from alphaclip.training.evaluation.outcomes import Means
from alphaclip.training.evaluation.vectors import PICTURES_IN_PART, region_vectors, text_vectors


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
    """A set of pictures with proposals, of which a picture may have none.

    Attributes:
        truth: what is really there
        proposals: by picture
        source: where they come from, as in reports
        protocol: how they become detections
    """

    truth: Truth
    proposals: Proposals
    source: str
    protocol: DetectionProtocol = field(default_factory=DetectionProtocol)


def detect(
    encoder: Encoder, entry: DetectionEntry, means: Means, skipped: list[str]
) -> Iterator[Detection]:
    """Names the proposals of every picture; ``skipped`` gets a line for each that cannot be
    encoded.

    Yields:
        the detections that are left, those of one picture together, the surest first
    """
    examples, total = entry.truth.examples, len(entry.truth.examples)
    texts = _texts(encoder, entry, means)
    # a few pictures at a time: the masks of all proposals of a data set fit no memory
    for start in range(0, total, PICTURES_IN_PART):
        some = examples[start : start + PICTURES_IN_PART]
        usable = [proposed(e, entry.proposals.get(e.id, ()), skipped) for e in some]
        pictures = RegionSet(entry.truth.name, tuple(example for example, _ in usable))
        vectors = region_vectors(encoder, pictures, means.cache, None, skipped.append)
        ends = np.cumsum([len(proposals) for _, proposals in usable])
        for (example, proposals), rows in zip(usable, np.split(vectors, ends[:-1]), strict=True):
            yield from name_proposals(example.id, proposals, rows, texts, entry)
        if means.progress is not None:
            means.progress(min(start + PICTURES_IN_PART, total), total)


def proposed(
    example: Example, proposals: Sequence[Proposal], skipped: list[str]
) -> tuple[Example, list[Proposal]]:
    """The proposals that can be looked at, as regions of their picture, and themselves; ``skipped``
    gets a line for each that is outside the picture or damaged.
    """
    usable, regions = [], []
    for number, proposal in enumerate(proposals):
        name, area = f"{example.id}/{number}", proposal.box[2] * proposal.box[3]
        try:
            regions.append(LabelledRegion(name, proposal.region(example), area))
        except AlphaClipError as error:
            skipped.append(f"proposal {name}: {error}")
        else:
            usable.append(proposal)
    return replace(example, regions=tuple(regions)), usable


def name_proposals(
    example: str,
    proposals: Sequence[Proposal],
    vectors: np.ndarray,
    texts: np.ndarray,
    entry: DetectionEntry,
) -> list[Detection]:
    """The detections of one picture, the surest first.

    Args:
        example: the picture's id
        proposals: of it
        vectors: float32 (proposals, dim) of unit length; NaN rows are left out
        texts: float32 (classes and then background prompts, dim)
        entry: classes and protocol
    """
    protocol, categories = entry.protocol, list(entry.truth.classes)
    fine = np.flatnonzero(~np.isnan(vectors).any(axis=1)).tolist()
    logits = protocol.logit_scale * (vectors[fine].astype(np.float64) @ texts.T)
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    sure = np.array([proposals[row].objectness for row in fine]) ** protocol.gamma
    likely = odds / odds.sum(axis=1, keepdims=True)
    scores = likely[:, : len(categories)] * sure[:, None]
    boxes = np.array([proposals[row].box for row in fine], np.float64).reshape(-1, 4)
    return [
        Detection(
            example,
            categories[column],
            proposals[fine[row]].box,
            float(scores[row, column]),
            proposals[fine[row]].rle,
        )
        for row, column in _choose(boxes, scores, protocol)
    ]


def _choose(
    boxes: np.ndarray, scores: np.ndarray, protocol: DetectionProtocol
) -> list[tuple[int, int]]:
    """Rows and columns of the scores that are left, the highest first."""
    import torch
    from torchvision.ops import batched_nms

    if not scores.size:
        return []
    rows, columns = (numbers.ravel() for numbers in np.indices(scores.shape))
    flat = torch.from_numpy(scores.ravel())
    corners = torch.from_numpy(np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1))
    if protocol.max_overlap < 1:
        classes = torch.from_numpy(columns)
        left = batched_nms(corners[torch.from_numpy(rows)], flat, classes, protocol.max_overlap)
    else:
        left = torch.argsort(flat, descending=True, stable=True)
    return [(int(rows[at]), int(columns[at])) for at in left[: protocol.most].tolist()]


def _texts(encoder: Encoder, entry: DetectionEntry, means: Means) -> np.ndarray:
    names = [name.replace("_", " ") for name in entry.truth.classes.values()]
    if not names:
        raise AlphaClipError(f"{entry.truth.name} has no classes: nothing can be found")
    protocol = entry.protocol
    return text_vectors(encoder, [*names, *protocol.background], protocol.templates, means.cache)

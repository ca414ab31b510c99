"""The boxes of each picture that an expression chooses from, how they are shown, how texts fit."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from alphaclip.encoder.load import load
from alphaclip.errors import AlphaClipError
from alphaclip.sam.sam import SamModel
from alphaclip.training.datasets.examples import (
    Box,
    Example,
    Expression,
    ExpressionSet,
    LabelledRegion,
    RegionSet,
)
from alphaclip.training.datasets.proposals import Proposal
from alphaclip.training.evaluation.outcomes import Means
from alphaclip.training.evaluation.sam_proposals import (
    kept_in_file,
    masks_of_boxes,
    sam_settings,
)
from alphaclip.training.evaluation.vectors import region_vectors, rows_of, text_vectors
from alphaclip.views.view import View

BLUR_SIGMA = 100.0
"""In pixels of the original picture (ReCLIP's ``blur_std_dev``)."""

REPRESENTATIONS: Mapping[str, View] = MappingProxyType(
    {
        "full": View("squash"),
        "blur": View("squash", background="blur", blur_sigma=BLUR_SIGMA),
        "gray": View("squash", background="gray"),
        "crop": View("context", context=1.0),
    }
)
"""By the names of Alpha-CLIP's code, table 13: the whole picture squashed to the model's square
with the mask as alpha; the same, blurred or gray outside the mask; and the box's crop padded to a
square with black. The picture is scaled with antialiasing, as the reference does by PIL; so is the
mask, whose scaling there depends on torchvision's version."""


@dataclass(frozen=True)
class BoxGroup:
    """Boxes of one picture that are chosen from together.

    Attributes:
        example: the picture, its regions being the boxes or masks that have area
        numbers: of those regions among the boxes
        count: of all boxes
    """

    example: Example
    numbers: tuple[int, ...]
    count: int


def group_boxes(
    expressions: ExpressionSet, sam: SamModel | None, means: Means
) -> tuple[dict[str, BoxGroup], list[str]]:
    """The boxes of every picture, by :func:`group_key`, and a line for each that could not be read.

    Expressions of one picture share a group where their boxes are the same. A file of masks
    belongs to one split, one SAM and the boxes of each picture.

    Args:
        expressions: of a split
        sam: finds the masks of the boxes; None takes the boxes as masks
        means: cache and progress
    """
    boxes: dict[str, tuple[Example, tuple[Box, ...]]] = {}
    for expression in expressions:
        key = group_key(expression)
        boxes.setdefault(
            key, (replace(expression.example, id=key, regions=()), expression.proposals)
        )
    skipped: list[str] = []
    proposals: Mapping[str, Sequence[Proposal]]
    proposals = {key: [Proposal(box) for box in some] for key, (_, some) in boxes.items()}
    if sam is not None:
        proposals, skipped = kept_in_file(
            [example for example, _ in boxes.values()],
            lambda example: masks_of_boxes(sam, example, boxes[example.id][1]),
            {"set": expressions.name, "masks of": "boxes", **sam_settings(sam)},
            means.cache,
            means.progress,
        )
    groups = {
        key: _group(example, proposals[key], skipped)
        for key, (example, _) in boxes.items()
        if key in proposals
    }
    return groups, skipped


def group_key(expression: Expression) -> str:
    """Names a picture and the boxes in it."""
    content = repr(expression.proposals).encode()
    return f"{expression.example.id}-{hashlib.sha256(content).hexdigest()[:12]}"


def _group(example: Example, proposals: Sequence[Proposal], skipped: list[str]) -> BoxGroup:
    regions = {}
    for number, proposal in enumerate(proposals):
        if proposal.has_area:
            try:
                region, area = proposal.region(example), proposal.box[2] * proposal.box[3]
            except AlphaClipError as error:
                skipped.append(f"picture {example.id}, box {number}: {error}")
            else:
                regions[number] = LabelledRegion(f"{example.id}/{number}", region, area)
    if not regions:
        skipped.append(f"picture {example.id}: none of its {len(proposals)} boxes can be shown")
    visible = replace(example, regions=tuple(regions.values()))
    return BoxGroup(visible, tuple(regions), len(proposals))


class Fits:
    """How well texts fit the boxes of a picture, under one encoder.

    Args:
        name: of the encoder; a method in it is laid over the view of each representation
        representations: names of :data:`REPRESENTATIONS`
        logit_scale: of one model's cosine; those of an ensemble's members are summed
        groups: the boxes
        prompts: what is encoded of each text
        means: what to run with
        skipped: gets a line for each picture or box that cannot be encoded
    """

    def __init__(
        self,
        name: str,
        representations: Sequence[str],
        logit_scale: float,
        groups: Iterable[BoxGroup],
        prompts: Mapping[str, str],
        means: Means,
        skipped: list[str],
    ) -> None:
        pictures = RegionSet(name, tuple(group.example for group in groups))
        ids = (example.id for example in pictures.examples)
        self._rows = dict(zip(ids, rows_of(pictures.examples), strict=True))
        self._regions: list[np.ndarray] = []
        self._texts: dict[str, np.ndarray] = {}
        self._scale = logit_scale
        for representation in representations:
            view = REPRESENTATIONS[representation]
            encoder = load(name, means.device, means.precision, view)
            vectors = region_vectors(encoder, pictures, means.cache, means.progress, skipped.append)
            self._regions.append(vectors)
            if not self._texts and prompts:
                words = text_vectors(encoder, list(prompts.values()), cache=means.cache)
                self._texts = dict(zip(prompts, words.astype(np.float64), strict=True))
                self._scale *= len(getattr(encoder, "members", (encoder,)))

    def over(self, group: BoxGroup, texts: Iterable[str]) -> dict[str, np.ndarray] | None:
        """How well texts, all among the prompts, fit the boxes of a group.

        Returns:
            for each text float64 (boxes,), the softmax over the boxes, 0 for those without area
            or vector; None where no box has a vector
        """
        rows = self._rows[group.example.id]
        vectors = [regions[rows].astype(np.float64) for regions in self._regions]
        usable = ~np.isnan(np.concatenate(vectors, axis=1)).any(axis=1)
        if not usable.any():
            return None
        usable_vectors = [some[usable] for some in vectors]
        fits = {}
        for text in texts:
            logits = self._scale * np.sum(
                [some @ self._texts[text] for some in usable_vectors], axis=0
            )
            odds = np.exp(logits - logits.max())
            fits[text] = np.zeros(group.count)
            fits[text][np.array(group.numbers)[usable]] = odds / odds.sum()
        return fits

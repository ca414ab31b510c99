"""The boxes of each picture that an expression chooses from, and how well texts fit them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from alphaclip.encoder.load import load
from alphaclip.errors import AlphaClipError
from alphaclip.sam.sam import SamModel
from alphaclip.training.datasets.examples import Example, LabelledRegion, RegionSet
from alphaclip.training.datasets.expressions import Box, Expression, ExpressionSet
from alphaclip.training.datasets.proposals import Proposal
from alphaclip.training.evaluation.detection.sam_proposals import (
    kept_in_file,
    masks_of_boxes,
    sam_settings,
)
from alphaclip.training.evaluation.outcomes import Means
from alphaclip.training.evaluation.referring.referring_views import REPRESENTATIONS
from alphaclip.training.evaluation.vectors import region_vectors, text_vectors


@dataclass(frozen=True)
class BoxGroup:
    """Boxes of one picture that are chosen from together.

    Attributes:
        example: the picture, its regions being the boxes or masks that have area
        places: of those regions among the boxes
        count: of all boxes
    """

    example: Example
    places: tuple[int, ...]
    count: int


def group_boxes(
    expressions: ExpressionSet, sam: SamModel | None, means: Means
) -> tuple[dict[str, BoxGroup], list[str]]:
    """The boxes of every picture.

    Expressions of one picture share a group where their boxes are the same. A file of masks
    belongs to one split, one SAM and the boxes of each picture.

    Args:
        expressions: of a split
        sam: finds the masks of the boxes; None takes the boxes as masks
        means: cache and progress

    Returns:
        groups by :func:`group_key`, and a line for each picture or box that could not
        be read
    """
    boxes: dict[str, tuple[Example, tuple[Box, ...]]] = {}
    for expression in expressions:
        shown = expression.example
        example = Example(group_key(expression), shown.path, shown.width, shown.height, ())
        boxes.setdefault(example.id, (example, expression.proposals))
    skipped: list[str] = []
    found: Mapping[str, Sequence[Proposal]]
    found = {key: [Proposal(box) for box in some] for key, (_, some) in boxes.items()}
    if sam is not None:
        found, skipped = _masks(expressions.name, sam, boxes, means)
    groups = {key: _group(boxes[key][0], found[key], skipped) for key in boxes if key in found}
    return groups, skipped


def group_key(expression: Expression) -> str:
    """Names a picture and the boxes in it."""
    content = repr(expression.proposals).encode()
    return f"{expression.example.id}-{hashlib.sha256(content).hexdigest()[:12]}"


def _masks(
    name: str, sam: SamModel, boxes: Mapping[str, tuple[Example, tuple[Box, ...]]], means: Means
) -> tuple[dict[str, Sequence[Proposal]], list[str]]:
    return kept_in_file(
        [example for example, _ in boxes.values()],
        lambda example: masks_of_boxes(sam, example, boxes[example.id][1]),
        {"set": name, "masks of": "boxes", **sam_settings(sam)},
        means.cache,
        means.progress,
    )


def _group(example: Example, proposals: Sequence[Proposal], skipped: list[str]) -> BoxGroup:
    regions = {}
    for place, proposal in enumerate(proposals):
        if proposal.has_area:
            try:
                regions[place] = proposal.region(example)
            except AlphaClipError as error:
                skipped.append(f"picture {example.id}, box {place}: {error}")
    if not regions:
        skipped.append(f"picture {example.id}: none of its {len(proposals)} boxes can be shown")
    labelled = tuple(
        LabelledRegion(f"{example.id}/{place}", region, _area(proposals[place]))
        for place, region in regions.items()
    )
    shown = Example(example.id, example.path, example.width, example.height, labelled)
    return BoxGroup(shown, tuple(regions), len(proposals))


def _area(proposal: Proposal) -> float:
    return proposal.box[2] * proposal.box[3]


class Fits:
    """How well texts fit the boxes of a picture, under one encoder.

    Args:
        name: of the encoder; a method in it is laid over the view of each representation
        representations: names of
            :data:`~alphaclip.training.evaluation.referring.referring_views.REPRESENTATIONS`
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
        shown = RegionSet(name, tuple(group.example for group in groups))
        self._rows = _rows(shown)
        self._regions: list[np.ndarray] = []
        self._texts: dict[str, np.ndarray] = {}
        self._scale = logit_scale
        for representation in representations:
            view = REPRESENTATIONS[representation]
            encoder = load(name, means.device, means.precision, view)
            vectors = region_vectors(encoder, shown, means.cache, means.progress, skipped.append)
            self._regions.append(vectors)
            if not self._texts and prompts:
                words = text_vectors(encoder, list(prompts.values()), cache=means.cache)
                self._texts = dict(zip(prompts, words.astype(np.float64), strict=True))
                self._scale *= len(getattr(encoder, "members", (encoder,)))

    def over(self, group: BoxGroup, texts: Iterable[str]) -> dict[str, np.ndarray] | None:
        """How well texts fit.

        Args:
            group: the boxes
            texts: among the prompts

        Returns:
            for each text float64 (boxes,), the softmax over the boxes, 0 for those without area
            or vector; None where no box has a vector
        """
        rows = self._rows[group.example.id]
        vectors = [regions[rows].astype(np.float64) for regions in self._regions]
        usable = ~np.isnan(np.concatenate(vectors, axis=1)).any(axis=1)
        if not usable.any():
            return None
        shown = [found[usable] for found in vectors]
        places = np.array(group.places)[usable]
        return {text: self._softmax(text, shown, places, group.count) for text in texts}

    def _softmax(
        self, text: str, shown: Sequence[np.ndarray], places: np.ndarray, count: int
    ) -> np.ndarray:
        logits = self._scale * np.sum([found @ self._texts[text] for found in shown], axis=0)
        odds = np.exp(logits - logits.max())
        likely = np.zeros(count)
        likely[places] = odds / odds.sum()
        return likely


def _rows(shown: RegionSet) -> dict[str, slice]:
    ends = np.cumsum([len(example.regions) for example in shown.examples])
    return {
        example.id: slice(end - len(example.regions), end)
        for example, end in zip(shown.examples, ends, strict=True)
    }

"""How ``alphaclip-nano`` is trained: a base CLIP, the alpha fine-tune, region queries, captions."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from recipes.nano.data import BatchPlan


@dataclass(frozen=True)
class Phase:
    """One phase of training.

    Attributes:
        steps: optimiser steps
        rate: Muon's and AdamW's rate for all but the alpha convolution
        alpha_rate: AdamW's rate for the alpha convolution
        weight_decay: on matrices only, never on norms, biases and embeddings
        warm_up: steps of linear warm-up
        decay: share of the steps, at the end, in which the rates fall linearly to zero
        plan: what a batch holds
    """

    steps: int
    rate: float
    alpha_rate: float = 0.0
    weight_decay: float = 0.02
    warm_up: int = 100
    decay: float = 0.3
    plan: BatchPlan = field(default_factory=BatchPlan)

    def scale(self, step: int) -> float:
        """What the rates are multiplied with at a step, in [0, 1]."""
        falling = (self.steps - step) / max(1.0, self.decay * self.steps)
        return min(1.0, (step + 1) / max(1, self.warm_up), falling)


@dataclass(frozen=True)
class NanoRecipe:
    """Everything that decides what the weights become.

    The base phase trains both towers and the temperature. The alpha phase is the paper's recipe
    in small (section 3.2): the alpha convolution starts from zero and learns fastest, the rest
    of the image tower follows at a lower rate, the text tower and the temperature stay fixed,
    and ``plan.whole`` of the samples are whole pictures with all-ones alpha. ``plan.boxes`` of
    the regions are seen by their boxes: labels often are.

    The regions phase goes on from there to see all regions of a picture in one pass. It shows
    whole pictures, ``region_sides[0]`` pixels, with all-ones alpha at the input; their regions
    have queries in the last ``region_blocks``. What comes before these stays as it is, so that
    the file has it once. The finer phase shows the same with more pixels, ``region_sides[1]``,
    which costs three times as much; in it nano teaches the queries what it sees of a region by
    itself.

    The captions phase trains the text tower alone, for both image towers, on ``caption_parts``
    files of pictures. The base has learnt from batches of a few whole pictures what one thing is
    called; captions of several it hardly tells apart, whatever an image tower sees.
    """

    seed: int = 20231206
    base: Phase = field(
        default_factory=lambda: Phase(
            steps=3600,
            rate=1.2e-3,
            decay=0.5,
            plan=BatchPlan(whole=0.25, whole_view=0.0, small_steps=2800),
        )
    )
    alpha: Phase = field(
        default_factory=lambda: Phase(
            steps=13000,
            rate=8e-4,
            alpha_rate=4e-3,
            warm_up=50,
            decay=0.5,
            plan=BatchPlan(
                whole=0.2,
                close_up=0.15,
                crop=(1.1, 1.9),
                whole_view=0.1,
                boxes=0.3,
                small_steps=10500,
            ),
        )
    )

    region_sides: tuple[int, int] = (128, 192)
    region_blocks: int = 5
    regions: Phase = field(
        default_factory=lambda: Phase(
            steps=6000,
            rate=8e-4,
            warm_up=50,
            decay=0.5,
            plan=BatchPlan(size=24, close_up=0.2, boxes=0.3),
        )
    )
    finer: Phase = field(
        default_factory=lambda: Phase(
            steps=900,
            rate=4e-4,
            warm_up=50,
            decay=1.0,
            plan=BatchPlan(size=24, close_up=0.2, boxes=0.3),
        )
    )

    caption_parts: int = 64
    captions: Phase = field(
        default_factory=lambda: Phase(
            steps=300,
            rate=8e-4,
            warm_up=50,
            decay=0.5,
            plan=BatchPlan(size=256, close_up=0.2),
        )
    )

    def to_dict(self) -> dict[str, Any]:
        """The recipe as JSON holds it."""
        return asdict(self)

"""What a labelling run is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from alphaclip.arguments import COUNT, check, check_fields
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.labelling.promise.binomial import CONFIDENCE, check_share, needed
from alphaclip.indexing.labelling.promise.promise import ROOM, share_of_risk

Mode = Literal["promise", "ranking"]


@dataclass(frozen=True)
class LabelSettings:
    """What a run is to do; see :meth:`RegionIndex.label`.

    Attributes:
        into: a field for copies, or ``field.attribute`` of the index's own field
        precision: share of the written labels that is to be right, in (0, 1)
        confidence: of the promise, in (0, 1)
        mode: "promise", or "ranking", which writes every answer. None takes "promise" where there
            is a precision
        per_class: a promise for each class, instead of one over all
        templates: of the prompts, each with one ``{}``
        sample: regions to draw for the promise; of each class with ``per_class``. None takes
            enough for two wrong ones. "reviews" says that the reviews given are themselves a
            uniform random sample of all regions
        seed: of the draw, and of the folds
        overwrite: also labels that people wrote
        new_only: write only regions that are new or edited since the last run
        retrain: learn again from all reviews, those of the sample too, which is given up as it is,
            and draw a new one; one whose test has failed is given up by itself
        scorer: name of the language model that scores in place of the vectors
    """

    into: str = "auto"
    precision: float | None = None
    confidence: float = CONFIDENCE
    mode: Mode | None = None
    per_class: bool = False
    templates: Sequence[str] | None = None
    sample: int | str | None = None
    seed: int = 0
    overwrite: bool = False
    new_only: bool = False
    retrain: bool = False
    scorer: str | None = None

    def __post_init__(self) -> None:
        # Kept runs of an earlier version may still ask for it.
        if str(self.mode) == "expected":
            raise AlphaClipError(
                "the mode 'expected' was removed, as in hardly more than every second run the "
                "precision was reached: leave the mode out for a promise with a confidence, or "
                "take 'ranking' without a precision"
            )
        check_fields(self, mode=Mode)
        if self.chosen_mode == "ranking" and self.precision is not None:
            raise AlphaClipError("a ranking has no precision: leave one of mode and precision out")
        check_share("confidence", self.confidence)
        if self.chosen_mode != "ranking":
            check_share("precision", self.precision)
        elif self.per_class:
            raise AlphaClipError("per_class is for the mode 'promise'")
        if not (isinstance(self.sample, str) and self.sample == "reviews"):
            count = check("sample", self.sample, "int | None", COUNT)
            object.__setattr__(self, "sample", count)

    @property
    def chosen_mode(self) -> Mode:
        """The mode, where it is left to the precision."""
        return self.mode or ("ranking" if self.precision is None else "promise")

    @property
    def sample_size(self) -> int:
        """How many regions to draw for the first test; of each class with ``per_class``."""
        return self.size_of_sample(1)

    def size_of_sample(self, test: int) -> int:
        """How many regions to draw for a test, the first being 1; of each class with ``per_class``.

        Usually twice as many as the strictest threshold needs, which then lets half of them pass.
        """
        if isinstance(self.sample, int):
            return self.sample
        risk = share_of_risk(test) * (1 - self.confidence)
        return 2 * needed(ROOM, self.precision or 0.0, 1 - risk)

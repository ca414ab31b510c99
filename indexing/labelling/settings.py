"""What a labelling run is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.labelling.deciding import Mode
from alphaclip.indexing.labelling.promise.binomial import check_share


@dataclass(frozen=True)
class LabelSettings:
    """What a run is to do; see :meth:`RegionIndex.label`.

    Attributes:
        into: a field for copies, or ``field.attribute`` of the index's own field
        precision: share of the written labels that is to be right, in (0, 1)
        confidence: of the promise, in (0, 1)
        mode: "promise"; "expected", which holds on average only; or "ranking", which writes every
            answer. None takes "promise" where there is a precision
        per_class: a promise for each class, instead of one over all
        templates: of the prompts, each with one ``{}``
        sample: regions to draw for the promise; of each class with ``per_class``. None takes
            enough for two wrong ones. "reviews" says that the reviews given are themselves a
            uniform random sample of all regions
        seed: of the draw, and of the folds
        overwrite: also labels that people wrote
        new_only: write only regions that are new or edited since the last run
        retrain: learn again from all reviews outside the sample; the next sample is a new one
    """

    into: str = "auto"
    precision: float | None = None
    confidence: float = 0.9
    mode: Mode | None = None
    per_class: bool = False
    templates: Sequence[str] | None = None
    sample: int | str | None = None
    seed: int = 0
    overwrite: bool = False
    new_only: bool = False
    retrain: bool = False

    def __post_init__(self) -> None:
        if self.mode not in (None, *get_args(Mode)):
            raise AlphaClipError(f"mode is {self.mode!r}: expected {', '.join(get_args(Mode))}")
        if self.chosen_mode == "ranking" and self.precision is not None:
            raise AlphaClipError("a ranking has no precision: leave one of mode and precision out")
        if self.chosen_mode != "ranking":
            check_share("precision", self.precision)
            check_share("confidence", self.confidence)
        if self.per_class and self.chosen_mode != "promise":
            raise AlphaClipError("per_class is for the mode 'promise'")
        count = self.sample
        if not (count is None or count == "reviews" or (type(count) is int and count > 0)):
            raise AlphaClipError(
                f"sample is {count!r}: expected a whole number of at least 1, or 'reviews'"
            )

    @property
    def chosen_mode(self) -> Mode:
        """The mode, where it is left to the precision."""
        return self.mode or ("ranking" if self.precision is None else "promise")

"""How much of what there is the labels have, beside how many of them are right.

The random sample of a promise is drawn from all regions, those below any threshold and those taken
for none of the classes included. So of its regions that people said to be of a class, the share
that passes with the right class estimates the recall of what is written by machine. A sample drawn
from each class alike has none of the regions that were taken for no class, and tells no recall.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from alphaclip.indexing.labelling.promise.binomial import clopper_pearson


@dataclass(frozen=True)
class Recall:
    """Of the sample's regions that are of a class, how many get it.

    Attributes:
        recalled: that pass, with the right class
        total: that are of a class; one that was skipped or is disputed counts, as missed
        interval: Clopper and Pearson's, at the confidence of the promise; computed as if the
            threshold had been fixed before the sample, which the simulation in the tests shows to
            cost nothing that matters
    """

    recalled: int
    total: int
    interval: tuple[float, float]

    @classmethod
    def of(cls, is_recalled: np.ndarray, confidence: float) -> Recall | None:
        """Counts: bool (k,), of the regions that are of a class; None of nothing."""
        if not len(is_recalled):
            return None
        recalled, total = int(is_recalled.sum()), len(is_recalled)
        return cls(recalled, total, clopper_pearson(recalled, total, confidence))

    @property
    def estimate(self) -> float:
        """In [0, 1]."""
        return self.recalled / self.total

    def to_dict(self) -> dict[str, Any]:
        """The same in JSON values, with the estimate."""
        counts = {"recalled": self.recalled, "total": self.total}
        return {**counts, "estimate": self.estimate, "interval": list(self.interval)}

"""Pictures as FiftyOne's loaders open them for an encoder; imports torch."""

from __future__ import annotations

from typing import Any

import fiftyone.utils.torch as fout
import numpy as np

from alphaclip.indexing.brain.patches import as_item
from alphaclip.regions.images import open_image


class PictureItem(fout.GetItem):
    """Opens the picture of a sample, as a build does."""

    @property
    def required_keys(self) -> list[str]:
        """The fields of a sample that are read."""
        return ["filepath"]

    def __call__(self, d: dict[str, Any]) -> np.ndarray:
        """The picture, as one object."""
        return as_item(open_image(d["filepath"]))

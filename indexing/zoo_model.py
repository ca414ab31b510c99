"""The encoders as FiftyOne zoo models."""

from __future__ import annotations

from typing import Any

import fiftyone.core.models as fom
import numpy as np
from PIL import Image

from alphaclip.encoder import Encoder
from alphaclip.loading import load
from alphaclip.regions import Region


class RegionModel(fom.Model, fom.EmbeddingsMixin, fom.PromptMixin):
    """Embeds whole pictures and text in the space of the region vectors.

    Args:
        encoder: or its name, see :func:`alphaclip.load`
    """

    def __init__(self, encoder: str | Encoder) -> None:
        self._encoder: Encoder = load(encoder)
        self._last: np.ndarray | None = None

    @property
    def media_type(self) -> str:
        """Images only."""
        return "image"

    @property
    def ragged_batches(self) -> bool:
        """Pictures of different sizes may share a batch."""
        return True

    @property
    def transforms(self) -> None:
        """None: the encoder prepares pictures itself."""

    @property
    def preprocess(self) -> bool:
        """Not used."""
        return False

    @preprocess.setter
    def preprocess(self, value: bool) -> None:
        """Not used."""

    @property
    def has_embeddings(self) -> bool:
        """Always."""
        return True

    @property
    def can_embed_prompts(self) -> bool:
        """Always."""
        return True

    def predict(self, arg: Any) -> None:
        """Embeds; there is no prediction."""
        self.embed(arg)

    def get_embeddings(self) -> np.ndarray | None:
        """The vectors of the last picture."""
        return self._last

    def embed(self, arg: Any) -> np.ndarray:
        """A picture, uint8 (H, W), (H, W, 3) or (H, W, 4), as a vector (dim,)."""
        picture = Image.fromarray(np.asarray(arg)).convert("RGB")
        self._last = self._encoder.encode_regions(picture, [Region.whole_image()])
        return self._last[0]

    def embed_prompt(self, arg: str) -> np.ndarray:
        """A text as a vector (dim,)."""
        return self.embed_prompts([arg])[0]

    def embed_prompts(self, args: list[str]) -> np.ndarray:
        """Texts as vectors (n, dim)."""
        return self._encoder.encode_text(args)

"""An open_clip model whose image encoder takes an alpha map."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import open_clip
from torch import Tensor, nn

from alphaclip.errors import AlphaClipError, MissingWeightsError
from alphaclip.files import Stamp
from alphaclip.network.text_towers import encode_tokens
from alphaclip.weights.alpha_channel import join_alpha
from alphaclip.weights.architectures import ModelConfig, build_tokenizer
from alphaclip.weights.dual_encoders import NaFlexPictures


class AlphaCLIP(nn.Module):
    """A CLIP with an alpha channel.

    Attributes:
        clip: the open_clip model, or one of transformers' in its shape; its state dict has
            open_clip's names, the alpha convolution is ``visual.conv1_alpha.weight`` (see
            `alphaclip.weights.alpha_channel`)
        config: what it was built from
        has_text: whether the text tower has weights, so that text can be encoded
        text_weights: makes the text tower's tensors, where those were not on this machine: they
            are downloaded when text is encoded or the fingerprint is asked for, see `load_text`;
            None where they are loaded or none were named
        sources: the files that all its weights are from, each as it was when it was read; none
            where some are from elsewhere
        dim: length of an embedding
        image_size: R, the side of the square that the image encoder takes, in pixels
        mean: of the red, green and blue values in [0, 1] that images are normalised with
        std: their standard deviation
    """

    def __init__(
        self,
        clip: open_clip.CLIP,
        config: ModelConfig,
        has_text: bool,
        text_weights: Callable[[], Mapping[str, Tensor]] | None = None,
    ) -> None:
        super().__init__()
        self.clip = clip
        self.config = config
        self.has_text = has_text
        self.text_weights = text_weights
        self.sources: list[tuple[str, Stamp]] = []
        self.dim = int(config.settings["embed_dim"])
        self.image_size = _square_size(clip, config)
        self.mean = _channels(config, "mean", open_clip.OPENAI_DATASET_MEAN)
        self.std = _channels(config, "std", open_clip.OPENAI_DATASET_STD)

    def encode_image(self, image: Tensor, alpha: Tensor) -> Tensor:
        """Encodes pictures together with what to look at in them.

        Nothing is normalised here, neither the inputs nor the output.

        Args:
            image: float (N, 3, R, R), values (x - `mean`) / `std` for x in [0, 1]; for NaFlex of
                any whole number of patches
            alpha: float (N, 1, R, R), values (x - 0.5) / 0.26 for x in [0, 1]: +1.923 inside
                the region, -1.923 outside

        Returns:
            float (N, dim), the embedding before normalisation

        Raises:
            AlphaClipError: the shapes do not fit each other or this model
        """
        joined = join_alpha(image, alpha)
        is_square = joined.shape[-2:] == (self.image_size, self.image_size)
        if not is_square and not isinstance(self.clip.visual, NaFlexPictures):
            raise AlphaClipError(
                f"image has shape {tuple(image.shape)}: {self.config.name} takes "
                f"{self.image_size} x {self.image_size} pixels"
            )
        return self.clip.encode_image(joined, normalize=False)

    def load_text(self) -> None:
        """Loads the text tower's weights, where that was left for later; else does nothing.

        Raises:
            MissingWeightsError: they are not here and cannot be downloaded; says how to get them
        """
        if self.text_weights is not None:
            self.clip.load_state_dict(self.text_weights(), strict=False)
            self.text_weights, self.has_text = None, True

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Encodes tokenised text, as far as the longest reaches: see `encode_tokens`.

        Args:
            tokens: int64 (M, context length), from `tokenizer`

        Returns:
            float (M, dim), the embedding before normalisation

        Raises:
            MissingWeightsError: only the image encoder has weights; says how to get the others
        """
        self.load_text()
        if not self.has_text:
            raise MissingWeightsError(
                f"{self.config.name}: the text tower has no weights, only images can be encoded; "
                'name the base model\'s, for example create_model(..., pretrained="openai")'
            )
        return encode_tokens(self.clip, tokens)

    @cached_property
    def tokenizer(self) -> Any:
        """open_clip's tokenizer for this model: strings to int64 (n, context length).

        Raises:
            MissingWeightsError: its files are not here; says where they have to be
        """
        return build_tokenizer(self.config)


def _square_size(clip: open_clip.CLIP, config: ModelConfig) -> int:
    size: Any = clip.visual.image_size
    height, width = (size, size) if isinstance(size, int) else size
    if height != width:
        raise AlphaClipError(f"{config.name} takes {height} x {width} pixels, not a square")
    return int(height)


def _channels(
    config: ModelConfig, key: str, default: tuple[float, ...]
) -> tuple[float, float, float]:
    red, green, blue = config.preprocess.get(key) or default
    return float(red), float(green), float(blue)

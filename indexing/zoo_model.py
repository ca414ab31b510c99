"""Encoders as models of FiftyOne, whose zoo looks for them here, see `brain.zoo_source`."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import fiftyone.core.models as fom
import numpy as np
from fiftyone.core.config import Config
from PIL import Image

from alphaclip.arguments import checked
from alphaclip.encoder.encoder import Encoder
from alphaclip.encoder.load import load
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.brain.patches import (
    as_item,
    end_patches,
    expecting_index,
    is_without_numbers,
    without_numbers,
)
from alphaclip.regions.region import Region

if TYPE_CHECKING:
    import fiftyone as fo

    from alphaclip.indexing.brain.picture_items import PictureItem

logger = logging.getLogger(__name__)

TEXT_PROMPT = "A photo of a"

LOGITS = 100.0
"""What CLIP multiplies cosines by, before they become the probabilities of classes."""

CROPS = (
    "{name} is about to embed crops: FiftyOne cuts the boxes of patches out of their pictures, "
    "without masks and what is around them, and searches by these are far less exact. With masks: "
    "alphaclip.indexing.build(dataset, FIELD, {name!r}), or the operator 'Embed regions'; or "
    "fob.compute_similarity(dataset, patches_field=FIELD, model={name!r}, "
    "backend=alphaclip.indexing.similarity.FaissSimilarityConfig)"
)
NO_CLASSES = (
    "{name} has no classes to tell pictures by: "
    'foz.load_zoo_model({name!r}, classes=["cat", "dog"]) has; classes of regions are given by '
    "alphaclip.indexing.load(dataset, KEY).label(classes)"
)


class RegionModel(fom.Model, fom.EmbeddingsMixin, fom.PromptMixin, fom.SupportsGetItem):
    """Embeds whole pictures and text in the space of the region vectors, and classifies pictures.

    Args:
        encoder: or its name, see :func:`alphaclip.load`
        classes (None): names that :meth:`predict` chooses from
        text_prompt ("A photo of a"): what stands before a class
    """

    media_type = "image"
    config: Any = None
    ragged_batches = False
    """Pictures of all sizes share a batch: FiftyOne is given each as one object."""

    has_collate_fn = False
    preprocess = False
    """The encoder prepares pictures itself."""

    can_embed_prompts = True

    @checked()
    def __init__(
        self,
        encoder: str | Encoder,
        classes: Sequence[str] | None = None,
        text_prompt: str = TEXT_PROMPT,
    ) -> None:
        self.encoder: Encoder = load(encoder)
        self.classes = None if classes is None else list(classes)
        self._prompt = text_prompt
        self._last: np.ndarray | None = None
        self._embeds = self._is_applied = False

    def __enter__(self) -> RegionModel:
        self._is_applied = not self._embeds
        return self

    def __exit__(self, *args: Any) -> None:
        end_patches()
        self._embeds = self._is_applied = False

    @property
    def has_embeddings(self) -> bool:
        """True. FiftyOne asks before it embeds, and does not where it applies a model."""
        self._embeds = True
        return True

    @property
    def transforms(self) -> Any:
        """What is done to the crop of a patch. FiftyOne asks for it before it cuts the first, and
        never for whole pictures, which come by :meth:`build_get_item`."""
        index = expecting_index()
        if index is not None and index.is_filled_by(self):
            return without_numbers
        message = CROPS.format(name=self.encoder.name)
        logger.warning("%s", message)
        warnings.warn(message, stacklevel=2)
        return as_item

    def build_get_item(self, field_mapping: dict[str, str] | None = None) -> PictureItem:
        """How FiftyOne's loaders open a picture.

        Raises:
            AlphaClipError: if the model is applied and has no classes; FiftyOne goes on after what
                fails later, batch by batch
        """
        if self._is_applied:
            self._stated_classes()
        from alphaclip.indexing.brain.picture_items import PictureItem

        return PictureItem(field_mapping=field_mapping)

    def predict(self, arg: Any) -> fo.Classification:
        """The class of a picture, see :meth:`embed`; its confidence is the softmax over the
        classes of 100 times the cosines.

        Raises:
            AlphaClipError: if the model was loaded without classes
        """
        return self.predict_all([arg])[0]

    def predict_all(self, args: Any) -> list[fo.Classification]:
        """The classes of several pictures."""
        import fiftyone as fo
        from scipy.special import softmax

        classes = self._stated_classes()
        shares = softmax(LOGITS * self.embed_all(args) @ self._class_vectors.T, axis=1)
        best = shares.argmax(axis=1)
        return [
            fo.Classification(label=classes[number], confidence=float(line[number]))
            for number, line in zip(best, shares, strict=True)
        ]

    def get_embeddings(self) -> np.ndarray | None:
        """The vectors of the last pictures: (n, dim)."""
        return self._last

    def embed(self, arg: Any) -> np.ndarray:
        """A picture, uint8 (H, W), (H, W, 3) or (H, W, 4), as a vector (dim,)."""
        return self.embed_all([arg])[0]

    def embed_all(self, args: Any) -> np.ndarray:
        """Pictures as vectors (n, dim), in one batch."""
        if is_without_numbers(args):
            return args
        items = [(_opened(arg), [Region.whole_image()]) for arg in args]
        self._last = np.concatenate(list(self.encoder.encode_many(items, batch_size=len(items))))
        return self._last

    def embed_prompt(self, arg: str) -> np.ndarray:
        """A text as a vector (dim,)."""
        return self.embed_prompts([arg])[0]

    def embed_prompts(self, args: list[str]) -> np.ndarray:
        """Texts as vectors (n, dim)."""
        return self.encoder.recall_text(args)

    def _stated_classes(self) -> list[str]:
        if not self.classes:
            raise AlphaClipError(NO_CLASSES.format(name=self.encoder.name))
        return self.classes

    @cached_property
    def _class_vectors(self) -> np.ndarray:
        return self.encoder.recall_text([f"{self._prompt} {name}" for name in self.classes or ()])


def _opened(picture: Any) -> Image.Image:
    return Image.fromarray(np.asarray(picture)).convert("RGB")


class ZooEncoderConfig(Config):
    """What a manifest says of a model, and ``foz.load_zoo_model`` is asked for.

    Attributes:
        encoder: its name
        classes, text_prompt: see :class:`RegionModel`
    """

    def __init__(self, d: dict[str, Any]) -> None:
        self.encoder = self.parse_string(d, "encoder")
        self.classes = self.parse_raw(d, "classes", default=None)
        self.text_prompt = self.parse_string(d, "text_prompt", default=TEXT_PROMPT)


class ZooEncoder(RegionModel):
    """A model that is made as FiftyOne makes those of its own manifests."""

    def __init__(self, config: ZooEncoderConfig) -> None:
        super().__init__(config.encoder, config.classes, config.text_prompt)
        self.config = config

"""Where the manifests of FiftyOne's model zoo look for the models, see `brain.zoo_source`."""

from __future__ import annotations

from typing import Any

from fiftyone.core.config import Config

from alphaclip.indexing.similarity import TEXT_PROMPT, RegionModel

__all__ = ["RegionModel", "ZooEncoder", "ZooEncoderConfig"]


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

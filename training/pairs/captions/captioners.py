"""Captions of crops by a model that the user has, and what is done to them before they are texts.

Source: Sun et al., "Alpha-CLIP", 2023 (arXiv 2312.03818), sections 3.1 and C.1: the caption of an
object on white, without what it says of the white.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from alphaclip.errors import AlphaClipError

Captioner = Callable[[Sequence[np.ndarray]], list[str]]
"""From pictures, each uint8 (H, W, 3), to a caption of each."""

_TOKENS = 40
"""Of a caption: those of crops are a sentence, and a model that repeats itself has to end."""

BACKGROUND_PHRASES = (
    "isolated on a plain white background",
    "isolated on a white background",
    "isolated on white background",
    "isolated on a white surface",
    "isolated on white",
    "on a plain white background",
    "on a pure white background",
    "on a solid white background",
    "on a white background",
    "on the white background",
    "on white background",
    "on a plain background",
    "on a white backdrop",
    "on a white surface",
    "on a white canvas",
    "against a plain white background",
    "against a white background",
    "against a white backdrop",
    "against a white wall",
    "in front of a white background",
    "over a white background",
    "in a white background",
    "with a white background",
    "with white background",
    "and a white background",
    "the background is white",
    "a white background",
    "white background",
)
"""What captions say of the white that crops are put on; of those that begin alike the longer one
comes first."""

_BACKGROUND = re.compile(
    rf"[\s,]*\b(?:{'|'.join(map(re.escape, BACKGROUND_PHRASES))})\b", re.IGNORECASE
)


def strip_background(caption: str) -> str:
    """A caption without what it says of a white background; empty if it says nothing else."""
    return " ".join(_BACKGROUND.sub("", caption).split()).strip(" ,.;")


def load_captioner(name: str, device: str | None = None, batch: int = 8) -> Captioner:
    """Loads an image-to-text model of transformers.

    Args:
        name: of a model on the Hugging Face Hub, such as ``Salesforce/blip-image-captioning-base``,
            downloaded if need be; or a folder. Its weights have to be safetensors, and no code of
            its own is run.
        device (None): a torch device; None takes a GPU if there is one
        batch: pictures at a time

    Raises:
        AlphaClipError: if it cannot be had, or makes no text of a picture alone
    """
    from alphaclip.network.devices import find_device

    try:
        from transformers import AutoModelForImageTextToText, AutoProcessor

        # Where nothing is said, transformers asks in the terminal whether to run it
        own_code = {"trust_remote_code": False}
        processor = AutoProcessor.from_pretrained(name, **own_code)
        model: Any = AutoModelForImageTextToText.from_pretrained(
            name, use_safetensors=True, **own_code
        )
    except ImportError as error:
        raise AlphaClipError(
            f"captions of crops need transformers ({error}): run `pip install transformers`, or "
            "leave the captioner out, then the texts are the classes"
        ) from error
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise AlphaClipError(
            f"{name} cannot be loaded as an image-to-text model ({str(error)[:300]}): give one "
            "with safetensors weights, such as Salesforce/blip-image-captioning-base, by its name "
            "on the Hugging Face Hub or its folder"
        ) from error
    return model_captioner(processor, model.to(find_device(device)).eval(), batch)


def model_captioner(processor: Any, model: Any, batch: int = 8) -> Captioner:
    """A captioner from a processor and a model of transformers that generates text.

    Args:
        processor: of the model
        model: on its device
        batch: pictures at a time
    """

    def caption(images: Sequence[np.ndarray]) -> list[str]:
        import torch
        from PIL import Image

        texts: list[str] = []
        for start in range(0, len(images), batch):
            some = [Image.fromarray(image) for image in images[start : start + batch]]
            inputs = processor(images=some, return_tensors="pt").to(model.device)
            with torch.inference_mode():
                tokens = model.generate(**inputs, max_new_tokens=_TOKENS, do_sample=False)
            texts += processor.batch_decode(tokens, skip_special_tokens=True)
        return [" ".join(text.split()) for text in texts]

    return caption

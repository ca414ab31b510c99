"""Detectors of phrases from transformers: Grounding DINO, OWL-ViT, OWLv2 and the like."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from alphaclip.encoder.load import find_device
from alphaclip.errors import AlphaClipError
from alphaclip.training.pairs.captions.grounding import FoundBox, GroundingSettings, keep_boxes

Detect = Callable[..., list[dict[str, Any]]]
"""A ``zero-shot-object-detection`` pipeline, or what answers as one does."""


class PhraseDetector:
    """Finds phrases with a pipeline of transformers.

    Args:
        detect: called with a PIL image, ``candidate_labels`` and ``threshold``; returns dicts of
            ``label``, ``score`` and ``box``, whose ``xmin`` ... ``ymax`` are in pixels
        name: of the model
        settings: which boxes are kept
        write: a phrase as the model wants it
    """

    def __init__(
        self,
        detect: Detect,
        name: str,
        settings: GroundingSettings | None = None,
        write: Callable[[str], str] = str,
    ) -> None:
        self.name = f"{name}, {settings or GroundingSettings()}"
        self._detect = detect
        self._settings = settings or GroundingSettings()
        self._write = write

    def ground(self, image: np.ndarray, phrases: Sequence[str]) -> list[list[FoundBox]]:
        """See :meth:`alphaclip.training.pairs.captions.grounding.Grounder.ground`."""
        from PIL import Image

        if not phrases:
            return []
        written = [self._write(phrase) for phrase in phrases]
        answers = self._detect(
            Image.fromarray(image),
            candidate_labels=list(dict.fromkeys(written)),
            threshold=self._settings.least_score,
        )
        height, width = image.shape[:2]
        boxes: dict[str, list[FoundBox]] = {label: [] for label in written}
        for answer in answers:
            box = answer["box"]
            left, right = box["xmin"] / width, box["xmax"] / width
            corners = left, box["ymin"] / height, right, box["ymax"] / height
            boxes[answer["label"]].append(FoundBox(corners, float(answer["score"])))
        return [keep_boxes(boxes[label], self._settings) for label in written]


def load_detector(
    name: str, device: str | None = None, settings: GroundingSettings | None = None
) -> PhraseDetector:
    """Loads a zero-shot detector of transformers.

    Args:
        name: of a model on the Hugging Face Hub, such as ``IDEA-Research/grounding-dino-tiny`` or
            ``google/owlv2-base-patch16-ensemble``, downloaded if need be; or a folder. Its weights
            have to be safetensors, and no code of its own is run.
        device (None): a torch device; None takes a GPU if there is one
        settings (None): which boxes are kept

    Raises:
        AlphaClipError: if it cannot be had or is no such model; says what to do
    """
    try:
        from transformers import pipeline

        detect = pipeline(
            "zero-shot-object-detection",
            model=name,
            device=find_device(device),
            trust_remote_code=False,
            model_kwargs={"use_safetensors": True},
        )
    except ImportError as error:
        raise AlphaClipError(
            f"detectors of phrases need transformers ({error}): run `pip install transformers`"
        ) from error
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise AlphaClipError(
            f"{name} cannot be loaded as a zero-shot detector ({str(error)[:300]}): give a model "
            "with safetensors weights, such as IDEA-Research/grounding-dino-tiny, by its name on "
            "the Hugging Face Hub or its folder"
        ) from error
    is_dino = "grounding-dino" in detect.model.config.model_type
    return PhraseDetector(detect, name, settings, _as_sentence if is_dino else str)


def _as_sentence(phrase: str) -> str:
    """As Grounding DINO was trained: in lower case, with a full stop."""
    return f"{phrase.lower().rstrip('. ')}."

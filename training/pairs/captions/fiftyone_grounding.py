"""Grounding models of FiftyOne's zoo."""

from __future__ import annotations

from typing import Any

from alphaclip.errors import AlphaClipError
from alphaclip.training.pairs.captions.grounding import GroundingSettings
from alphaclip.training.pairs.captions.phrase_detectors import PhraseDetector, load_detector

_DETECTORS = "FiftyOneZeroShotTransformerForObjectDetection"


def load_zoo_detector(
    name: str, device: str | None = None, settings: GroundingSettings | None = None
) -> PhraseDetector:
    """Loads a grounding model by its name in FiftyOne's zoo.

    The zoo fixes the words that a model looks for when it is loaded, captions need other ones for
    each picture; so the model of transformers that the zoo names is loaded here.

    Args:
        name: such as ``grounding-dino-tiny-torch`` or ``owlvit-base-patch16-torch``
        device (None): a torch device; None takes a GPU if there is one
        settings (None): which boxes are kept

    Raises:
        AlphaClipError: if the zoo has no such detector, or it cannot be loaded
    """
    return load_detector(find_zoo_detector(name), device, settings)


def find_zoo_detector(name: str) -> str:
    """The name that a zero-shot detector of FiftyOne's zoo has at the Hugging Face Hub.

    Raises:
        AlphaClipError: if the zoo has no model of this name, or it is none on transformers
    """
    import fiftyone.zoo as foz

    examples = "expected one such as grounding-dino-tiny-torch or owlvit-base-patch16-torch"
    try:
        found: Any = foz.get_zoo_model(name)
    except ValueError as error:
        raise AlphaClipError(f"FiftyOne's zoo has no model {name!r}: {examples}") from error
    deployment = found.default_deployment_config_dict or {}
    place = (deployment.get("config") or {}).get("name_or_path")
    if not str(deployment.get("type", "")).endswith(_DETECTORS) or not place:
        raise AlphaClipError(
            f"{name} of FiftyOne's zoo is no zero-shot detector on transformers: {examples}"
        )
    return str(place)

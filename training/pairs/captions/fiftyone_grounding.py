"""Grounding models of FiftyOne's zoo."""

from __future__ import annotations

from typing import Any

from alphaclip.errors import AlphaClipError

_DETECTORS = "FiftyOneZeroShotTransformerForObjectDetection"


def find_zoo_detector(name: str) -> str:
    """The name that a zero-shot detector of FiftyOne's zoo has at the Hugging Face Hub.

    The zoo fixes the words that a model looks for when it is loaded, captions need other ones for
    each picture; so `load_detector` loads the model of transformers that the zoo names.

    Args:
        name: such as ``grounding-dino-tiny-torch`` or ``owlvit-base-patch16-torch``

    Raises:
        AlphaClipError: if the zoo has no model of this name, or it is none on transformers
    """
    import fiftyone.zoo as foz

    examples = "expected one such as grounding-dino-tiny-torch or owlvit-base-patch16-torch"
    try:
        entry: Any = foz.get_zoo_model(name)
    except ValueError as error:
        raise AlphaClipError(f"FiftyOne's zoo has no model {name!r}: {examples}") from error
    deployment = entry.default_deployment_config_dict or {}
    model = (deployment.get("config") or {}).get("name_or_path")
    if not str(deployment.get("type", "")).endswith(_DETECTORS) or not model:
        raise AlphaClipError(
            f"{name} of FiftyOne's zoo is no zero-shot detector on transformers: {examples}"
        )
    return str(model)

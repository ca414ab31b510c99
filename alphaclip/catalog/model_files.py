"""A model's own files: what to build of a folder or a converted weights file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alphaclip.catalog.methods import Method
from alphaclip.catalog.released import BASE_TAG
from alphaclip.errors import CheckpointError, MissingWeightsError

if TYPE_CHECKING:
    from alphaclip.views.view import View

CARD_FILE = "card.json"
HUB_WEIGHTS_FILE = "open_clip_model.safetensors"


@dataclass(frozen=True)
class ModelSpec:
    """A model that can be built: ``create_model(architecture, checkpoint_path, pretrained)``.

    Attributes:
        name: resolves to this again, in any process on this machine
        architecture: an open_clip architecture, or the path of a JSON configuration
        pretrained: open_clip's tag of the base weights, or a file of them; None where the
            checkpoint has both towers
        checkpoint_path: weights with an alpha channel, None for a plain open_clip model
        default_view: how regions are shown to it unless the user says otherwise
        licence: what the weights may be used for
        warning: what a user who did not choose it should be told, empty if nothing
        methods: what is done to it so that it encodes regions, see `alphaclip.catalog.methods`; an
            OVSeg weights file with ``maskprompt`` is built by `alphaclip.encoder.mask_prompts`
    """

    name: str
    architecture: str
    pretrained: str | None
    checkpoint_path: Path | None
    default_view: View
    licence: str
    warning: str = ""
    methods: tuple[Method, ...] = ()


def folder_spec(folder: Path, name: str, warning: str = "") -> ModelSpec:
    """What a model's folder holds.

    Args:
        folder: with an open_clip JSON configuration and safetensors weights, with an alpha channel
            or without; a ``card.json`` may state licence and default view
        name: of the model
        warning: see `ModelSpec`

    Raises:
        MissingWeightsError: it does not hold one configuration and one weights file
        CheckpointError: a file is not what it should be
    """
    from alphaclip.weights.checkpoints import has_alpha

    hub = folder / HUB_WEIGHTS_FILE
    found = iter([hub]) if hub.is_file() else folder.glob("*.safetensors")
    weights = _only(folder, found, "safetensors weights")
    config = _only(folder, filter(_is_config, folder.glob("*.json")), "open_clip configuration")
    pretrained, checkpoint = (None, weights) if has_alpha(weights) else (str(weights), None)
    view, licence = _card_view(folder), stated_licence(folder)
    return ModelSpec(name, str(config), pretrained, checkpoint, view, licence, warning)


def file_spec(path: Path) -> ModelSpec:
    """What a converted ``.safetensors`` file holds; its path is the model's name.

    Raises:
        CheckpointError: it is of another kind, or does not say which architecture it is for
    """
    from alphaclip.weights.checkpoints import has_text_tower, read_metadata

    if path.suffix != ".safetensors":
        raise CheckpointError(
            f"{path}: a model is a folder or a .safetensors file; a released .pth is converted "
            f"first: alphaclip convert {path} --as NAME"
        )
    metadata = read_metadata(path)
    if "architecture" not in metadata:
        raise CheckpointError(
            f"{path}: does not say which architecture it is for; put it in a folder of its own "
            "with its open_clip JSON configuration, and name the folder"
        )
    return ModelSpec(
        str(path),
        metadata["architecture"],
        None if has_text_tower(path) else BASE_TAG,
        path,
        object_view(),
        metadata.get("licence", "not stated"),
    )


def object_view() -> View:
    """The crop with which the paper measures objects in photographs (appendix C.1)."""
    from alphaclip.views.view import View

    return View(kind="context", context=1.5)


def stated_licence(folder: Path) -> str:
    """What a folder's card says of its licence."""
    return str(_card(folder).get("licence", "not stated"))


def _card_view(folder: Path) -> View:
    from alphaclip.views.view import View

    stated = _card(folder).get("default_view")
    try:
        return View(**stated) if stated else object_view()
    except TypeError as error:
        raise CheckpointError(
            f"{folder / CARD_FILE}: default_view is {stated!r}: {error}"
        ) from error


def _card(folder: Path) -> dict[str, Any]:
    path = folder / CARD_FILE
    return _read_json(path) if path.is_file() else {}


def _is_config(path: Path) -> bool:
    content = _read_json(path)
    return "vision_cfg" in content or "model_cfg" in content


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{path}: not a JSON file: {error}") from error
    return content if isinstance(content, dict) else {}


def _only(folder: Path, candidates: Iterator[Path], what: str) -> Path:
    found = sorted(candidates)
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise MissingWeightsError(
            f"{folder}: a model's folder holds one file of {what}, found: {names}"
        )
    return found[0]

"""Which models there are, what each name stands for, and where weights are on this machine."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import alphaclip.nano
from alphaclip.errors import CheckpointError, MissingWeightsError, ModelNotFoundError
from alphaclip.released import BASE_TAG, LICENCE, RELEASED, Released

if TYPE_CHECKING:
    from alphaclip.views import View

logger = logging.getLogger(__name__)

NANO = "alphaclip-nano"
NANO_FOLDER = Path(alphaclip.nano.__file__).parent
NANO_WARNING = (
    f"{NANO} knows drawings, not photographs: it shows how everything works; for your own "
    "pictures install a released checkpoint, `alphaclip models` says how"
)
GRIT_WARNING = (
    "{name} was trained on GRIT alone and is below plain CLIP on object crops: install a -mim "
    "checkpoint, `alphaclip models alphaclip-vit-l14-grit1m-mim` says how"
)
OPENCLIP_PREFIX = "openclip:"
HUB_WEIGHTS_FILE = "open_clip_model.safetensors"
WEIGHTS_FILE = "model.safetensors"
CARD_FILE = "card.json"


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
    """

    name: str
    architecture: str
    pretrained: str | None
    checkpoint_path: Path | None
    default_view: View
    licence: str
    warning: str = ""


@dataclass(frozen=True)
class ModelInfo:
    """One line of the list of models.

    Attributes:
        name: what to call it
        summary: what it is, in a few words
        licence: what its weights may be used for
        path: where its weights are, None while they are not installed
        advice: what to do to get it, empty where it is installed
    """

    name: str
    summary: str
    licence: str
    path: Path | None
    advice: str = ""

    @property
    def installed(self) -> bool:
        """Whether its own weights are on this machine."""
        return self.path is not None


def models_folder() -> Path:
    """Where converted checkpoints are kept: ``ALPHACLIP_MODELS``, or a folder in the cache."""
    return Path(os.environ.get("ALPHACLIP_MODELS") or "~/.cache/alphaclip").expanduser()


def list_models() -> list[ModelInfo]:
    """The models with names of their own, the best for photographs first, nano last.

    Returns:
        the eight released checkpoints and nano, each with its place or how to get it
    """
    return [*(_released_info(released) for released in RELEASED), _nano_info()]


def resolve(name: str) -> ModelSpec:
    """Finds what a model's name stands for.

    Args:
        name: ``auto``, ``alphaclip-nano``, a released checkpoint's name,
            ``openclip:ARCHITECTURE/TAG``, a folder with an open_clip JSON configuration and
            safetensors weights (with an alpha channel or without), or a converted
            ``.safetensors`` file

    Returns:
        what to build, and from which weights

    Raises:
        ModelNotFoundError: no model has this name; close ones are proposed
        MissingWeightsError: the model is known but not installed; the message says how to get it
        CheckpointError: a file that the name points to is not what it should be
    """
    if name == "auto":
        return resolve_auto()
    if name == NANO:
        return _folder_spec(NANO_FOLDER, NANO, NANO_WARNING)
    if any(released.name == name for released in RELEASED):
        return _released_spec(find_released(name))
    if name.startswith(OPENCLIP_PREFIX):
        return _openclip_spec(name)
    path = Path(name).expanduser()
    if path.is_dir():
        return _folder_spec(path.resolve(), str(path.resolve()))
    if path.is_file():
        return _file_spec(path.resolve())
    raise ModelNotFoundError(_unknown(name))


def resolve_auto() -> ModelSpec:
    """The best model that is installed: a released checkpoint, ``-mim`` first, else nano.

    Returns:
        the model; taking nano, or one that was trained on GRIT alone, is logged as a warning

    Raises:
        MissingWeightsError: not even nano's weights are here
        CheckpointError: it is nano, and its files are damaged
    """
    spec = find_auto()
    if spec.warning:
        logger.warning("%s", spec.warning)
    return spec


def find_auto() -> ModelSpec:
    """Finds what `resolve_auto` takes, without a word.

    Returns:
        the model, with the warning that `resolve_auto` logs

    Raises:
        MissingWeightsError: not even nano's weights are here
        CheckpointError: it is nano, and its files are damaged
    """
    for released in RELEASED:
        if installed_path(released.name).is_file():
            warning = "" if released.has_mim else GRIT_WARNING.format(name=released.name)
            return replace(_released_spec(released), warning=warning)
    return resolve(NANO)


def find_released(name: str) -> Released:
    """The released checkpoint of a name.

    Args:
        name: such as ``alphaclip-vit-l14-grit1m-mim``

    Returns:
        its entry in the table

    Raises:
        ModelNotFoundError: there is none of this name
    """
    for released in RELEASED:
        if released.name == name:
            return released
    names = ", ".join(released.name for released in RELEASED)
    raise ModelNotFoundError(f"no released checkpoint is called {name!r}; there are: {names}")


def installed_path(name: str) -> Path:
    """Where a released checkpoint is once it is installed."""
    return models_folder() / f"{name}.safetensors"


def install(source: Path, name: str, replace: bool = False) -> Path:
    """Converts a downloaded checkpoint into the models folder.

    Args:
        source: the file as it was downloaded
        name: which released checkpoint it is; the tensors tell the architecture, but only the
            user knows what it was trained on
        replace: whether one that is installed already may be overwritten

    Returns:
        the file written, with name, source, its SHA-256, licence and architecture inside

    Raises:
        ModelNotFoundError: no released checkpoint has this name
        CheckpointError: the file is unreadable, holds something else, or is for another
            architecture than the name says; or the name is installed already
    """
    from alphaclip.checkpoints import (
        convert_checkpoint,
        recognize_architecture,
        write_checkpoint,
    )
    from alphaclip.fingerprint import file_sha256

    released, path = find_released(name), installed_path(name)
    if path.exists() and not replace:
        raise CheckpointError(f"{path} is there already; to convert it anew, say --force")
    tensors = convert_checkpoint(source)
    architecture = recognize_architecture(tensors, str(source))
    if architecture != released.architecture:
        raise CheckpointError(_other_variant(source, architecture, released))
    metadata = {
        "name": name,
        "architecture": architecture,
        "licence": LICENCE,
        "source_file": source.name,
        "source_sha256": file_sha256(source),
    }
    write_checkpoint(tensors, path, metadata)
    return path


def _released_info(released: Released) -> ModelInfo:
    path = installed_path(released.name)
    summary = f"Alpha-CLIP {released.baseline.label}, {released.data}"
    if path.is_file():
        return ModelInfo(released.name, summary, LICENCE, path)
    return ModelInfo(released.name, summary, LICENCE, None, _how_to_install(released))


def _nano_info() -> ModelInfo:
    path = NANO_FOLDER / WEIGHTS_FILE
    summary = "small, trained on drawings by this project; for trying things out"
    licence = _licence(NANO_FOLDER)
    if path.is_file():
        return ModelInfo(NANO, summary, licence, path)
    return ModelInfo(NANO, summary, licence, None, "install this package again")


def _how_to_install(released: Released) -> str:
    return (
        f"download {released.file_name} from {released.url} ({LICENCE}), then run: "
        f"alphaclip convert FILE --as {released.name}"
    )


def _released_spec(released: Released) -> ModelSpec:
    path = installed_path(released.name)
    if not path.is_file():
        raise MissingWeightsError(
            f"{released.name} is not installed ({path} is missing): {_how_to_install(released)}"
        )
    return ModelSpec(released.name, released.architecture, BASE_TAG, path, _object_view(), LICENCE)


def _openclip_spec(name: str) -> ModelSpec:
    import open_clip

    architecture, _, tag = name.removeprefix(OPENCLIP_PREFIX).partition("/")
    if architecture not in open_clip.list_models():
        close = get_close_matches(architecture, open_clip.list_models(), n=3)
        raise ModelNotFoundError(
            f"{name!r}: open_clip has no architecture {architecture!r}"
            + (f"; did you mean {', '.join(close)}?" if close else "; see open_clip.list_models()")
        )
    if not open_clip.is_pretrained_cfg(architecture, tag):
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(architecture)) or "none"
        raise ModelNotFoundError(
            f"{name!r}: open_clip has no weights {tag!r} for {architecture}; it has: {tags}"
        )
    return ModelSpec(
        name, architecture, tag, None, _object_view(), "stated on the model's Hugging Face page"
    )


def _folder_spec(folder: Path, name: str, warning: str = "") -> ModelSpec:
    from alphaclip.checkpoints import has_alpha

    hub = folder / HUB_WEIGHTS_FILE
    found = iter([hub]) if hub.is_file() else folder.glob("*.safetensors")
    weights = _only(folder, found, "safetensors weights")
    config = _only(folder, filter(_is_config, folder.glob("*.json")), "open_clip configuration")
    pretrained, checkpoint = (None, weights) if has_alpha(weights) else (str(weights), None)
    view, licence = _card_view(folder), _licence(folder)
    return ModelSpec(name, str(config), pretrained, checkpoint, view, licence, warning)


def _file_spec(path: Path) -> ModelSpec:
    from alphaclip.checkpoints import has_text_tower, read_metadata

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
        _object_view(),
        metadata.get("licence", "not stated"),
    )


def _object_view() -> View:
    """The crop with which the paper measures objects in photographs (appendix C.1)."""
    from alphaclip.views import View

    return View(kind="context", context=1.5)


def _card_view(folder: Path) -> View:
    from alphaclip.views import View

    stated = _card(folder).get("default_view")
    try:
        return View(**stated) if stated else _object_view()
    except TypeError as error:
        raise CheckpointError(
            f"{folder / CARD_FILE}: default_view is {stated!r}: {error}"
        ) from error


def _licence(folder: Path) -> str:
    return str(_card(folder).get("licence", "not stated"))


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


def _other_variant(source: Path, architecture: str, released: Released) -> str:
    fitting = [other.name for other in RELEASED if other.architecture == architecture]
    return (
        f"{source} holds weights for {architecture}, but {released.name} is "
        f"{released.architecture}: it can be {', '.join(fitting)}"
    )


def _unknown(name: str) -> str:
    names = [released.name for released in RELEASED] + [NANO, "auto"]
    close = get_close_matches(name, names, n=3)
    hint = f"did you mean {', '.join(close)}?" if close else "`alphaclip models` lists the names;"
    return (
        f"no model is called {name!r}, and there is no such folder or file: {hint} open_clip's "
        f"models are written {OPENCLIP_PREFIX}ARCHITECTURE/TAG"
    )

"""Alpha-CLIP weights: released files to open_clip names, and safetensors files at rest."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from alphaclip.errors import CheckpointError
from alphaclip.files import StoreError, replacing
from alphaclip.weights.alpha_channel import ALPHA_SUFFIX
from alphaclip.weights.architectures import UNNAMED, visual_shapes

logger = logging.getLogger(__name__)

FORMAT_VERSION = "1"

CHECKSUM = "content_sha256"
"""In a file's metadata: the SHA-256 of all else in it. Files written before have none."""

Shape = tuple[int, ...]

# The released files state nothing: patch size, width and number of positions tell them apart.
_RELEASED_SHAPES: dict[tuple[Shape, Shape], str] = {
    ((768, 1, 16, 16), (197, 768)): "ViT-B-16-quickgelu",
    ((1024, 1, 14, 14), (257, 1024)): "ViT-L-14-quickgelu",
    ((1024, 1, 14, 14), (577, 1024)): "ViT-L-14-336-quickgelu",
}
_NOT_VISUAL = (
    "transformer.",
    "token_embedding.",
    "ln_final.",
    "positional_embedding",
    "text_projection",
    "logit_scale",
    "input_resolution",
    "context_length",
    "vocab_size",
)
"""How the text tower's names begin, and the three numbers that OpenAI's whole models carry."""

_SHOWN = 5
"""Names of tensors in a message; a wrong file has hundreds."""


@dataclass(frozen=True)
class Checkpoint:
    """Weights under open_clip's names.

    Attributes:
        tensors: name to tensor; all names start with ``visual.`` unless the text tower is there
        metadata: what the file says of itself: ``name``, ``architecture``, ``licence``, ...
        source: the file, or words for where the tensors came from; used in messages
    """

    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str] = field(default_factory=dict)
    source: str = "the given state dict"

    @property
    def visual_only(self) -> bool:
        """Whether the text tower is missing."""
        return _is_visual_only(self.tensors)

    @property
    def architecture(self) -> str | None:
        """What the weights are for, as stated or, for visual weights, as their shapes say."""
        stated = self.metadata.get("architecture")
        if stated is None and self.visual_only:
            return _RELEASED_SHAPES.get(_deciding_shapes(self.tensors))
        return stated


def convert_checkpoint(
    source: str | Path | Mapping[str, Tensor],
    architecture: str | Path | Mapping[str, Any] | None = None,
) -> dict[str, Tensor]:
    """Gives released Alpha-CLIP visual weights open_clip's names, and checks every tensor.

    Accepted are the released visual-only files, the same with ``module.`` in front (saved by
    distributed training), whole CLIP models (``visual.`` in front; their text tower is left
    out), and both spellings of the attention input projection.

    Args:
        source: a ``.pth`` or ``.safetensors`` file, or the state dict itself. A ``.pth`` is read
            with ``torch.load(weights_only=True)`` and in no other way.
        architecture: an open_clip architecture, JSON configuration or dict, for weights that are
            none of the three released architectures; by default the shapes decide

    Returns:
        ``visual.``-prefixed open_clip names to tensors on the CPU, in the model's order

    Raises:
        CheckpointError: the file is unreadable, or tensors are missing, unexpected, of another
            shape or not finite; the message names them
    """
    if isinstance(source, Mapping):
        label, tensors = "the given state dict", dict(source)
    else:
        label, tensors = str(source), read_tensors(Path(source))
    renamed = _rename(tensors, label)
    chosen = architecture or recognize_architecture(renamed, label)
    expected = visual_shapes(chosen)
    named = UNNAMED if isinstance(chosen, Mapping) else str(chosen)
    check_tensors(renamed, expected, label, named)
    infinite = [name for name in expected if not torch.isfinite(renamed[name]).all()]
    if infinite:
        raise CheckpointError(
            f"{label}: {_listed(infinite)} not finite: the file is damaged, get it again"
        )
    return {name: renamed[name].detach().contiguous() for name in expected}


def recognize_architecture(tensors: Mapping[str, Tensor], label: str) -> str:
    """Tells by the shapes which released architecture visual weights are for.

    Raises:
        CheckpointError: they are for none of the three
    """
    alpha, positions = _deciding_shapes(tensors)
    if not alpha:
        raise CheckpointError(
            f"{label}: no conv1_alpha.weight among {len(tensors)} tensors: these are not "
            "Alpha-CLIP weights; plain CLIP weights are given as `pretrained`"
        )
    if (alpha, positions) not in _RELEASED_SHAPES:
        released = "; ".join(f"{name}: {a} and {p}" for (a, p), name in _RELEASED_SHAPES.items())
        raise CheckpointError(
            f"{label}: conv1_alpha.weight has shape {alpha} and positional_embedding {positions}, "
            f"which is none of the released architectures ({released}); for another one, name it: "
            "convert_checkpoint(..., architecture=...)"
        )
    return _RELEASED_SHAPES[alpha, positions]


def check_tensors(
    tensors: Mapping[str, Tensor], expected: Mapping[str, Shape], label: str, model: str
) -> None:
    """Compares weights with what a model needs.

    Args:
        tensors: the weights
        expected: the model's tensor names to shapes
        label: where the weights come from, for messages
        model: the model's name, for messages

    Raises:
        CheckpointError: tensors are missing, unexpected, or of another shape or kind
    """
    faults = [f"{name} is missing" for name in expected if name not in tensors]
    for name, tensor in tensors.items():
        if name not in expected:
            faults.append(f"{name} {tuple(tensor.shape)} is unexpected")
        elif tuple(tensor.shape) != expected[name]:
            faults.append(
                f"{name} has shape {tuple(tensor.shape)}, the model needs {expected[name]}"
            )
    if faults:
        raise CheckpointError(
            f"{label} does not fit {model}: {_listed(faults, '; ')}. Give the file that was made "
            "for this architecture, or name the architecture it was made for"
        )


def read_checkpoint(path: Path) -> Checkpoint:
    """Reads weights under open_clip's names, and the metadata, from a safetensors file.

    Raises:
        CheckpointError: missing, unreadable, or not a safetensors file
    """
    if path.suffix != ".safetensors":
        raise CheckpointError(
            f"{path}: an alpha checkpoint is a .safetensors file; convert a released one first: "
            f"alphaclip convert {path} --as NAME"
        )
    return Checkpoint(read_tensors(path), read_metadata(path), str(path))


def read_metadata(path: Path) -> dict[str, str]:
    """What a safetensors file says of itself, empty where it says nothing; no tensor is read.

    Raises:
        CheckpointError: missing, unreadable, or not a safetensors file
    """
    with _opened(path) as file:
        stated = file.metadata() or {}
    return {name: text for name, text in stated.items() if name != CHECKSUM}


def has_text_tower(path: Path) -> bool:
    """Whether a safetensors file of open_clip's names holds more than visual tensors.

    Raises:
        CheckpointError: missing, unreadable, or not a safetensors file
    """
    with _opened(path) as file:
        return not _is_visual_only(file.keys())


def has_alpha(path: Path) -> bool:
    """Whether a safetensors file of open_clip's names holds an alpha convolution.

    Raises:
        CheckpointError: missing, unreadable, or not a safetensors file
    """
    ending = f"{ALPHA_SUFFIX}.weight"
    with _opened(path) as file:
        return any(n.startswith("visual.") and n.endswith(ending) for n in file.keys())  # noqa: SIM118


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Reads a file of named tensors to the CPU, without running any code in it.

    Args:
        path: ``.safetensors``, or else a PyTorch file, read with ``weights_only=True``

    Raises:
        CheckpointError: missing, unreadable, something else than named tensors inside, or not what
            :func:`write_tensors` wrote
    """
    if path.suffix == ".safetensors":
        with _opened(path) as file:
            stated = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if stated.get(CHECKSUM) not in (None, _content_sha256(tensors, stated)):
            raise CheckpointError(
                f"{path} is not what was written: it is damaged, copy or make it again (if another "
                f"program changed it on purpose, leave {CHECKSUM} out of its metadata)"
            )
        return tensors
    _require_file(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(
            f"{path}: cannot be read as PyTorch weights ({_first_line(error)}). Nothing but "
            "tensors is ever loaded; if the download was cut short, get the file again"
        ) from error
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path}: holds a {type(content).__name__}, not named tensors")
    return dict(content)


def write_checkpoint(
    tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str]
) -> None:
    """Writes weights as safetensors, whole or not at all; makes the folder if need be.

    Args:
        tensors: weights under open_clip's names
        path: the file to write
        metadata: what the file shall say of itself; ``format`` and ``format_version`` are added

    Raises:
        CheckpointError: the file cannot be written; says why
    """
    try:
        write_tensors(tensors, path, metadata)
    except (StoreError, SafetensorError) as error:
        reason = getattr(error.__cause__, "strerror", None) or _first_line(error)
        raise CheckpointError(
            f"cannot write {path}: {reason}; set ALPHACLIP_MODELS to a folder that can be written "
            "and has room"
        ) from error


def write_tensors(tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str]) -> None:
    """The same, for any folder; the file states the SHA-256 of what is in it.

    Raises:
        StoreError: the file cannot be written
        SafetensorError: the same, of that library
    """
    stated = {"format": "pt", "format_version": FORMAT_VERSION, **metadata}
    stated[CHECKSUM] = _content_sha256(tensors, stated)
    with replacing(path) as partial:
        save_file(dict(tensors), partial, stated)


def _content_sha256(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """Of everything that a file says, in whatever order it stands there."""
    said = sorted(item for item in metadata.items() if item[0] != CHECKSUM)
    digest = hashlib.sha256(json.dumps(said).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        content = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(content.numpy().data)
    return digest.hexdigest()


def _rename(tensors: Mapping[str, object], label: str) -> dict[str, Tensor]:
    """Strips wrappers' prefixes, leaves the text tower out, and gives open_clip's names."""
    stripped = {str(name).removeprefix("module."): value for name, value in tensors.items()}
    if any(name.startswith("visual.") for name in stripped):
        others = [name for name in stripped if not name.startswith("visual.")]
        strangers = [name for name in others if not name.startswith(_NOT_VISUAL)]
        if strangers:
            raise CheckpointError(
                f"{label}: {_listed(strangers)} neither in the image encoder nor in CLIP's text "
                "tower"
            )
        if others:
            logger.info(
                "%s: %d tensors of the text tower left out; Alpha-CLIP's is CLIP's own",
                label,
                len(others),
            )
        stripped = {
            name.removeprefix("visual."): value
            for name, value in stripped.items()
            if name.startswith("visual.")
        }
    renamed: dict[str, Tensor] = {}
    for name, value in stripped.items():
        if not isinstance(value, Tensor) or not value.is_floating_point():
            kind = value.dtype if isinstance(value, Tensor) else f"a {type(value).__name__}"
            raise CheckpointError(
                f"{label}: {name} is {kind}, expected a floating-point tensor: give the "
                "state dict itself, not what a training script saved around it"
            )
        target = "visual." + name.replace(".in_proj.", ".in_proj_")
        if target in renamed:
            raise CheckpointError(f"{label}: {name} is there twice, under two spellings")
        renamed[target] = value
    return renamed


def _is_visual_only(names: Iterable[str]) -> bool:
    return all(name.startswith("visual.") for name in names)


def _deciding_shapes(tensors: Mapping[str, Tensor]) -> tuple[Shape, Shape]:
    """The shapes of the alpha convolution and the position embedding, () where missing."""
    names = ("visual.conv1_alpha.weight", "visual.positional_embedding")
    alpha, positions = (tuple(tensors[n].shape) if n in tensors else () for n in names)
    return alpha, positions


def _opened(path: Path) -> safe_open:
    _require_file(path)
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path}: not a readable safetensors file ({_first_line(error)}); copy or convert it "
            "again"
        ) from error


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise CheckpointError(f"{path}: there is no such file; check the path")


def _listed(items: list[str], separator: str = ", ") -> str:
    first = separator.join(items[:_SHOWN])
    rest = len(items) - _SHOWN
    return f"{first}{separator}and {rest} more" if rest > 0 else first


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]

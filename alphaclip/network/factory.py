"""Models by name, file or configuration, with their weights loaded and checked."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import open_clip
from open_clip.transformer import QuickGELU
from torch import Tensor, nn

from alphaclip.catalog import zoo
from alphaclip.errors import AlphaClipError, CheckpointError, ModelNotFoundError, brief
from alphaclip.files import Stamp, file_stamp
from alphaclip.network.image_sizes import set_image_size
from alphaclip.network.model import AlphaCLIP
from alphaclip.network.region_queries import is_added, restore_regions
from alphaclip.weights.alpha_channel import add_alpha_channel
from alphaclip.weights.architectures import ModelConfig, build_clip, is_architecture, read_config
from alphaclip.weights.base_weights import download_base, find_base
from alphaclip.weights.checkpoints import Checkpoint, check_tensors, read_checkpoint

logger = logging.getLogger(__name__)

_QUICK_GELU = "-quickgelu"
"""OpenAI's activation. With the other one a model loads without a complaint and is wrong."""


def create_model(
    name: str | Path | Mapping[str, Any],
    checkpoint: str | Path | Mapping[str, Tensor] | None = None,
    pretrained: str | Path | None = None,
    changes: Path | None = None,
) -> AlphaCLIP:
    """Builds a model with an alpha channel and loads its weights.

    Args:
        name: an open_clip architecture, an open_clip configuration (the path of its JSON file,
            or a dict), or any model that `alphaclip.catalog.zoo.resolve` knows, which brings its
            weights along
        checkpoint: weights with an alpha channel: a safetensors file, or tensors under
            open_clip's names as `convert_checkpoint` returns them; image encoder, whole model, or
            the alpha convolution alone. Without it that is zero and the model exactly its base.
        pretrained: base weights: one of open_clip's tags for the architecture, or a file. Where a
            checkpoint has the image encoder and the tag's file is not on this machine, the text
            tower waits for `AlphaCLIP.load_text`.
        changes: a safetensors file of tensors that take the place of some of these, and of region
            queries, for a second model that has the others in common; it states its ``image_size``

    Returns:
        the model in evaluation mode, float32, on the CPU; random where no weights were named

    Raises:
        ModelNotFoundError: no such architecture, model or tag
        MissingWeightsError: the weights are known but not on this machine, and cannot be had
        CheckpointError: the weights are unreadable or do not fit; tensors and shapes are named
    """
    if not is_architecture(name):
        spec = zoo.resolve(str(name))
        if spec.methods and name != "auto":
            raise AlphaClipError(
                f"{name}: a model takes no method; alphaclip.load({str(name)!r}) makes an encoder"
            )
        name = spec.architecture
        checkpoint = spec.checkpoint_path if checkpoint is None else checkpoint
        pretrained = spec.pretrained if pretrained is None else pretrained
        changes = spec.changes_path if changes is None else changes
    if checkpoint is None or isinstance(checkpoint, Mapping):
        alpha = None if checkpoint is None else Checkpoint(checkpoint)
    else:
        alpha = read_checkpoint(Path(checkpoint))
    config = read_config(name if isinstance(name, Mapping) else _fitting_architecture(name, alpha))
    clip = build_clip(config, pretrained is not None)
    sources = [_source(file) for file in (checkpoint, changes) if file is not None]
    has_text, text_weights = alpha is not None and not alpha.visual_only, None
    if pretrained is not None and Path(pretrained).is_file():
        sources.append(_source(pretrained))
        if config.dual_encoder is None:
            _load_base_file(clip, Path(pretrained), config)
        has_text = True
    elif pretrained is not None:
        tag, settings = str(pretrained), _find_tag(config, str(pretrained))
        config = replace(
            config, preprocess={k: settings[k] for k in ("mean", "std") if settings.get(k)}
        )
        if alpha is None or find_base(config.name, tag):
            base = download_base(config.name, tag)
            sources.append(_source(base))
            _load_base_file(clip, base, config)
            has_text = True
        elif not has_text:
            # The checkpoint has the image encoder: pictures can do without the base's file.
            text_weights = partial(_text_weights, config, tag)
            sources.append(None)
    add_alpha_channel(clip.visual)
    if alpha is not None:
        _load_alpha(clip, config, alpha)
    model = AlphaCLIP(clip, config, has_text, text_weights).eval()
    if changes is not None:
        _change(model, read_checkpoint(changes))
    model.sources = [*filter(None, sources)] if all(sources) else []
    return model


def _source(weights: str | Path | Mapping[str, Tensor]) -> tuple[str, Stamp] | None:
    """A file of weights, as it is before it is read; None for tensors."""
    if isinstance(weights, Mapping):
        return None
    stamp = file_stamp(Path(weights))
    return None if stamp is None else (str(Path(weights).absolute()), stamp)


def _fitting_architecture(name: str | Path, alpha: Checkpoint | None) -> str:
    """Released weights always get the QuickGELU configuration that they were trained with."""
    made_for = alpha.architecture if alpha is not None else None
    if alpha is None or made_for in (None, name) or str(name).endswith(".json"):
        return str(name)
    if made_for == f"{name}{_QUICK_GELU}":
        logger.warning("building %s instead of %s: Alpha-CLIP's weights need it", made_for, name)
        return made_for
    raise CheckpointError(
        f"{alpha.source}: these weights are for {made_for}, not for {name}: "
        f"create_model({made_for!r}, ...)"
    )


def _load_alpha(clip: open_clip.CLIP, config: ModelConfig, alpha: Checkpoint) -> None:
    restore_regions(clip.visual, alpha.tensors, alpha.source)
    kinds = {type(module) for module in clip.visual.modules()}
    is_quick = QuickGELU in kinds and nn.GELU not in kinds
    if (alpha.architecture or "").endswith(_QUICK_GELU) and not is_quick:
        raise CheckpointError(
            f"{alpha.source}: made for {alpha.architecture}, whose activation is QuickGELU, but "
            f"{config.path or config.name} builds GELU; set quick_gelu to true there"
        )
    is_channel = all(map(is_added, alpha.tensors))
    expected = {
        name: tuple(tensor.shape)
        for name, tensor in clip.state_dict().items()
        if (is_added(name) if is_channel else name.startswith("visual.")) or not alpha.visual_only
    }
    check_tensors(alpha.tensors, expected, alpha.source, config.name)
    clip.load_state_dict(alpha.tensors, strict=False)


def _change(model: AlphaCLIP, changes: Checkpoint) -> None:
    size = changes.metadata.get("image_size", "")
    if not size.isdecimal():
        raise CheckpointError(f"{changes.source}: image_size is {brief(size)}: expected pixels")
    set_image_size(model, int(size))
    restore_regions(model.clip.visual, changes.tensors, changes.source)
    state = model.clip.state_dict()
    expected = {n: tuple(t.shape) for n, t in state.items() if n in changes.tensors}
    check_tensors(changes.tensors, expected, changes.source, model.config.name)
    model.clip.load_state_dict(changes.tensors, strict=False)


def _text_weights(config: ModelConfig, tag: str) -> dict[str, Tensor]:
    """The text tower of base weights, which are downloaded if need be."""
    path, clip = download_base(config.name, tag), build_clip(config)
    _load_base_file(clip, path, config)
    return {name: t for name, t in clip.state_dict().items() if not name.startswith("visual.")}


def _find_tag(config: ModelConfig, pretrained: str) -> Mapping[str, Any]:
    tag = open_clip.get_pretrained_cfg(config.name, pretrained) if config.path is None else {}
    if not tag:
        tags = open_clip.list_pretrained_tags_by_model(config.name)
        raise ModelNotFoundError(
            f"{config.name} has no pretrained weights {pretrained!r}: neither a file nor a tag of "
            f"open_clip's ({', '.join(tags) or 'it has none for this model'})"
        )
    if bool(tag.get("quick_gelu", False)) != config.quick_gelu:
        needed = "with" if tag.get("quick_gelu", False) else "without"
        raise CheckpointError(
            f"the weights {pretrained!r} of {config.name} were trained {needed} QuickGELU; take "
            f"the architecture {needed} {_QUICK_GELU!r} in its name, or the result is wrong"
        )
    return tag


def _load_base_file(clip: open_clip.CLIP, path: Path, config: ModelConfig) -> None:
    try:
        open_clip.load_checkpoint(clip, str(path), strict=True, weights_only=True)
    except Exception as error:
        raise CheckpointError(
            f"{path}: cannot be loaded as base weights of {config.name}: {error}"
        ) from error

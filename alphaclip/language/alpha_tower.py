"""LLaVA with an Alpha-CLIP tower in it: the tower's weights under transformers' names, and files.

Source: Sun et al., "Alpha-CLIP", 2023 (arXiv 2312.03818), section 4.3: the image encoder of LLaVA
is replaced, its projector and language model stay. transformers' own class is kept, as it finds
hidden states by class; only its first convolution becomes one that reads the alpha map too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alphaclip.catalog import zoo
from alphaclip.errors import AlphaClipError, CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

ALPHA_FILE = "alpha.safetensors"
"""Beside a saved model: its alpha convolution, which transformers would drop without an error."""
ALPHA_KEY = "alpha_tower"
"""In the configuration of a saved model: the name of the tower's weights."""

_CONVOLUTION = "embeddings.patch_embedding_alpha.weight"
_NAMES = {
    "class_embedding": "embeddings.class_embedding",
    "positional_embedding": "embeddings.position_embedding.weight",
    "conv1.weight": "embeddings.patch_embedding.weight",
    "conv1_alpha.weight": _CONVOLUTION,
    "ln_pre.": "pre_layrnorm.",
    "ln_post.": "post_layernorm.",
    "transformer.resblocks.": "encoder.layers.",
    ".ln_1.": ".layer_norm1.",
    ".ln_2.": ".layer_norm2.",
    ".mlp.c_fc.": ".mlp.fc1.",
    ".mlp.c_proj.": ".mlp.fc2.",
    ".attn.out_proj.": ".self_attn.out_proj.",
}
"""Parts of open_clip's names, and transformers' for them."""


@dataclass(frozen=True)
class Tower:
    """An image encoder with an alpha channel, as transformers would have it.

    Attributes:
        name: of the model that it is from
        tensors: by transformers' names
        settings: what its configuration has to state
    """

    name: str
    tensors: Mapping[str, Tensor]
    settings: Mapping[str, Any]


def read_tower(name: str) -> Tower:
    """Reads the image encoder of a model with an alpha channel.

    Args:
        name: a released checkpoint's, a converted file's, or a folder's, see
            `alphaclip.catalog.zoo.resolve`

    Raises:
        ModelNotFoundError: no model has this name
        MissingWeightsError: it is not installed; says how to get it
        AlphaClipError: it has no alpha channel, or is no plain vision transformer
    """
    import open_clip

    from alphaclip.weights.architectures import read_config
    from alphaclip.weights.checkpoints import read_checkpoint

    spec = zoo.resolve(name)
    if spec.checkpoint_path is None or spec.methods:
        raise AlphaClipError(
            f"{name} cannot be put into a language model: alpha= takes a checkpoint with an alpha "
            "channel and no method, such as alphaclip-vit-l14-336-grit20m"
        )
    checkpoint = read_checkpoint(spec.checkpoint_path)
    config = read_config(spec.architecture)
    if "visual.conv1_alpha.weight" not in checkpoint.tensors:
        raise AlphaClipError(
            f"{name} is a {config.name}, whose image encoder is no plain vision transformer: LLaVA "
            "takes one of Alpha-CLIP's released checkpoints, or one of that architecture"
        )
    vision = {**vars(open_clip.CLIPVisionCfg()), **config.settings["vision_cfg"]}
    width = vision["width"]
    settings = {
        "hidden_size": width,
        "intermediate_size": int(width * vision["mlp_ratio"]),
        "num_hidden_layers": vision["layers"],
        "num_attention_heads": width // vision["head_width"],
        "patch_size": vision["patch_size"],
        "image_size": vision["image_size"],
        "hidden_act": "quick_gelu" if config.quick_gelu else "gelu",
    }
    return Tower(spec.name, to_transformers(checkpoint.tensors), settings)


def to_transformers(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of an open_clip vision transformer under the names of transformers' CLIP.

    Args:
        tensors: by open_clip's names; what is not of the image encoder is left out, and so is its
            projection, which a language model has no use for
    """
    renamed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        own = name.removeprefix("visual.")
        if own in (name, "proj"):
            continue
        for part, other in _NAMES.items():
            own = own.replace(part, other)
        head, joined, kind = own.partition(".attn.in_proj_")
        if not joined:
            renamed[own] = tensor
            continue
        for one, third in zip("qkv", tensor.chunk(3), strict=True):
            renamed[f"{head}.self_attn.{one}_proj.{kind}"] = third
    return renamed


def check_fits(config: Any, tower: Tower, name: str) -> None:
    """Compares a tower with the model that it is for, before anything large is loaded.

    Args:
        config: of the model
        tower: see `read_tower`
        name: of the model, for messages

    Raises:
        AlphaClipError: the model is no LLaVA 1.5
        CheckpointError: its tower is of another size or activation; names what differs
    """
    vision = getattr(config, "vision_config", None)
    kinds = (config.model_type, getattr(vision, "model_type", None))
    if kinds != ("llava", "clip_vision_model"):
        raise AlphaClipError(
            f"{name} is of the type {config.model_type}: alpha= is for LLaVA 1.5 with CLIP's image "
            "encoder, such as llava-hf/llava-1.5-7b-hf"
        )
    faults = [
        f"{setting} {value}, the model has {getattr(vision, setting)}"
        for setting, value in tower.settings.items()
        if getattr(vision, setting) != value
    ]
    if faults:
        raise CheckpointError(
            f"{tower.name} does not fit {name}: {'; '.join(faults)}. LLaVA 1.5 takes a ViT-L/14 of "
            "336 pixels"
        )


def swap_tower(model: Any, tower: Tower) -> None:
    """Puts a tower in the place of a LLaVA's, in place.

    Raises:
        CheckpointError: tensors are missing, unexpected, or of another shape; names them
    """
    from alphaclip.weights.alpha_channel import add_alpha_channel
    from alphaclip.weights.checkpoints import check_tensors

    visual = model.model.vision_tower
    add_alpha_channel(visual)
    shapes = {name: tuple(tensor.shape) for name, tensor in visual.state_dict().items()}
    check_tensors(tower.tensors, shapes, tower.name, model.config.model_type)
    visual.load_state_dict(tower.tensors)
    setattr(model.config, ALPHA_KEY, tower.name)


def save_model(model: Any, folder: Path) -> None:
    """Saves a model as transformers does, its alpha convolution beside it where it has one."""
    from alphaclip.weights.checkpoints import write_tensors

    tensors = model.state_dict()
    if hasattr(model.config, ALPHA_KEY):
        alpha = model.model.vision_tower.state_dict()[_CONVOLUTION]
        write_tensors(
            {_CONVOLUTION: alpha}, folder / ALPHA_FILE, {"name": getattr(model.config, ALPHA_KEY)}
        )
        tensors = {name: t for name, t in tensors.items() if not name.endswith(_CONVOLUTION)}
    model.save_pretrained(folder, state_dict=tensors)


def read_saved_alpha(folder: Path) -> Tensor:
    """The alpha convolution beside a saved model.

    Raises:
        CheckpointError: it is missing or damaged
    """
    from alphaclip.weights.checkpoints import read_tensors

    path = folder / ALPHA_FILE
    if not path.is_file():
        raise CheckpointError(
            f"{folder} holds a model with an alpha channel, but {ALPHA_FILE} is missing, without "
            "which regions would be ignored: copy that file too, or save the model again"
        )
    tensors = read_tensors(path)
    if set(tensors) != {_CONVOLUTION}:
        raise CheckpointError(f"{path} does not hold {_CONVOLUTION} alone: copy it again")
    return tensors[_CONVOLUTION]


def restore_alpha(model: Any, alpha: Tensor) -> None:
    """Gives a loaded model the alpha convolution that was saved beside it, in place.

    Raises:
        CheckpointError: it is of another shape
    """
    from alphaclip.weights.alpha_channel import add_alpha_channel
    from alphaclip.weights.checkpoints import check_tensors

    visual = model.model.vision_tower
    add_alpha_channel(visual)
    own = visual.embeddings.patch_embedding_alpha.weight
    check_tensors({_CONVOLUTION: alpha}, {_CONVOLUTION: tuple(own.shape)}, ALPHA_FILE, "the model")
    own.data.copy_(alpha)

"""Model configurations: open_clip's own by name, others as an open_clip JSON file or a dict."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.tokenizer import HFTokenizer

from alphaclip.errors import AlphaClipError, MissingWeightsError, ModelNotFoundError
from alphaclip.files import LARGEST_CONFIG, read_json
from alphaclip.weights import dual_encoders
from alphaclip.weights.alpha_channel import add_alpha_channel
from alphaclip.weights.config_checks import check_config

MERGES_FILE = "merges.txt.gz"
UNNAMED = "the given configuration"
LARGEST_MERGES = 1 << 26
"""Bytes of a table of merges when it is unpacked; CLIP's own has 3 MB."""

_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")


@dataclass(frozen=True)
class ModelConfig:
    """What a model is built from.

    Attributes:
        name: open_clip's architecture name, the stem of the JSON file, or `UNNAMED` for a dict; of
            transformers' models their type
        settings: embed_dim, vision_cfg, text_cfg and open_clip's further options; of transformers'
            models see `alphaclip.weights.dual_encoders`
        preprocess: ``mean`` and ``std`` where the configuration states them
        path: the JSON file, None for open_clip's own architectures and dicts
    """

    name: str
    settings: Mapping[str, Any]
    preprocess: Mapping[str, Any]
    path: Path | None = None

    @property
    def quick_gelu(self) -> bool:
        """Whether both towers use x * sigmoid(1.702 x), as OpenAI's models do."""
        return bool(self.settings.get("quick_gelu", False))

    @property
    def dual_encoder(self) -> Path | None:
        """The folder of a model of transformers'; None of all others."""
        return self.path.parent if self.path and dual_encoders.SETTINGS in self.settings else None


def is_architecture(name: str | Path | Mapping[str, Any]) -> bool:
    """Whether this is a bare architecture: one of open_clip's, a JSON file, or a dict."""
    if isinstance(name, Mapping):
        return True
    return str(name).endswith(".json") or str(name) in open_clip.list_models()


def read_config(architecture: str | Path | Mapping[str, Any]) -> ModelConfig:
    """Finds the configuration of an architecture.

    Args:
        architecture: a name that ``open_clip.list_models()`` lists, or the path of an open_clip
            JSON configuration, plain or in the Hugging Face form (``model_cfg`` inside), or
            what such a file holds; or the path of the ``config.json`` of a model of transformers'

    Raises:
        ModelNotFoundError: no such name or file
        AlphaClipError: the file or dict is not an open_clip configuration, or has something in it
            that could not be built from what is here
    """
    name, path = UNNAMED, None
    if isinstance(architecture, Mapping):
        content = architecture
    elif str(architecture).endswith(".json"):
        path = Path(architecture)
        name, content = path.stem, _read_json(path)
        if "model_type" in content:
            return ModelConfig(
                str(content["model_type"]), *dual_encoders.describe(path.parent), path
            )
    else:
        name = str(architecture)
        if name not in open_clip.list_models():
            close = get_close_matches(name, open_clip.list_models(), n=3)
            hint = (
                f": did you mean {', '.join(close)}?" if close else "; see open_clip.list_models()"
            )
            raise ModelNotFoundError(f"open_clip has no architecture named {name!r}{hint}")
        return ModelConfig(name, open_clip.get_model_config(name), {})
    return ModelConfig(name, *check_config(content, str(path or name)), path)


def build_clip(config: ModelConfig, pretrained: bool = False) -> open_clip.CLIP:
    """Builds open_clip's CLIP of a configuration (or CustomTextCLIP or CoCa, or one of
    transformers' dual encoders, which offer the same), with random weights and nothing downloaded;
    but of open_clip's own, those with a text tower of the Hugging Face hub read its description
    there, unless it is in the cache.

    Args:
        config: of the model
        pretrained: whether a model of transformers' gets the weights in its folder

    Raises:
        AlphaClipError: open_clip or transformers does not accept the configuration
    """
    if config.dual_encoder is not None:
        size = config.preprocess["size"]
        return dual_encoders.build(config.settings, config.dual_encoder, size, pretrained)
    settings = deepcopy(dict(config.settings))
    custom_text = settings.pop("custom_text", False)
    if "timm_model_name" in settings["vision_cfg"]:
        settings["vision_cfg"]["timm_model_pretrained"] = False
    if "hf_model_name" in settings["text_cfg"]:
        settings["text_cfg"]["hf_model_pretrained"] = False
        custom_text = True
    kind = open_clip.CustomTextCLIP if custom_text else open_clip.CLIP
    if "multimodal_cfg" in settings:
        kind = open_clip.CoCa
    try:
        clip = kind(**settings)
        _set_own_size(clip.visual)
        return clip
    except Exception as error:  # Each kind of tower, and the hub, has errors of its own
        raise AlphaClipError(
            f"{config.path or config.name}: open_clip cannot build this configuration: {error}"
        ) from error


def _set_own_size(visual: Any) -> None:
    """open_clip builds timm's towers for the pictures of their names, whatever image_size says."""
    patches = getattr(getattr(visual, "trunk", None), "patch_embed", None)
    if getattr(patches, "img_size", None) not in (None, visual.image_size):
        visual.set_input_size(visual.image_size)


def build_tokenizer(config: ModelConfig) -> Any:
    """The tokenizer that belongs to a configuration.

    Args:
        config: a file named `MERGES_FILE` beside its JSON is the merges table of open_clip's
            ``SimpleTokenizer``; otherwise the tokenizer is the one that open_clip would choose

    Returns:
        an open_clip tokenizer: called with strings, it returns int64 (n, context length)

    Raises:
        AlphaClipError: the merges do not give the vocabulary that the configuration states
        MissingWeightsError: its files are not here; says where they have to be
    """
    if config.dual_encoder is not None:
        return dual_encoders.build_tokenizer(config.settings, config.dual_encoder)
    text = config.settings["text_cfg"]
    merges = find_merges(config)
    if merges is not None:
        return _with_merges(merges, config)
    options = {
        "context_length": text.get("context_length", open_clip.CLIPTextCfg.context_length),
        **(text.get("tokenizer_kwargs") or {}),
    }
    try:
        if config.path is None and config.name != UNNAMED:
            return open_clip.get_tokenizer(config.name)
        if not text.get("hf_tokenizer_name"):
            return open_clip.SimpleTokenizer(**options)
        return HFTokenizer(
            _tokenizer_source(config),
            tokenizer_mode=text.get("tokenizer_mode"),
            local_files_only=True,
            trust_remote_code=False,
            **options,
        )
    except Exception as error:  # Each kind of tokenizer has errors of its own
        raise MissingWeightsError(
            f"{config.path or config.name}: its tokenizer cannot be loaded ({error!s:.300}). "
            "Tokenizers of the Hugging Face hub need `pip install transformers`; for a "
            "configuration of your own, tokenizer.json and tokenizer_config.json have to lie "
            "beside it, or the tokenizer be in the hub's cache on this machine"
        ) from error


def _tokenizer_source(config: ModelConfig) -> str:
    """The folder of a configuration, if the tokenizer's files are there, or its name in the cache
    of the hub."""
    folder = config.path.parent if config.path is not None else None
    if folder is not None and any((folder / name).is_file() for name in _TOKENIZER_FILES):
        return str(folder)
    return str(config.settings["text_cfg"]["hf_tokenizer_name"])


def _with_merges(merges: Path, config: ModelConfig) -> Any:
    text = {**vars(open_clip.CLIPTextCfg()), **config.settings["text_cfg"]}
    try:
        with gzip.open(merges) as file:
            if len(file.read(LARGEST_MERGES + 1)) > LARGEST_MERGES:
                raise ValueError(f"it has more than {LARGEST_MERGES:,} bytes")
        tokenizer = open_clip.SimpleTokenizer(str(merges), context_length=text["context_length"])
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise AlphaClipError(f"{merges}: not a table of merges: {error}") from error
    if tokenizer.vocab_size != text["vocab_size"]:
        raise AlphaClipError(
            f"{merges}: gives a vocabulary of {tokenizer.vocab_size}, {config.path} states "
            f"{text['vocab_size']}: the two files do not belong together"
        )
    return tokenizer


def find_merges(config: ModelConfig) -> Path | None:
    """What makes words tokens beside a configuration's JSON: `MERGES_FILE`, or of a model of
    transformers' its tokenizer; None where there is none."""
    name = MERGES_FILE if config.dual_encoder is None else _TOKENIZER_FILES[0]
    merges = config.path.with_name(name) if config.path is not None else None
    return merges if merges is not None and merges.is_file() else None


def visual_shapes(
    architecture: str | Path | Mapping[str, Any],
) -> dict[str, tuple[int, ...]]:
    """Names and shapes of an architecture's visual tensors, in the model's order; the alpha
    channel's (``visual.conv1_alpha.weight``) among them. See `read_config` for the argument."""
    with torch.device("meta"):
        clip = build_clip(read_config(architecture))
    add_alpha_channel(clip.visual)
    state = clip.visual.state_dict(prefix="visual.")
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def _read_json(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise ModelNotFoundError(f"{path}: there is no such configuration file")
    try:
        content = read_json(path, LARGEST_CONFIG)
    except OSError as error:
        raise AlphaClipError(f"{path}: cannot be read: {error.strerror or error}") from error
    return content if isinstance(content, dict) else {}

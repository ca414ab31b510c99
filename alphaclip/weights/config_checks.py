"""What a model's configuration may hold: sizes and options, but no name of what would have to be
got from elsewhere or be run. Anybody may have written it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import open_clip
from open_clip.coca_model import MultimodalCfg

from alphaclip.errors import AlphaClipError, brief

REQUIRED = ("embed_dim", "vision_cfg", "text_cfg")
_SECTIONS = {
    "vision_cfg": open_clip.CLIPVisionCfg,
    "text_cfg": open_clip.CLIPTextCfg,
    "multimodal_cfg": MultimodalCfg,
}
_OPTIONS = {
    "embed_dim", "quick_gelu", "custom_text", "init_logit_scale", "init_logit_bias",
    "nonscalar_logit_scale", "output_dict", "pad_id",
}  # fmt: skip

_INNER = {
    "act_kwargs": {"approximate"},
    "norm_kwargs": {"eps", "elementwise_affine", "bias"},
    "tokenizer_kwargs": {"clean", "strip_sep_token", "language"},
}
"""Options in options. What else a tokenizer is told reaches transformers, which can be told to run
the code that lies beside it."""

_NAMES = {
    "timm_model_name": re.compile(r"\w+(\.\w+)?", re.ASCII),
    "hf_tokenizer_name": re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", re.ASCII),
}
"""With a colon, timm takes a model's name for an address; a tokenizer's could be a path."""


def check_config(content: Mapping[str, Any], where: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Looks at an open_clip configuration before anything is made of it.

    Args:
        content: plain or in the Hugging Face form (``model_cfg`` inside)
        where: it is from, for messages

    Returns:
        the model's settings, and how pictures are prepared

    Raises:
        AlphaClipError: it has something else than open_clip's sizes and options; says what
    """
    settings, preprocess = content.get("model_cfg", content), content.get("preprocess_cfg") or {}
    for name, value in (("model_cfg", settings), ("preprocess_cfg", preprocess)):
        if not isinstance(value, Mapping):
            raise _refused(where, name, value)
    missing = [key for key in REQUIRED if key not in settings]
    if missing:
        raise AlphaClipError(
            f"{where}: not an open_clip model configuration, {', '.join(missing)} missing"
        )
    for name, value in settings.items():
        if name in _SECTIONS:
            _check_section(name, value, where)
        elif name not in _OPTIONS or not _is_plain(value):
            raise _refused(where, name, value)
    if type(settings["embed_dim"]) is not int:
        raise _refused(where, "embed_dim", settings["embed_dim"])
    for name in ("mean", "std"):
        colour = preprocess.get(name)
        is_list = isinstance(colour, (list, tuple)) and len(colour) == 3
        if colour is not None and not (is_list and _is_plain(colour)):
            raise _refused(where, name, colour)
    return dict(settings), dict(preprocess)


def _check_section(section: str, content: Any, where: str) -> None:
    if not isinstance(content, Mapping):
        raise _refused(where, section, content)
    if content.get("hf_model_name"):
        raise AlphaClipError(
            f"{where}: its text tower {brief(content['hf_model_name'])} is described on the "
            "Hugging Face hub, which a configuration may not ask; open_clip's own models with such "
            "a tower are named openclip:ARCHITECTURE/TAG"
        )
    allowed = {field.name for field in fields(_SECTIONS[section])}
    for name, value in content.items():
        if name not in allowed or not _may_be(name, value):
            raise _refused(where, f"{section}.{name}", value)


def _may_be(name: str, value: Any) -> bool:
    if name in _INNER and value is not None:
        known = isinstance(value, Mapping) and _INNER[name].issuperset(value)
        return known and all(map(_is_plain, value.values()))
    if name in _NAMES and value is not None:
        return isinstance(value, str) and (not value or bool(_NAMES[name].fullmatch(value)))
    return _is_plain(value)


def _is_plain(value: Any) -> bool:
    """Whether this is a text, yes or no, nothing, a number, or a list of numbers."""
    if isinstance(value, (list, tuple)):
        return all(_is_number(item) for item in value)
    return value is None or isinstance(value, (bool, str)) or _is_number(value)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and -1e12 < value < 1e12


def _refused(where: str, name: str, value: Any) -> AlphaClipError:
    return AlphaClipError(
        f"{where}: open_clip cannot build this configuration: {name} is {brief(value)}, expected "
        "are sizes and options of its models, and names of timm's own"
    )

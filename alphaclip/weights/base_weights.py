"""open_clip's pretrained weights on this machine: where they are, how to get them."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import open_clip
from huggingface_hub import try_to_load_from_cache
from huggingface_hub.errors import EntryNotFoundError

from alphaclip.errors import AlphaClipError, CheckpointError, MissingWeightsError
from alphaclip.weights.downloads import Progress
from alphaclip.weights.hub import fetch_file

logger = logging.getLogger(__name__)


def find_base(architecture: str, tag: str) -> Path | None:
    """Looks for the file of an open_clip architecture's pretrained tag; nothing is downloaded.

    Returns:
        the file in the Hugging Face (or open_clip's own) cache, None where it is not there
    """
    config = open_clip.get_pretrained_cfg(architecture, tag)
    repository, names = _hub_files(config)
    for candidate in names:
        cached = try_to_load_from_cache(repository, candidate)
        if isinstance(cached, str):
            return Path(cached)
    own = Path("~/.cache/clip").expanduser() / Path(config.get("url", "")).name
    return own if not repository and own.is_file() else None


def download_base(architecture: str, tag: str, progress: Progress | None = None) -> Path:
    """The same file, downloaded where it is not on this machine already.

    Args:
        architecture, tag: of open_clip
        progress (None): see :func:`alphaclip.weights.downloads.download`

    Raises:
        MissingWeightsError: the download failed; says why and how else to get them
    """
    cached = find_base(architecture, tag)
    if cached is not None:
        return cached
    logger.warning("downloading the base weights %s of %s", tag, architecture)
    try:
        config = dict(open_clip.get_pretrained_cfg(architecture, tag))
        return _fetch_first(config, progress) or Path(open_clip.download_pretrained(config))
    except Exception as error:
        if isinstance(error, AlphaClipError) and not isinstance(error, CheckpointError):
            raise  # the progress ended it
        raise MissingWeightsError(
            f"the base weights {tag!r} of {architecture} are not on this machine and could "
            f"not be downloaded ({error}). {base_advice(architecture, tag)}"
        ) from error


def _hub_files(config: Mapping[str, Any]) -> tuple[str, list[str]]:
    """The repository on the hub and, as open_clip looks for them, the names of the file there."""
    repository, filename = os.path.split(config.get("hf_hub", ""))
    if not repository:
        return "", []
    if filename:
        return repository, [str(Path(filename).with_suffix(".safetensors")), filename]
    return repository, ["open_clip_model.safetensors", "open_clip_pytorch_model.bin"]


def _fetch_first(config: Mapping[str, Any], progress: Progress | None) -> Path | None:
    """Downloads the first of the hub's files that is there; None of what is not on the hub."""
    repository, names = _hub_files(config)
    for name in names:
        with suppress(EntryNotFoundError):
            return fetch_file(repository, name, progress)
    return None


def base_advice(architecture: str, tag: str) -> str:
    """How to get open_clip's pretrained weights onto a machine, as one sentence or two."""
    repository = open_clip.get_pretrained_cfg(architecture, tag).get("hf_hub", "").rstrip("/")
    if not repository:
        return "With internet they are downloaded on first use."
    return (
        "With internet they are downloaded on first use. For a machine without, run `hf download "
        f"{repository}` elsewhere and copy the Hugging Face cache (HF_HOME) over"
    )

"""open_clip's pretrained weights on this machine: where they are, how to get them."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import open_clip
from huggingface_hub import try_to_load_from_cache

from alphaclip.errors import MissingWeightsError

logger = logging.getLogger(__name__)


def find_base(architecture: str, tag: str) -> Path | None:
    """Looks for the file of an open_clip architecture's pretrained tag; nothing is downloaded.

    Returns:
        the file in the Hugging Face (or open_clip's own) cache, None where it is not there
    """
    config = open_clip.get_pretrained_cfg(architecture, tag)
    repository, filename = os.path.split(config.get("hf_hub", ""))
    # As open_clip: safetensors first.
    names = ["open_clip_model.safetensors", "open_clip_pytorch_model.bin"]
    if filename:
        names = [str(Path(filename).with_suffix(".safetensors")), filename]
    for candidate in names if repository else ():
        cached = try_to_load_from_cache(repository, candidate)
        if isinstance(cached, str):
            return Path(cached)
    own = Path("~/.cache/clip").expanduser() / Path(config.get("url", "")).name
    return own if not repository and own.is_file() else None


def download_base(architecture: str, tag: str) -> Path:
    """The same file, downloaded where it is not on this machine already.

    Raises:
        MissingWeightsError: the download failed; says why and how else to get them
    """
    cached = find_base(architecture, tag)
    if cached is not None:
        return cached
    logger.warning("downloading the base weights %s of %s", tag, architecture)
    try:
        config = dict(open_clip.get_pretrained_cfg(architecture, tag))
        return Path(open_clip.download_pretrained(config))
    except Exception as error:
        raise MissingWeightsError(
            f"the base weights {tag!r} of {architecture} are not on this machine and could "
            f"not be downloaded ({error}). {base_advice(architecture, tag)}"
        ) from error


def base_advice(architecture: str, tag: str) -> str:
    """How to get open_clip's pretrained weights onto a machine, as one sentence or two."""
    repository = open_clip.get_pretrained_cfg(architecture, tag).get("hf_hub", "").rstrip("/")
    if not repository:
        return "With internet they are downloaded on first use."
    return (
        "With internet they are downloaded on first use. For a machine without, run `hf download "
        f"{repository}` elsewhere and copy the Hugging Face cache (HF_HOME) over"
    )

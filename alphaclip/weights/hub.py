"""Models of the Hugging Face hub, in its own cache: only what is needed of a repository, and of its
weights only safetensors; checked, and what was cut off goes on."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from huggingface_hub import try_to_load_from_cache

from alphaclip.errors import AlphaClipError, CheckpointError, MissingWeightsError
from alphaclip.files import LARGEST_CONFIG, read_json
from alphaclip.weights.downloads import Progress, download

logger = logging.getLogger(__name__)

ALPHA_FILE = "alpha_channel.safetensors"
"""An alpha channel beside the weights of a plain model of open_clip's."""

OPEN_CLIP_WEIGHTS, OPEN_CLIP_CONFIG = "open_clip_model.safetensors", "open_clip_config.json"
CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"

_REPOSITORY = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*", re.ASCII)
_DESCRIBES = re.compile(r"[^/]+\.(json|txt|model|jinja)|README\.md|merges\.txt\.gz")
"""Configurations, tokenizers and the card."""

ADAPTER = "adapter_config.json"
"""With it transformers would load another model, which it names, and change that one's weights."""

_BESIDE = ("tokenizer_config.json",), ("preprocessor_config.json", "processor_config.json")
"""What lies beside transformers' weights; of each one will do."""

_SHARD = re.compile(r"model(-\d+-of-\d+)?\.safetensors")


def hub_folder(
    repository: str,
    config: str = CONFIG,
    check: Callable[[Path], object] | None = None,
    progress: Progress | None = None,
) -> Path:
    """The folder of a model of the hub, downloaded where it is not on this machine already.

    Args:
        repository: ``owner/name``
        config: ``CONFIG`` for transformers' weights, ``OPEN_CLIP_CONFIG`` for open_clip's
        check (None): called with the folder before weights are downloaded; may refuse the model
        progress (None): see :func:`alphaclip.weights.downloads.download`

    Raises:
        MissingWeightsError: it cannot be had; says why and how else to get it
    """
    cached = find_hub_folder(repository, config)
    if cached is not None:
        return cached
    if not _REPOSITORY.fullmatch(repository):
        raise MissingWeightsError(
            f"{repository!r:.120} is no model of the hub: expected OWNER/NAME"
        )
    logger.warning("downloading %s from the Hugging Face hub", repository)
    try:
        return _fetch(repository, config, check, progress)
    except Exception as error:
        if isinstance(error, AlphaClipError) and not isinstance(error, CheckpointError):
            raise
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise MissingWeightsError(
            f"{repository} is not on this machine and could not be downloaded ({reason:.500}). "
            "HF_ENDPOINT names a mirror of the hub, `hf auth login` gives access to what is not "
            f"open to all. For a machine without internet, run `hf download {repository}` "
            "elsewhere and copy the Hugging Face cache (HF_HOME) over"
        ) from error


def find_hub_folder(repository: str, config: str = CONFIG) -> Path | None:
    """Looks for the same in the cache, without a download; None where it is not there in full."""
    try:
        found = try_to_load_from_cache(repository, config)
    except ValueError:  # no name of a repository
        return None
    if not isinstance(found, str):
        return None
    folder = Path(found).parent
    if config == CONFIG:
        # Others may have fetched the weights alone.
        rest = all(any((folder / n).is_file() for n in names) for names in _BESIDE)
        return folder if rest and find_weights(folder) is not None else None
    # open_clip itself fetches no alpha channel: whether there is one has to be known.
    is_known = try_to_load_from_cache(repository, ALPHA_FILE) is not None
    return folder if is_known and (folder / OPEN_CLIP_WEIGHTS).is_file() else None


def find_weights(folder: Path) -> Path | None:
    """transformers' weights in a folder, as safetensors: the file, or the index of several that are
    all there; None without."""
    if (folder / WEIGHTS).is_file():
        return folder / WEIGHTS
    try:
        names = set(read_json(folder / INDEX, LARGEST_CONFIG)["weight_map"].values())
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return None
    return folder / INDEX if all((folder / Path(name).name).is_file() for name in names) else None


def fetch_file(
    repository: str, name: str, progress: Progress | None = None, revision: str | None = None
) -> Path:
    """Downloads a file of the hub into its cache; of another revision than the newest, if named.

    What is large is downloaded to where the cache keeps contents, whence the hub's library takes
    it: its own download cannot be stopped, begins anew each time, and is not compared with the
    SHA-256 that the hub states.
    """
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.file_download import repo_folder_name

    about = get_hf_file_metadata(hf_hub_url(repository, name, revision=revision))
    digest = about.etag or ""
    if about.size and re.fullmatch("[0-9a-f]{64}", digest):
        folder = repo_folder_name(repo_id=repository, repo_type="model")
        blob = Path(constants.HF_HUB_CACHE) / folder / "blobs" / digest
        # Signed, so that no token is sent to where the hub keeps its files.
        download(about.location, blob, about.size, digest, progress, repository)
    return Path(hf_hub_download(repository, name, revision=revision))


def _fetch(
    repository: str,
    config: str,
    check: Callable[[Path], object] | None,
    progress: Progress | None,
) -> Path:
    from huggingface_hub import hf_hub_download, list_repo_files
    from huggingface_hub.errors import EntryNotFoundError

    # First, as without a network this fails at once, and the list only after many tries.
    try:
        folder = fetch_file(repository, config).parent
    except EntryNotFoundError as error:
        raise MissingWeightsError(f"{repository} has no {config}: it is no such model") from error
    names = list_repo_files(repository)
    weights = _weights_of(repository, config, names)
    if check is not None:
        check(folder)
    for name in names:
        if _DESCRIBES.fullmatch(name):
            fetch_file(repository, name, revision=folder.name)
    # With these the folder is there in full.
    for name in weights:
        fetch_file(repository, name, progress, folder.name)
    if config == OPEN_CLIP_CONFIG and ALPHA_FILE not in names:
        with suppress(EntryNotFoundError):  # which the cache notes
            hf_hub_download(repository, ALPHA_FILE, revision=folder.name)
    return folder


def _weights_of(repository: str, config: str, names: Sequence[str]) -> list[str]:
    """The files of weights that are needed, among all of a repository.

    Raises:
        MissingWeightsError: there are none; says what is there instead
    """
    if config == CONFIG and ADAPTER in names:
        raise MissingWeightsError(
            f"{repository} has an {ADAPTER}: name a model that it is merged into"
        )
    if config == CONFIG:
        weights = [name for name in names if _SHARD.fullmatch(name)]
        weights = [WEIGHTS] if WEIGHTS in weights else weights
    else:
        weights = [OPEN_CLIP_WEIGHTS] if OPEN_CLIP_WEIGHTS in names else []
    if not weights:
        raise MissingWeightsError(
            f"{repository} has no safetensors weights, and others are not read: ask its owner for "
            "them (transformers' save_pretrained writes them)"
        )
    return [*weights, ALPHA_FILE] if config != CONFIG and ALPHA_FILE in names else weights

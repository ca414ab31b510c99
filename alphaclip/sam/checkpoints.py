"""Weights of Segment Anything (SAM): the released ones, and the user's own."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from alphaclip.catalog.choices import Choice
from alphaclip.catalog.released import models_folder
from alphaclip.errors import CheckpointError, MissingWeightsError, ModelNotFoundError
from alphaclip.files import file_sha256
from alphaclip.sam.networks import read_sam
from alphaclip.weights.downloads import Progress, download

logger = logging.getLogger(__name__)

LICENCE = "Apache-2.0"
HOW_TO_INSTALL_OWN = (
    "a SAM of your own is installed by `alphaclip segment --install sam-NAME --file FILE`"
)
_OWN_NAME = re.compile(r"sam(-[a-z0-9]{1,32}){1,4}", re.ASCII)
"""It becomes a file's name, so it can be no path and nothing that another system cannot write."""


_ON_HUB = "ybelkada/segment-anything"
"""Somebody's copy of the published files: their SHA-256 says whether it still is one."""


@dataclass(frozen=True)
class ReleasedSam:
    """One released checkpoint: its name here and its architecture, and of the published file the
    name, SHA-256, size and address."""

    name: str
    architecture: str
    file_name: str
    sha256: str
    bytes: int
    url: str

    @property
    def source(self) -> str:
        """Where it is downloaded from: a mirror of the hub, if there is one, else ``url``."""
        from huggingface_hub import hf_hub_url

        mirror = os.environ.get("HF_ENDPOINT")
        if not mirror:
            return self.url
        return hf_hub_url(_ON_HUB, f"checkpoints/{self.file_name}", endpoint=mirror.rstrip("/"))


def _released(size: str, suffix: str, sha256: str, length: int) -> ReleasedSam:
    file_name = f"sam_vit_{size}_{suffix}.pth"
    url = f"https://dl.fbaipublicfiles.com/segment_anything/{file_name}"
    return ReleasedSam(f"sam-vit-{size}", f"vit_{size}", file_name, sha256, length, url)


RELEASED_SAMS = (
    _released(
        "b", "01ec64",
        "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912", 375_042_383,
    ),
    _released(
        "l", "0b3195",
        "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622", 1_249_524_607,
    ),
    _released(
        "h", "4b8939",
        "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e", 2_564_550_879,
    ),
)  # fmt: skip
"""The checkpoints of facebookresearch/segment-anything, the smallest first."""


def is_released(name: str) -> bool:
    """Whether a name is that of a released checkpoint."""
    return any(released.name == name for released in RELEASED_SAMS)


def installed_sams() -> list[str]:
    """The names of the SAMs in the models folder: the released ones, the largest first, then the
    user's own by name. Files of other names are left out."""
    released = [r.name for r in reversed(RELEASED_SAMS) if installed_sam_path(r.name).is_file()]
    own = [path.stem for path in models_folder().glob("sam-*.safetensors") if path.is_file()]
    return released + sorted(n for n in own if _OWN_NAME.fullmatch(n) and not is_released(n))


def sam_choices() -> list[Choice]:
    """The SAMs that may be chosen: those that are installed, first the one that ``auto`` takes;
    then those that :func:`install_sam` can download."""
    here, published = installed_sams(), {released.name: released for released in RELEASED_SAMS}
    names = [*here, *(name for name in published if name not in here)]
    return [
        Choice(
            name=name,
            summary="Segment Anything" if name in published else "installed by you",
            licence=LICENCE if name in published else "not stated",
            commercial=True if name in published else None,
            installed=name in here,
            bytes=0 if name in here else published[name].bytes,
            why_auto="the largest that is installed" if here[:1] == [name] else "",
        )
        for name in names
    ]


def installed_sam_path(name: str) -> Path:
    """Where a checkpoint is once it is installed."""
    return models_folder() / f"{name}.safetensors"


def require_installed(name: str) -> Path:
    """The file of an installed checkpoint.

    Raises:
        ModelNotFoundError: nothing of this name is released or installed
        MissingWeightsError: it is released, but not installed; says how to install it
    """
    if name in installed_sams():
        return installed_sam_path(name)
    if is_released(name):
        how = how_to_install_sam(_by_name(name))
        raise MissingWeightsError(f"{name} is not installed: {how}")
    own = [own for own in installed_sams() if not is_released(own)]
    raise ModelNotFoundError(
        f"no SAM is called {name!r}, and there is no such file: take "
        f"{', '.join([_released_names(), *own])}, or the path of a .pth or .safetensors file; "
        f"{HOW_TO_INSTALL_OWN}"
    )


def how_to_install_sam(released: ReleasedSam) -> str:
    """What to do to get a released checkpoint."""
    return (
        f"run `alphaclip segment --install {released.name}`, which downloads "
        f"{released.bytes / 1e6:,.0f} MB from {released.source}; or get that file yourself and run "
        f"`alphaclip segment --install {released.name} --file FILE`"
    )


def install_sam(name: str, source: Path | None = None, progress: Progress | None = None) -> Path:
    """Downloads a released checkpoint, or takes the user's file, and converts it.

    Args:
        name: ``sam-vit-b``, ``sam-vit-l`` or ``sam-vit-h``; or a new name for a SAM of the user's
            own: "sam" and one to four parts of small letters and digits, each after a hyphen
        source (None): the user's file, a ``.pth`` (read with ``weights_only=True``) or
            ``.safetensors``: for a released name the published file, whose SHA-256 is checked; it
            is left as it is
        progress (None): see :func:`alphaclip.weights.downloads.download`

    Returns:
        a safetensors file in the models folder

    Raises:
        ModelNotFoundError: there is nothing to download of this name
        CheckpointError: the file cannot be had, was cut short, is not the published one, or is
            not SAM's; or the name is malformed or taken by other weights
    """
    if not is_released(name):
        return _install_own(name, source)
    released, path = _by_name(name), installed_sam_path(name)
    if path.is_file():
        return path
    about = {
        "licence": LICENCE,
        "source_file": released.file_name,
        "source_sha256": released.sha256,
    }
    if source is not None:
        digest = _sha256(source)
        if digest != released.sha256:
            raise CheckpointError(
                f"{source} is not the published {released.file_name}: its SHA-256 is {digest}, "
                f"published is {released.sha256} ({source.stat().st_size:,} of "
                f"{released.bytes:,} bytes). Get it again; {HOW_TO_INSTALL_OWN}"
            )
        return _convert(source, path, about, released.architecture)
    published = path.with_name(released.file_name)
    try:
        # Room for it, and for what it becomes
        download(released.source, published, released.bytes, released.sha256, progress, rooms=2.2)
    except CheckpointError as error:
        raise CheckpointError(
            f"{error}; or get the file yourself and run `alphaclip segment --install "
            f"{released.name} --file FILE`"
        ) from error
    try:
        return _convert(published, path, about, released.architecture)
    finally:
        published.unlink(missing_ok=True)


def _install_own(name: str, source: Path | None) -> Path:
    from alphaclip.weights.checkpoints import read_metadata

    if source is None:
        raise ModelNotFoundError(
            f"nothing called {name!r} can be downloaded: take {_released_names()}; "
            f"{HOW_TO_INSTALL_OWN}"
        )
    if not _OWN_NAME.fullmatch(name):
        raise CheckpointError(
            f"a SAM of your own cannot be called {name!r:.120}: expected sam-NAME, where NAME is "
            "one to four words of small letters and digits with hyphens between, as in sam-cells-2"
        )
    path, digest = installed_sam_path(name), _sha256(source)
    if path.is_file() and read_metadata(path).get("source_sha256") == digest:
        return path
    if path.exists():
        raise CheckpointError(f"{path} is there already: choose another name, or delete it first")
    about = {"licence": "not stated", "source_file": source.name, "source_sha256": digest}
    return _convert(source, path, about)


def _by_name(name: str) -> ReleasedSam:
    return next(released for released in RELEASED_SAMS if released.name == name)


def _released_names() -> str:
    return ", ".join(released.name for released in RELEASED_SAMS)


def _sha256(source: Path) -> str:
    if not source.is_file():
        raise CheckpointError(f"{source}: there is no such file; check the path")
    return file_sha256(source)


def _convert(
    source: Path, path: Path, about: Mapping[str, str], expected: str | None = None
) -> Path:
    from alphaclip.weights.checkpoints import write_checkpoint

    architecture, model = read_sam(source)
    if expected not in (None, architecture):
        raise CheckpointError(f"{source} holds SAM {architecture}, but {path.stem} is {expected}")
    metadata = {"name": path.stem, "architecture": architecture, **about}
    write_checkpoint(model.state_dict(), path, metadata)
    logger.info("%s is installed as %s", path.stem, path)
    return path

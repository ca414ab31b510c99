"""The eight released Alpha-CLIP checkpoints: what they are, where to get them, what they reach.

Figures: the model zoo of the Alpha-CLIP project, and tables 2 and 11 of arXiv 2312.03818.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from alphaclip.errors import CheckpointError, ModelNotFoundError
from alphaclip.files import folder_in_environment

logger = logging.getLogger(__name__)

LICENCE = "CC BY-NC 4.0, for research only; CLIP's own model terms apply as well"
BASE_TAG = "openai"
"""Alpha-CLIP trains the image encoder only: its text encoder is OpenAI's, and has to be theirs."""


@dataclass(frozen=True)
class Baseline:
    """What plain CLIP reaches with an architecture.

    Attributes:
        label: the architecture as papers write it
        imagenet_s: zero-shot top-1 and top-5 accuracy on ImageNet-S, in percent
        coco: zero-shot top-1 over COCO's 80 classes, boxes enlarged 1.5 times with their
            background, in percent; None where not measured
    """

    label: str
    imagenet_s: tuple[float, float]
    coco: float | None = None


@dataclass(frozen=True)
class Released:
    """One released checkpoint.

    Attributes:
        name: its name here
        architecture: the open_clip architecture, always with QuickGELU
        data: what it was trained on
        file_name: its name where it is published
        drive_id: Google Drive's identifier of the file
        imagenet_s: top-1 and top-5 on ImageNet-S with the object's mask, in percent
        coco: as `Baseline.coco`
    """

    name: str
    architecture: str
    data: str
    file_name: str
    drive_id: str
    imagenet_s: tuple[float, float]
    coco: float | None = None

    @property
    def url(self) -> str:
        """The page to download it from."""
        return f"https://drive.google.com/file/d/{self.drive_id}/view"

    @property
    def has_mim(self) -> bool:
        """Whether MaskImageNet was among its data, without which it is below CLIP on objects."""
        return self.data == _MIM

    @property
    def baseline(self) -> Baseline:
        """Plain CLIP of the same architecture."""
        return BASELINES[self.architecture]


BASELINES = {
    "ViT-B-16-quickgelu": Baseline("ViT-B/16", (66.48, 88.90), 64.21),
    "ViT-L-14-quickgelu": Baseline("ViT-L/14", (73.48, 91.60), 67.65),
    "ViT-L-14-336-quickgelu": Baseline("ViT-L/14@336", (74.29, 91.97)),
}

_GRIT_1M = "GRIT-1M"
_GRIT_20M = "GRIT-20M"
_MIM = "GRIT-1M and MaskImageNet"
_B16, _L14, _L14_336 = BASELINES

RELEASED = (
    Released(
        "alphaclip-vit-l14-grit1m-mim", _L14, _MIM,
        "clip_l14_grit1m+mim_fultune_6xe", "1JfzOTvjf0tqBtKWwpBJtjYxdHi-06dbk",
        (77.80, 94.46), 77.56,
    ),
    Released(
        "alphaclip-vit-b16-grit1m-mim", _B16, _MIM,
        "clip_b16_grit1m+mim_fultune_4xe", "11iDlSAYI_BAi1A_Qz6LTWYHNgPe-UY7I",
        (69.40, 90.74), 71.08,
    ),
    Released(
        "alphaclip-vit-l14-336-grit20m", _L14_336, _GRIT_20M,
        "clip_l14@336_grit20m_fultune_4xe", "1dUq1deeLcou26RuxZbBG57m2ALPWev6-",
        (79.61, 95.31),
    ),
    Released(
        "alphaclip-vit-l14-336-grit1m", _L14_336, _GRIT_1M,
        "clip_l14@336_grit1m_fultune_8xe", "1DeNbUv0lraDxJZItb7shTlvGW6z_Z9Si",
        (78.15, 94.86),
    ),
    Released(
        "alphaclip-vit-l14-grit20m", _L14, _GRIT_20M,
        "clip_l14_grit20m_fultune_2xe", "1WykuBYWePriCVeW5lOwBsgxgeBMzb1nd",
        (77.41, 94.45),
    ),
    Released(
        "alphaclip-vit-l14-grit1m", _L14, _GRIT_1M,
        "clip_l14_grit1m_fultune_8xe", "1PIhplBnsmSWiJN--TXCCSsiaV6bY9koq",
        (77.22, 94.38), 67.44,
    ),
    Released(
        "alphaclip-vit-b16-grit20m", _B16, _GRIT_20M,
        "clip_b16_grit20m_fultune_2xe", "1cj3cYwrzBivx0h0NzSjlCg9HAd5aTkDW",
        (68.89, 90.51),
    ),
    Released(
        "alphaclip-vit-b16-grit1m", _B16, _GRIT_1M,
        "clip_b16_grit1m_fultune_8xe", "16fHEXZ-7bgzcSBHzEz1wXRIZTjQIXm_2",
        (68.31, 90.31), 61.57,
    ),
)  # fmt: skip
"""Best first, for objects in photographs: the order in which ``"auto"`` takes what is installed."""


def models_folder() -> Path:
    """Where converted checkpoints are kept: ``ALPHACLIP_MODELS``, or a folder in the cache."""
    return folder_in_environment("ALPHACLIP_MODELS") or Path("~/.cache/alphaclip").expanduser()


def installed_path(name: str) -> Path:
    """Where a released checkpoint is once it is installed."""
    return models_folder() / f"{name}.safetensors"


def find_released(name: str) -> Released:
    """The released checkpoint of a name.

    Raises:
        ModelNotFoundError: there is none of this name
    """
    for released in RELEASED:
        if released.name == name:
            return released
    names = ", ".join(released.name for released in RELEASED)
    raise ModelNotFoundError(f"no released checkpoint is called {name!r}; there are: {names}")


def how_to_install(released: Released) -> str:
    """What to do to get a released checkpoint."""
    return (
        f"download {released.file_name} from {released.url} ({LICENCE}), then run: "
        f"alphaclip convert FILE --as {released.name}"
    )


def install(source: Path, name: str, replace: bool = False) -> Path:
    """Converts a downloaded checkpoint into the models folder.

    No checksums of the released files are published, so that weights of the right shapes are taken
    for what the user says they are; what speaks against it is logged as a warning.

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
    from alphaclip.files import ABANDONED, file_sha256, remove_partials
    from alphaclip.weights.checkpoints import (
        convert_checkpoint,
        recognize_architecture,
        write_checkpoint,
    )
    from alphaclip.weights.plausibility import doubts

    released, path = find_released(name), installed_path(name)
    if path.exists() and not replace:
        raise CheckpointError(f"{path} is there already; to convert it anew, say --force")
    tensors = convert_checkpoint(source)
    architecture = recognize_architecture(tensors, str(source))
    if architecture != released.architecture:
        fitting = [other.name for other in RELEASED if other.architecture == architecture]
        raise CheckpointError(
            f"{source} holds weights for {architecture}, but {name} is {released.architecture}: "
            f"it can be {', '.join(fitting)}"
        )
    for doubt in doubts(tensors):
        logger.warning(
            "%s: %s. It is installed as %s all the same: if you meant the released one, get %s "
            "from %s and convert it with --force", source, doubt, name, released.file_name,
            released.url,
        )  # fmt: skip
    remove_partials(path.parent, ABANDONED)
    metadata = {
        "name": name,
        "architecture": architecture,
        "licence": LICENCE,
        "source_file": source.name,
        "source_sha256": file_sha256(source),
    }
    write_checkpoint(tensors, path, metadata)
    return path


def describe(released: Released) -> str:
    """What a user should know of a released checkpoint before taking it: several lines."""
    base = released.baseline
    top1, top5 = released.imagenet_s
    lines = [
        f"{released.name}: Alpha-CLIP {base.label}, trained on {released.data}",
        f"  licence      {LICENCE}",
        f"  published as {released.file_name}",
        f"  get it at    {released.url}",
        f"  install it   alphaclip convert FILE --as {released.name}",
        f"  base weights open_clip's {released.architecture}/{BASE_TAG} (text encoder)",
        f"  ImageNet-S   top-1 {top1:.2f}, top-5 {top5:.2f} "
        f"(plain CLIP {base.imagenet_s[0]:.2f}, {base.imagenet_s[1]:.2f})",
    ]
    if released.coco is not None:
        lines.append(
            f"  COCO objects top-1 {released.coco:.2f} (plain CLIP {base.coco:.2f}), "
            "boxes enlarged 1.5 times"
        )
    return "\n".join([*lines, "", WHICH_ONE])


WHICH_ONE = (
    "For objects in photographs take a -mim checkpoint. Those trained on GRIT alone are below\n"
    "plain CLIP on COCO objects (67.44 against 67.65 at L/14, 61.57 against 64.21 at B/16);\n"
    "with MaskImageNet they reach 77.56 and 71.08."
)

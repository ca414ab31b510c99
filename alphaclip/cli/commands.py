"""The encoder house's subcommands, ``models`` and ``convert``, and its part of ``doctor``."""

from __future__ import annotations

import argparse
import platform
from pathlib import Path
from typing import TYPE_CHECKING

from alphaclip.catalog import zoo
from alphaclip.catalog.methods import JOIN, METHODS
from alphaclip.catalog.released import (
    BASE_TAG,
    RELEASED,
    WHICH_ONE,
    Released,
    describe,
    find_released,
    install,
    installed_path,
    models_folder,
)
from alphaclip.cli.doctor import Check, package_check
from alphaclip.errors import AlphaClipError, CheckpointError

if TYPE_CHECKING:
    from alphaclip.views.view import View

_PACKAGES = (
    "alphaclip-fiftyone", "numpy", "pillow", "torch", "torchvision", "open_clip_torch", "timm",
    "safetensors",
)  # fmt: skip


def add_parsers(subparsers: argparse._SubParsersAction) -> None:
    """Adds the subcommands ``models`` and ``convert``.

    Args:
        subparsers: of the command ``alphaclip``
    """
    models = subparsers.add_parser(
        "models", help="list the models, or say what one is and how to get it"
    )
    models.add_argument("name", nargs="?", help="the model to describe; without it all are listed")
    models.set_defaults(run=_models)
    convert = subparsers.add_parser(
        "convert", help="install a released Alpha-CLIP checkpoint that you downloaded"
    )
    convert.add_argument("file", type=Path, help="the .pth file as it was downloaded")
    convert.add_argument(
        "--as",
        dest="name",
        required=True,
        metavar="NAME",
        help="which checkpoint it is, such as alphaclip-vit-l14-grit1m-mim; "
        "`alphaclip models` lists the names",
    )
    convert.add_argument("--force", action="store_true", help="replace one installed before")
    convert.set_defaults(run=_convert)


def checks() -> list[Check]:
    """What the encoder needs: packages, a GPU, weights.

    Returns:
        one check for each
    """
    python = Check("python", "ok", platform.python_version())
    packages = map(package_check, _PACKAGES)
    return [python, *packages, _gpu_check(), *_model_checks(), _auto_check()]


def _models(args: argparse.Namespace) -> int:
    print(_list() if args.name is None else _describe(args.name))
    return 0


def _convert(args: argparse.Namespace) -> int:
    path = install(args.file, args.name, replace=args.force)
    print(f"{args.name} is installed: {path}")
    return 0


def _list() -> str:
    infos = zoo.list_models()
    width = max(len(info.name) for info in infos)
    rows = [
        f"{info.name:<{width}}  {'installed' if info.installed else '-':<9}  {info.summary}"
        for info in infos
    ]
    return "\n".join(
        [
            f"{'NAME':<{width}}  {'STATUS':<9}  WHAT IT IS",
            *rows,
            "",
            "Also: openclip:ARCHITECTURE/TAG for any of open_clip's models, or the path of a",
            "folder or converted file. `alphaclip models NAME` says how to get one.",
            "",
            "Each with methods, NAME+METHOD[+METHOD]; several as an ensemble, 'NAME & NAME':",
            *(f"  +{method.name:<10}  {method.summary}" for method in METHODS),
            "",
            f"Converted checkpoints are kept in {models_folder()} (ALPHACLIP_MODELS).",
            "",
            WHICH_ONE,
        ]
    )


def _describe(name: str) -> str:
    if JOIN in name:
        return "\n\n".join(_describe(member.strip()) for member in name.split(JOIN))
    for info in zoo.list_models():
        if info.name == name:
            place = f"Installed: {info.path}" if info.installed else "Not installed."
            return f"{_card(info)}\n\n{place}"
    spec = zoo.resolve(name)
    weights = spec.checkpoint_path or _base_place(spec.architecture, spec.pretrained)
    return "\n".join(
        [
            spec.name,
            f"  architecture {spec.architecture}",
            f"  weights      {weights}",
            f"  licence      {spec.licence}",
            f"  view         {_view_in_words(spec.default_view)}",
            *(f"  +{method.name:<11} {method.summary}" for method in spec.methods),
            *([f"  note         {spec.warning}"] if spec.warning else []),
        ]
    )


def _card(info: zoo.ModelInfo) -> str:
    if info.name == zoo.NANO:
        card = zoo.NANO_FOLDER / zoo.CARD_FILE
        return f"{info.name}: {info.summary}\n  licence      {info.licence}\n  card         {card}"
    return describe(find_released(info.name))


_FRAMES = {
    "image": "the whole picture",
    "squash": "the whole picture, squashed to a square",
    "center": "the square in the middle of the picture",
}


def _view_in_words(view: View) -> str:
    if view.kind == "context":
        return f"a square of {view.context:g} times the region's longer side"
    return _FRAMES.get(view.kind, view.kind)


def _base_place(architecture: str, tag: str | None) -> str:
    from alphaclip.weights.base_weights import base_advice, find_base

    if tag is None:
        return architecture
    if Path(tag).is_file():
        return f"{tag} (no alpha channel)"
    found = find_base(architecture, tag)
    return str(found) if found else f"not here yet. {base_advice(architecture, tag)}"


def _gpu_check() -> Check:
    import torch

    if torch.cuda.is_available():
        device = torch.cuda.get_device_properties(0)
        count, memory = torch.cuda.device_count(), device.total_memory / 2**30
        others = f", and {count - 1} more" if count > 1 else ""
        return Check("GPU", "ok", f"{device.name}, {memory:.0f} GiB{others}")
    build = f"PyTorch for CUDA {torch.version.cuda}" if torch.version.cuda else "PyTorch for CPUs"
    advice = (
        "with an NVIDIA GPU, see that `nvidia-smi` works and its driver is new enough for that CUDA"
        if torch.version.cuda
        else "with an NVIDIA GPU, install PyTorch for CUDA: https://pytorch.org/get-started/locally"
    )
    detail = f"none that is usable ({build}); everything runs on the CPU, more slowly"
    return Check("GPU", "warn", detail, advice)


def _model_checks() -> list[Check]:
    installed = [r for r in RELEASED if installed_path(r.name).is_file()]
    if installed:
        return [_nano_check(), *(check for r in installed for check in _released_checks(r))]
    return [
        _nano_check(),
        Check(
            "models for photographs",
            "warn",
            f"none in {models_folder()}",
            "`alphaclip models alphaclip-vit-l14-grit1m-mim` says how to get the best one",
        ),
    ]


def _nano_check() -> Check:
    try:
        spec = zoo.resolve(zoo.NANO)
    except AlphaClipError as error:
        return Check(zoo.NANO, "missing", str(error), "install alphaclip-fiftyone again")
    return Check(zoo.NANO, "ok", str(spec.checkpoint_path))


def _auto_check() -> Check:
    from alphaclip.weights.checkpoints import read_metadata

    try:
        spec = zoo.find_auto()
        if spec.checkpoint_path is not None:
            read_metadata(spec.checkpoint_path)
    except AlphaClipError as error:
        return Check("auto", "missing", f"no usable model: {error}", "see the models above")
    detail = f"is {spec.name}: what is taken where no model is named"
    return Check("auto", "warn" if spec.warning else "ok", detail, spec.warning)


def _released_checks(released: Released) -> list[Check]:
    from alphaclip.weights.base_weights import base_advice, find_base

    own = _file_check(released)
    base = find_base(released.architecture, BASE_TAG)
    name = f"{released.architecture}/{BASE_TAG}"
    if base is not None:
        return [own, Check(name, "ok", str(base))]
    advice = base_advice(released.architecture, BASE_TAG)
    return [own, Check(name, "warn", "base weights are not on this machine", advice)]


def _file_check(released: Released) -> Check:
    from alphaclip.weights.checkpoints import read_metadata

    path = installed_path(released.name)
    try:
        read_metadata(path)
    except CheckpointError as error:
        advice = (
            f"convert {released.file_name} again (download it from {released.url} if need be): "
            f"alphaclip convert FILE --as {released.name} --force"
        )
        return Check(released.name, "missing", str(error), advice)
    return Check(released.name, "ok", str(path))

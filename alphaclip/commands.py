"""The encoder house's subcommands, ``models`` and ``convert``, and its part of ``doctor``."""

from __future__ import annotations

import argparse
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from alphaclip import zoo
from alphaclip.doctor import Check
from alphaclip.errors import AlphaClipError
from alphaclip.released import BASE_TAG, RELEASED, WHICH_ONE, Released, describe

_PACKAGES = ("alphaclip-fiftyone", "torch", "torchvision", "open_clip_torch", "timm", "safetensors")


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
    return [python, *map(_package_check, _PACKAGES), _gpu_check(), *_model_checks()]


def _models(args: argparse.Namespace) -> int:
    print(_list() if args.name is None else _describe(args.name))
    return 0


def _convert(args: argparse.Namespace) -> int:
    path = zoo.install(args.file, args.name, replace=args.force)
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
            f"Converted checkpoints are kept in {zoo.models_folder()} (ALPHACLIP_MODELS).",
            "",
            WHICH_ONE,
        ]
    )


def _describe(name: str) -> str:
    for info in zoo.list_models():
        if info.name == name:
            place = f"Installed: {info.path}" if info.installed else "Not installed."
            return f"{_card(info)}\n\n{place}"
    spec = zoo.resolve(name)
    weights = spec.checkpoint_path or _base_place(spec.architecture, str(spec.pretrained))
    return "\n".join(
        [
            spec.name,
            f"  architecture {spec.architecture}",
            f"  weights      {weights}",
            f"  licence      {spec.licence}",
            f"  view         {spec.default_view}",
        ]
    )


def _card(info: zoo.ModelInfo) -> str:
    if info.name == zoo.NANO:
        card = zoo.NANO_FOLDER / zoo.CARD_FILE
        return f"{info.name}: {info.summary}\n  licence      {info.licence}\n  card         {card}"
    return describe(zoo.find_released(info.name))


def _base_place(architecture: str, tag: str) -> str:
    from alphaclip.base_weights import base_advice, find_base

    found = find_base(architecture, tag)
    return str(found) if found else f"not here yet. {base_advice(architecture, tag)}"


def _package_check(package: str) -> Check:
    try:
        return Check(package, "ok", version(package))
    except PackageNotFoundError:
        return Check(package, "missing", "not installed", f"pip install {package}")


def _gpu_check() -> Check:
    import torch

    if not torch.cuda.is_available():
        return Check(
            "GPU",
            "warn",
            "none that PyTorch can use; everything runs on the CPU, more slowly",
            "on a machine with an NVIDIA GPU, check the driver and the PyTorch build",
        )
    device = torch.cuda.get_device_properties(0)
    return Check("GPU", "ok", f"{device.name}, {device.total_memory / 2**30:.0f} GiB")


def _model_checks() -> list[Check]:
    try:
        spec = zoo.resolve(zoo.NANO)
        nano = Check(zoo.NANO, "ok", str(spec.checkpoint_path))
    except AlphaClipError as error:
        nano = Check(zoo.NANO, "missing", str(error), "install alphaclip-fiftyone again")
    installed = [r for r in RELEASED if zoo.installed_path(r.name).is_file()]
    if installed:
        return [nano, *(check for r in installed for check in _released_checks(r))]
    return [
        nano,
        Check(
            "models for photographs",
            "warn",
            f"none in {zoo.models_folder()}",
            "`alphaclip models alphaclip-vit-l14-grit1m-mim` says how to get the best one",
        ),
    ]


def _released_checks(released: Released) -> list[Check]:
    from alphaclip.base_weights import base_advice, find_base

    own = Check(released.name, "ok", str(zoo.installed_path(released.name)))
    base = find_base(released.architecture, BASE_TAG)
    name = f"{released.architecture}/{BASE_TAG}"
    if base is not None:
        return [own, Check(name, "ok", str(base))]
    advice = base_advice(released.architecture, BASE_TAG)
    return [own, Check(name, "warn", "base weights are not on this machine", advice)]

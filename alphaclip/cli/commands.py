"""The encoder house's subcommands, ``models`` and ``convert``, and its part of ``doctor``."""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Sequence
from pathlib import Path

from alphaclip.catalog import zoo
from alphaclip.catalog.candidates import (
    CANDIDATES,
    DETECTORS,
    HUB_MODELS,
    SIGLIP,
    HubModel,
    allows_commerce,
    find_detector,
)
from alphaclip.catalog.choices import download_encoder, find_candidate
from alphaclip.catalog.methods import JOIN, METHODS, split_name
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

_STATUS = {True: "installed", False: "-"}
_COMMERCE = {True: "yes", False: "no", None: "not known"}

_PACKAGES = (
    "alphaclip-fiftyone", "numpy", "pillow", "torch", "torchvision", "open_clip_torch", "timm",
    "safetensors",
)  # fmt: skip


def add_parsers(subparsers: argparse._SubParsersAction) -> None:
    """Adds the subcommands ``models`` and ``convert``."""
    models = subparsers.add_parser(
        "models", help="list the models, or say what one is and how to get it"
    )
    models.add_argument("name", nargs="?", help="the model to describe; without it all are listed")
    models.add_argument("--install", action="store_true", help="download it; a stop loses nothing")
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
    """One check for each thing that the encoder needs: packages, a GPU, weights."""
    python = Check("python", "ok", platform.python_version())
    packages = map(package_check, _PACKAGES)
    return [python, *packages, _gpu_check(), *_model_checks(), _auto_check()]


def _models(args: argparse.Namespace) -> int:
    if args.install:
        return _install(args.name or "")
    if args.name is not None:
        print(_describe(args.name))
        return 0
    infos = zoo.list_models()
    width = max(len(info.name) for info in infos)
    print(f"{'NAME':<{width}}  {'STATUS':<9}  {'COMMERCIAL USE':<14}  WHAT IT IS")
    for info in infos:
        status, use = _STATUS[info.installed], _COMMERCE[allows_commerce(info.licence)]
        print(f"{info.name:<{width}}  {status:<9}  {use:<14}  {info.summary}")
    print()
    _print_candidates()
    print(
        "\nAlso: openclip:ARCHITECTURE/TAG for any of open_clip's models, or the path of a\n"
        "folder or converted file. `alphaclip models NAME` says how to get one.\n\n"
        "Each with methods, NAME+METHOD[+METHOD]; several as an ensemble, 'NAME & NAME':"
    )
    for method in METHODS:
        print(f"  +{method.name:<10}  {method.summary}")
    print(f"\nConverted checkpoints are kept in {models_folder()} (ALPHACLIP_MODELS).\n")
    print(WHICH_ONE)
    print()
    _print_detectors()
    return 0


def _install(name: str) -> int:
    from alphaclip.weights.hub import hub_folder

    is_hub = zoo.hub_config(name) is not None
    detector = find_detector(name)
    model = name if is_hub or detector else find_candidate(name).model
    if detector:
        hub_folder(name)
    else:
        download_encoder(name)
    loads = name if is_hub else zoo.cached_name(model)
    use = "it finds boxes for words" if detector else f"{loads} encodes regions"
    print(f"{model} is installed: {use}")
    return 0


def _print_candidates() -> None:
    """open_clip's, with what decides between them."""
    here, speed = zoo.find_cached(), _gigaflops()
    rows = [("OPEN_CLIP'S", "STATUS", "COMMERCIAL USE", "SIZE", "TOKENS", "IMAGENET", "HERE")]
    for one in (*CANDIDATES, SIGLIP):
        use, status = _COMMERCE[one.is_free], _STATUS[one in here]
        rate = f"{speed / one.gigaflops:.2g}/s"
        facts = (one.size, str(one.tokens), f"{one.accuracy:.1f} %", rate)
        rows.append((f"openclip:{one.model}", status, use, *facts))
    _print_table(rows)
    print()
    _print_hub_models("TRANSFORMERS'", HUB_MODELS)
    print(
        "\nTOKENS: of a text that it reads. IMAGENET: zero-shot accuracy on pictures, as\n"
        "published. HERE: regions a second, about, by the time that a layer of ViT-B/16 takes.\n"
        "They encode regions by +near+maskattn; `auto` prefers those that may be used\n"
        "commercially. `alphaclip models NAME --install` downloads one. Any model of these kinds\n"
        "on the Hugging Face hub is hf:OWNER/NAME, and any of open_clip's hf-hub:OWNER/NAME."
    )


def _print_detectors() -> None:
    """They find boxes for words, and are no encoders."""
    _print_hub_models("DETECTORS OF WORDS", DETECTORS)
    print(
        "\nThey find what words name: for `alphaclip segment --concepts`, `search --verify`,\n"
        "audits, and the same in the App. The first that is installed is taken; any other of\n"
        "their kinds on the Hugging Face hub is OWNER/NAME. FiftyOne's zoo has SAM 3 (SAM\n"
        "licence, commercial use allowed), YOLOE and YOLO-World (AGPL-3.0)."
    )


def _print_hub_models(kind: str, models: Sequence[HubModel]) -> None:
    from alphaclip.weights.hub import find_hub_folder

    rows = [(kind, "STATUS", "COMMERCIAL USE", "SIZE", "TOKENS", "WHAT FOR")]
    for one in models:
        is_here = find_hub_folder(one.name.removeprefix("hf:")) is not None
        status, use = _STATUS[is_here], _COMMERCE[allows_commerce(one.licence)]
        size, tokens = f"{one.gigabytes:.1f} GB", str(one.tokens)
        rows.append((one.name, status, use, size, tokens, one.summary))
    _print_table(rows)


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = zip(row, widths, strict=True)
        print("  ".join(f"{cell:<{width}}" for cell, width in cells).rstrip())


def _gigaflops() -> float:
    """Of a linear layer on eight regions' tokens, the best of three times."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    tokens = torch.ones(8 * 197, 768, device=device, dtype=dtype)
    layer = torch.nn.Linear(768, 3072, device=device, dtype=dtype)
    seconds = []
    with torch.inference_mode():
        for _ in range(4):
            start = time.perf_counter()
            layer(tokens).sum().item()  # waits for a GPU
            seconds.append(time.perf_counter() - start)
    return 2 * tokens.numel() * 3072 / min(seconds) / 1e9


def _convert(args: argparse.Namespace) -> int:
    from alphaclip.weights.checkpoints import read_metadata

    path = install(args.file, args.name, replace=args.force)
    print(
        f"{args.name} is installed: {path}\n"
        f"SHA-256 of {args.file}: {read_metadata(path)['source_sha256']}\n"
        "Nobody published what that should be: the file fits the architecture, but that it is "
        f"{args.name}\nand not some other training is what you say; compare the SHA-256 with "
        "somebody else's."
    )
    return 0


def _describe(name: str) -> str:
    if JOIN in name:
        return "\n\n".join(_describe(member.strip()) for member in name.split(JOIN))
    for info in zoo.list_models():
        if info.name == name:
            if name == zoo.NANO:
                card = zoo.NANO_FOLDER / zoo.CARD_FILE
                about = (
                    f"{name}: {info.summary}\n  licence      {info.licence}\n  card         {card}"
                )
            else:
                about = describe(find_released(name))
            return f"{about}\n\n" + (
                f"Installed: {info.path}" if info.installed else "Not installed."
            )
    if detector := find_detector(name):
        from alphaclip.weights.hub import find_hub_folder

        here = find_hub_folder(name)
        return (
            f"{name}: a detector of words, {detector.summary}\n"
            f"  weights      {here or f'not here yet: alphaclip models {name} --install'}\n"
            f"  licence      {detector.licence}\n  size         {detector.gigabytes:.1f} GB"
        )
    base = split_name(name)[0]
    if zoo.hub_config(base) is not None and not zoo.is_here(base):
        return (
            f"{base}\n"
            "  weights      not here yet. With internet they are downloaded on first use, or by\n"
            f"               alphaclip models {base} --install\n"
            f"  licence      {zoo.ON_THE_HUB}"
        )
    spec = zoo.resolve(name)
    view = spec.default_view
    frames = {
        "context": f"a square of {view.context:g} times the region's longer side",
        "native": "the region at its own aspect",
        "cover": f"squares of at most {view.context:g} times a region's longer side, shared",
        "image": "the whole picture",
        "squash": "the whole picture, squashed to a square",
        "center": "the square in the middle of the picture",
    }
    lines = [
        spec.name,
        f"  architecture {spec.architecture}",
        f"  weights      {spec.checkpoint_path or _base_file(spec)}",
        f"  licence      {spec.licence}",
        f"  view         {frames.get(view.kind, view.kind)}",
        *(f"  +{method.name:<11} {method.summary}" for method in spec.methods),
    ]
    return "\n".join([*lines, *([f"  note         {spec.warning}"] if spec.warning else [])])


def _base_file(spec: zoo.ModelSpec) -> str:
    from alphaclip.weights.base_weights import base_advice, find_base

    tag = spec.pretrained
    if tag is None:
        return spec.architecture
    if Path(tag).is_file():
        return f"{tag} (no alpha channel)"
    file = find_base(spec.architecture, tag)
    return str(file) if file else f"not here yet. {base_advice(spec.architecture, tag)}"


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
    try:
        file = str(zoo.resolve(zoo.NANO).checkpoint_path)
        checks = [Check(zoo.NANO, "ok", file)]
    except AlphaClipError as error:
        checks = [Check(zoo.NANO, "missing", str(error), "install alphaclip-fiftyone again")]
    installed = [r for r in RELEASED if installed_path(r.name).is_file()]
    for released in installed:
        checks += _released_checks(released)
    others = [zoo.cached_name(one.model) for one in zoo.find_cached()]
    others += [one.name for one in HUB_MODELS if zoo.is_here(one.name)]
    if others:
        checks.append(Check("models for photographs", "ok", ", ".join(others)))
    elif not installed:
        advice = "`alphaclip models` lists them with their licences, and `--install` gets one"
        detail = f"none in {models_folder()}, nor in the Hugging Face cache"
        checks.append(Check("models for photographs", "warn", detail, advice))
    return checks


def _released_checks(released: Released) -> list[Check]:
    from alphaclip.weights.base_weights import base_advice, find_base
    from alphaclip.weights.checkpoints import read_metadata

    path = installed_path(released.name)
    try:
        read_metadata(path)
        own = Check(released.name, "ok", str(path))
    except CheckpointError as error:
        advice = (
            f"convert {released.file_name} again (download it from {released.url} if need be): "
            f"alphaclip convert FILE --as {released.name} --force"
        )
        own = Check(released.name, "missing", str(error), advice)
    name = f"{released.architecture}/{BASE_TAG}"
    base = find_base(released.architecture, BASE_TAG)
    if base is not None:
        return [own, Check(name, "ok", str(base))]
    advice = base_advice(released.architecture, BASE_TAG)
    return [own, Check(name, "warn", "base weights are not on this machine", advice)]


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

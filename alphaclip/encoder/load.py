"""From a model's name to an encoder that is ready to use."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from alphaclip.catalog import zoo
from alphaclip.catalog.methods import JOIN, PROMPTED, lay_over, pooling_of
from alphaclip.catalog.model_files import ModelSpec
from alphaclip.encoder.encoder import Encoder
from alphaclip.encoder.ensembles import Ensemble, MemberViews
from alphaclip.errors import AlphaClipError
from alphaclip.views.view import View

if TYPE_CHECKING:
    import torch

    from alphaclip.encoder.pooling import Way
    from alphaclip.network.model import AlphaCLIP

logger = logging.getLogger(__name__)

Named = str | Path | Encoder
Precision = Literal["auto", "fp32", "bf16", "fp16", "int8", "compile"]


def load(
    name: str | Path | Encoder | Sequence[str | Path | Encoder] = "auto",
    device: str | None = None,
    precision: Precision = "auto",
    view: View | None = None,
) -> Encoder:
    """Loads an encoder.

    Args:
        name: ``auto`` (the best model on this machine), a name that ``alphaclip models`` lists,
            ``openclip:MODEL/TAG``, a path, or an encoder, which is returned as it is; with
            methods behind it, ``BASE+METHOD``, see `alphaclip.catalog.methods`; several joined by
            `` & ``, or a list, are an ensemble, see `alphaclip.encoder.ensembles`
        device (None): a torch device; None takes a GPU if there is one
        precision: ``auto`` is bf16 or fp16 on a GPU, uncompiled; on the CPU it is whatever is
            fastest with cosines of at least 0.999 to fp32, measured once for each model and
            machine, see `alphaclip.encoder.cpu_precision`. ``int8`` is for the CPU and its image
            encoders, text stays fp32. ``compile`` is `torch.compile`, fp32 on the CPU, bf16 or
            fp16 on a GPU; the first batch takes up to minutes.
        view (None): what is shown of a region; None takes the model's default. What a method
            sets is laid over it.

    Raises:
        ModelNotFoundError: if no model has this name
        MissingWeightsError: if its weights are not here; says how to get them
        CheckpointError: if they cannot be read
        AlphaClipError: if the device cannot be used, or the precision is unknown or
            cannot be had here
    """
    members = members_of(name)
    if len(members) != 1:
        return _load_ensemble(members, device, precision, view)
    (name,) = members
    if isinstance(name, Encoder):
        return name
    place = find_device(device)
    _check_precision(precision)
    spec = zoo.resolve_auto() if name == "auto" else zoo.resolve(str(name))
    if spec.warning and name != "auto":
        logger.warning("%s", spec.warning)
    shown = lay_over(view, spec.methods) if view else spec.default_view
    model, way = _build(spec)
    return _with_precision(model, spec.name, shown, place, way, precision)


def members_of(name: Named | Sequence[Named]) -> list[Named]:
    """The members that a name or list stands for; one where it is no ensemble.

    Args:
        name: names joined by `` & ``, or a list of names and encoders
    """
    if isinstance(name, (str, Path)):
        is_one = JOIN not in str(name) or Path(name).expanduser().exists()
        return [name] if is_one else [part.strip() for part in str(name).split(JOIN)]
    return [name] if isinstance(name, Encoder) else list(name)


def _load_ensemble(
    members: Sequence[Named], device: str | None, precision: Precision, view: View | None
) -> Ensemble:
    """Loads the members and joins them.

    Args:
        members: names or encoders
        device: see `alphaclip.load`
        precision: see `alphaclip.load`
        view: for every member, or their `MemberViews`; None leaves each its own default

    Raises:
        AlphaClipError: a view each was given for another number of members
    """
    views = view.members if isinstance(view, MemberViews) else (view,) * len(members)
    if len(views) != len(members):
        raise AlphaClipError(
            f"an ensemble of {len(members)} was given {len(views)} views: expected one for each"
        )
    pairs = zip(members, views, strict=True)
    return Ensemble([load(member, device, precision, shown) for member, shown in pairs])


def _with_precision(
    model: AlphaCLIP, name: str, view: View, device: torch.device, way: Way | None, precision: str
) -> Encoder:
    import torch

    from alphaclip.encoder.cpu_precision import choose
    from alphaclip.network.precisions import gpu_dtype, set_precision

    if precision == "auto" and device.type == "cuda":
        return Encoder(model, name, view, device, gpu_dtype(), way)
    if precision == "auto":
        exact = Encoder(model, name, view, device, torch.float32, way)
        precision = choose(exact, model) if device.type == "cpu" else "fp32"
    dtype, _ = set_precision(model, precision, device)
    return Encoder(model, name, view, device, dtype, way)


def _build(spec: ModelSpec) -> tuple[AlphaCLIP, Way | None]:
    """The model, and how its regions are encoded; None is the model's own way."""
    from alphaclip.encoder.pooling import Pooled
    from alphaclip.network.model import create_model

    pooling = pooling_of(spec.methods)
    if pooling == PROMPTED:
        from alphaclip.encoder.mask_prompts import MaskPrompted, create_prompted

        model = create_prompted(Path(spec.architecture))
        return model, MaskPrompted(model)
    model = create_model(spec.architecture, spec.checkpoint_path, spec.pretrained)
    return model, Pooled(model, pooling) if pooling else None


def find_device(device: str | None) -> torch.device:
    import torch

    try:
        place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    except RuntimeError as error:
        raise AlphaClipError(f"device is {device!r}: expected 'cpu', 'cuda' or 'cuda:N'") from error
    usable = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if place.type == "cuda" and (place.index or 0) >= usable:
        found = (
            f"only {usable} CUDA device(s) can be used" if usable else "no CUDA device is usable"
        )
        raise AlphaClipError(
            f"device is {device!r}, but {found} here: take device='cpu', or see what "
            "`alphaclip doctor` says of the GPU"
        )
    return place


def _check_precision(precision: str) -> None:
    known = get_args(Precision)
    if precision not in known:
        raise AlphaClipError(f"precision is {precision!r}: expected {', '.join(known)}")

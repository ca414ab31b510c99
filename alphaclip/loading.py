"""From a model's name to an encoder that is ready to use."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from alphaclip import zoo
from alphaclip.encoder import Encoder
from alphaclip.errors import AlphaClipError
from alphaclip.methods import PROMPTED, lay_over, pooling_of
from alphaclip.model_files import ModelSpec
from alphaclip.views import View

if TYPE_CHECKING:
    import torch

    from alphaclip.model import AlphaCLIP
    from alphaclip.pooling import Way

logger = logging.getLogger(__name__)

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
            methods behind it, ``BASE+METHOD``, see `alphaclip.methods`; several joined by
            `` & ``, or a list, are an ensemble, see `alphaclip.ensembles`
        device (None): a torch device; None takes a GPU if there is one
        precision: ``auto`` is bf16 or fp16 on a GPU, uncompiled; on the CPU it is whatever is
            fastest with cosines of at least 0.999 to fp32, measured once for each model and
            machine, see `alphaclip.cpu_precision`. ``int8`` is for the CPU and its image
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
    from alphaclip.ensembles import load_ensemble, members_of

    members = members_of(name)
    if len(members) != 1:
        return load_ensemble(members, device, precision, view)
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


def _with_precision(
    model: AlphaCLIP, name: str, view: View, device: torch.device, way: Way | None, precision: str
) -> Encoder:
    import torch

    from alphaclip.cpu_precision import choose
    from alphaclip.precisions import gpu_dtype, set_precision

    if precision == "auto" and device.type == "cuda":
        return Encoder(model, name, view, device, gpu_dtype(), way)
    if precision == "auto":
        exact = Encoder(model, name, view, device, torch.float32, way)
        precision = choose(exact, model) if device.type == "cpu" else "fp32"
    dtype, _ = set_precision(model, precision, device)
    return Encoder(model, name, view, device, dtype, way)


def _build(spec: ModelSpec) -> tuple[AlphaCLIP, Way | None]:
    """The model, and how its regions are encoded; None is the model's own way."""
    from alphaclip.model import create_model
    from alphaclip.pooling import Pooled

    pooling = pooling_of(spec.methods)
    if pooling == PROMPTED:
        from alphaclip.mask_prompts import MaskPrompted, create_prompted

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

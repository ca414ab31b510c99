"""From a model's name, or from what a store says of its encoder, to an encoder ready to use."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from alphaclip.arguments import checked, listed
from alphaclip.catalog import zoo
from alphaclip.catalog.methods import JOIN, PROMPTED, lay_over, pooling_of
from alphaclip.devices import find_device
from alphaclip.encoder.encoder import Encoder
from alphaclip.encoder.ensembles import Ensemble, MemberViews, read_view
from alphaclip.errors import AlphaClipError, brief
from alphaclip.views.view import View

if TYPE_CHECKING:
    import torch

    from alphaclip.encoder.pooling import Way
    from alphaclip.network.model import AlphaCLIP

logger = logging.getLogger(__name__)

_LOADING = Lock()

T = TypeVar("T")
Named = str | Path | Encoder
Precision = Literal["auto", "fp32", "bf16", "fp16", "int8", "compile"]


@checked(precision=Precision)
def load(
    name: str | Path | Encoder | Sequence[str | Path | Encoder] = "auto",
    device: str | torch.device | None = None,
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
            fastest with cosines of at least 0.999 to fp32, measured within 10 seconds, once for
            each model and machine, see `alphaclip.network.precisions`. ``int8`` is for the CPU
            and its image encoders, text stays fp32. ``compile`` is `torch.compile`, fp32 on the
            CPU, bf16 or fp16 on a GPU; the first batch takes up to minutes.
        view (None): what is shown of a region; None takes the model's default. What a method
            sets is laid over it.

    Raises:
        ModelNotFoundError: if no model has this name
        MissingWeightsError: if its weights are not here; says how to get them
        CheckpointError: if they cannot be read
        AlphaClipError: if the device cannot be used, or the precision is unknown or
            cannot be had here
    """
    from alphaclip.network.precisions import fastest_on_cpu, gpu_precision, set_precision

    members = members_of(name)
    if len(members) != 1:
        views = view.members if isinstance(view, MemberViews) else (view,) * len(members)
        if len(views) != len(members):
            raise AlphaClipError(
                f"an ensemble of {len(members)} was given {len(views)} views: expected one for each"
            )
        pairs = zip(members, views, strict=True)
        return Ensemble([load(member, device, precision, its_view) for member, its_view in pairs])
    (name,) = members
    if isinstance(name, Encoder):
        return name
    if not isinstance(name, (str, Path)):
        raise AlphaClipError(f"encoder is {name!r:.80}: expected a name, a path or an Encoder")
    chosen_device = find_device(device)
    spec = zoo.resolve(str(name))
    if spec.warning and name != "auto":
        logger.warning("%s", spec.warning)
    its_view = lay_over(view, spec.methods) if view else spec.default_view
    model, way = _build(spec)

    def encoder_in(dtype: torch.dtype) -> Encoder:
        return Encoder(model, spec.name, its_view, chosen_device, dtype, way)

    chosen: str = precision
    if precision == "auto":
        chosen = gpu_precision() if chosen_device.type == "cuda" else "fp32"
        if chosen_device.type == "cpu":
            chosen = fastest_on_cpu(
                model, spec.name, lambda dtype, *views: encoder_in(dtype).encode_views(*views)
            )
    return encoder_in(set_precision(model, chosen, chosen_device)[0])


def encoder_settings(encoder: Encoder) -> dict[str, Any]:
    """What a store keeps of an encoder: its name, fingerprint and view."""
    return {
        "encoder": encoder.name,
        "fingerprint": encoder.fingerprint,
        "view": encoder.view.to_dict(),
    }


def encoder_of(info: Mapping[str, Any], given: Encoder | None = None) -> Encoder:
    """The encoder that a store's vectors are of.

    Args:
        info: of the store
        given (None): checked in place of the one of that name

    Raises:
        AlphaClipError: if the vectors are from elsewhere, or the model of that name has other
            weights, or another view, now
    """
    if "fingerprint" not in info:
        raise AlphaClipError(
            "the vectors of this index are from elsewhere: search it by vector, or through "
            "FiftyOne's sort_by_similarity"
        )
    encoder = given
    if encoder is None:
        view = read_view(_said(info, "view", dict))
        encoder = _shared_encoder(_said(info, "encoder", str), view)
    if encoder.fingerprint != info["fingerprint"]:
        raise AlphaClipError(
            f"the index was built with {info.get('encoder')} ({info['fingerprint']:.8}), "
            f"{encoder.name} is now {encoder.fingerprint[:8]}: its vectors cannot be compared; "
            "build the index again with overwrite=True"
        )
    return encoder


def _said(info: Mapping[str, Any], name: str, kind: type[T]) -> T:
    value = info.get(name)
    if not isinstance(value, kind):
        raise AlphaClipError(f"{name} of the index is {brief(value)}: build it again")
    return value


def _shared_encoder(name: str, view: View) -> Encoder:
    """An encoder that all indexes built with it share in this process; it holds gigabytes, so who
    asks for it while another thread loads it waits for that one."""
    with _LOADING:
        return _loaded_once(name, view)


@lru_cache(maxsize=2)
def _loaded_once(name: str, view: View) -> Encoder:
    return load(name, view=view)


def members_of(name: Named | Sequence[Named]) -> list[Named]:
    """The members that a list, or names joined by `` & ``, stand for; one where it is none."""
    if isinstance(name, (str, Path)):
        is_one = JOIN not in str(name) or Path(name).expanduser().exists()
        return [name] if is_one else [part.strip() for part in str(name).split(JOIN)]
    several = None if isinstance(name, Encoder) else listed(name)
    return [name] if several is None else several  # type: ignore[list-item]


def _build(spec: zoo.ModelSpec) -> tuple[AlphaCLIP, Way | None]:
    """The model, and how its regions are encoded; None is the model's own way."""
    from alphaclip.encoder.pooling import Pooled
    from alphaclip.network.factory import create_model

    pooling = pooling_of(spec.methods)
    if pooling == PROMPTED:
        from alphaclip.encoder.mask_prompts import MaskPrompted, create_prompted

        model = create_prompted(Path(spec.architecture))
        return model, MaskPrompted(model)
    model = create_model(
        spec.architecture, spec.checkpoint_path, spec.pretrained, spec.changes_path
    )
    return model, Pooled(model, pooling) if pooling else None

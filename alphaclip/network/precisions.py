"""What an encoder computes in: PyTorch's own types, 8-bit integers, or compiled.

Which is the fastest on a CPU is measured, once for a model on a machine: candidates encode the
same few made-up views, and the fastest is taken whose vectors all have a cosine of at least
`LEAST_COSINE` to those of float32.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from alphaclip.errors import AlphaClipError
from alphaclip.files import parse_json, update_text

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from alphaclip.network.model import AlphaCLIP

logger = logging.getLogger(__name__)

LEAST_COSINE = 0.999
"""To float32's vector, for every view; fingerprints promise it, whatever the precision."""

LEAST_GAIN = 1.1
"""How many times as fast as float32 a candidate has to be; less is noise."""

SMALL = 10_000_000
"""Parameters of an image encoder below which float32 is taken unmeasured: measuring would take
longer than it could save."""

MEMORY = "cpu-precision.json"
"""The file in the models folder that remembers what was measured."""

_VIEWS = 4
"""As many as show a precision that is too coarse, and few enough to start within seconds."""

_ROUNDS, _BUDGET = 3, 4.0
"""The fastest of so many rounds counts; after so many seconds no further one is begun."""

Encode = Callable[["torch.dtype", "Tensor", "Tensor"], np.ndarray]
"""Encodes pictures and alpha maps in a type: (n, dim) of unit length."""


@dataclass(frozen=True)
class Measured:
    """What a candidate did: regions a second, and the least cosine to float32's vectors."""

    per_second: float
    cosine: float


Measure = Callable[[str], Measured]
"""Measures a precision; raises what it fails with."""


def set_precision(
    model: AlphaCLIP, precision: str, device: torch.device
) -> tuple[torch.dtype, Callable[[], None]]:
    """Gives a model the precision, in place.

    Args:
        model: on the CPU
        precision: ``fp32``, ``bf16``, ``fp16``, ``int8`` or ``compile``
        device: where the model will run

    Returns:
        what its matrix products are computed in, and a function that undoes it

    Raises:
        AlphaClipError: it cannot be had here; says what is missing
    """
    import torch

    if precision == "int8":
        from alphaclip.network.int8 import quantise

        if device.type != "cpu":
            raise AlphaClipError(
                f"precision is 'int8', which is for the CPU, but device is {str(device)!r}: "
                "take precision='auto'"
            )
        return torch.int8, quantise(model.clip.visual)
    if precision == "compile":
        check_compiler(device)
        return gpu_dtype() if device.type == "cuda" else torch.float32, _compile(model.clip.visual)
    dtypes = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    return dtypes[precision], lambda: None


def gpu_dtype() -> torch.dtype:
    """bf16 where the GPU has it, else fp16."""
    import torch

    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16


def check_compiler(device: torch.device) -> None:
    """Compiles one line with ``torch.compile``.

    Raises:
        AlphaClipError: it does not work here; names the compiler that is missing
    """
    import torch

    try:
        if device.type == "cpu":
            from torch._inductor.cpp_builder import get_cpp_compiler

            get_cpp_compiler()
        torch.compile(_one_line)(torch.ones(8, device=device))
    except Exception as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        needed = "Triton" if device.type == "cuda" else "a C++ compiler (g++; CXX names another)"
        raise AlphaClipError(
            f"precision is 'compile', but torch.compile does not work here ({reason}): it needs "
            f"{needed} and Python's header files; or take precision='auto'"
        ) from error


def _compile(visual: nn.Module) -> Callable[[], None]:
    """Compiles each block of a transformer, which every method runs; else the tower as a whole."""
    from torch import nn

    visual_any: Any = visual
    trunk: Any = getattr(visual_any, "trunk", visual_any)
    blocks = getattr(getattr(trunk, "transformer", trunk), "resblocks", None)
    blocks = getattr(trunk, "blocks", None) if blocks is None else blocks
    parts = list(blocks) if isinstance(blocks, (nn.ModuleList, nn.Sequential)) else [visual]
    for part in parts:
        part.compile()

    def undo() -> None:
        for part in parts:
            part._compiled_call_impl = None

    return undo


def _one_line(x: torch.Tensor) -> torch.Tensor:
    return (x + 1).relu()


def fastest_on_cpu(model: AlphaCLIP, name: str, encode: Encode) -> str:
    """The fastest precision on this CPU that is exact enough.

    Small models are not measured. What was measured is remembered in the models folder,
    for this model, PyTorch, CPU and number of threads; where that cannot be written, it is
    measured anew.

    Args:
        model: in float32, on the CPU; as it was when this returns
        name: of the encoder: how exact int8 is depends on the weights
        encode: runs the model

    Returns:
        a precision that `set_precision` takes
    """
    import torch

    from alphaclip.catalog.released import models_folder
    from alphaclip.network.int8 import cpu_capabilities

    if sum(p.numel() for p in model.clip.visual.parameters()) < SMALL:
        return "fp32"
    quick, slow = candidates()
    key = " | ".join([
        name, model.config.name, f"{model.image_size} px", f"torch {torch.__version__}",
        cpu_capabilities().get("cpu_name") or platform.processor(),
        torch.backends.cpu.get_cpu_capability(), f"{os.cpu_count()} cores",
        f"{torch.get_num_threads()} threads", ", ".join([*quick, *slow]),
    ])  # fmt: skip
    path = models_folder() / MEMORY
    entry = _read(path).get(key)
    remembered = entry.get("precision") if isinstance(entry, dict) else None
    if remembered in ("fp32", *quick, *slow):
        return str(remembered)
    measured = measure_all(quick, slow, _measure(model, encode))
    chosen = fastest(measured)
    best, gain = measured[chosen], measured[chosen].per_second / measured["fp32"].per_second
    logger.info(
        "%s on this CPU: precision %s, %.1f regions a second, %.2f times fp32's, cosine to it at "
        "least %.4f", name, chosen, best.per_second, gain, best.cosine,
    )  # fmt: skip
    figures = {precision: asdict(one) for precision, one in measured.items()}
    measurement = {key: {"precision": chosen, "measured": figures}}
    try:
        update_text(path, lambda text: json.dumps(_parsed(text) | measurement, indent=1))
    except AlphaClipError as error:
        logger.debug("the next start measures again: %s", error)
    return chosen


def candidates() -> tuple[list[str], list[str]]:
    """What may be faster than float32 here: what starts at once, and what has to be compiled.

    bf16 is one only where the CPU computes in it: elsewhere it is many times slower.
    """
    from alphaclip.network.int8 import cpu_capabilities

    cpu = cpu_capabilities()
    has_bf16 = any(cpu.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))
    return ["int8", *(["bf16"] if has_bf16 else [])], ["compile"]


def measure_all(quick: Sequence[str], slow: Sequence[str], measure: Measure) -> dict[str, Measured]:
    """Measures float32 first, then the candidates; one that fails is left out.

    The slow ones only if no quick one is taken, since every process would pay their start.
    """
    measured = {"fp32": measure("fp32")}
    for names in (quick, slow):
        if fastest(measured) != "fp32":
            break
        for name in names:
            try:
                measured[name] = measure(name)
            except Exception as error:
                logger.debug("precision %s cannot be used here: %s", name, error)
    return measured


def fastest(measured: Mapping[str, Measured]) -> str:
    """The fastest that is exact enough; ``fp32`` unless one is `LEAST_GAIN` times as fast."""
    least = LEAST_GAIN * measured["fp32"].per_second
    fit = {
        name: one.per_second
        for name, one in measured.items()
        if one.cosine >= LEAST_COSINE and one.per_second >= least
    }
    return max(fit, key=lambda name: fit[name], default="fp32")


def _read(path: Path) -> dict[str, Any]:
    try:
        return _parsed(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}


def _parsed(text: str | None) -> dict[str, Any]:
    try:
        content = parse_json(text or "", "the memory of precisions")
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _measure(model: AlphaCLIP, encode: Encode) -> Measure:
    import torch

    pixels, maps = _made_up_views(model.image_size)
    exact = encode(torch.float32, pixels, maps)

    def measure(precision: str) -> Measured:
        dtype, undo = set_precision(model, precision, torch.device("cpu"))
        try:
            vectors, first = _timed(encode, dtype, pixels, maps)
            # The first run compiles; of other precisions, one that took all the time says enough.
            rounds = [first] if first > _BUDGET and precision != "compile" else []
            while len(rounds) < _ROUNDS and sum(rounds) < _BUDGET:
                rounds.append(_timed(encode, dtype, pixels, maps)[1])
        finally:
            undo()
        return Measured(len(maps) / min(rounds), float((exact * vectors).sum(axis=1).min()))

    return measure


def _timed(
    encode: Encode, dtype: torch.dtype, pixels: Tensor, maps: Tensor
) -> tuple[np.ndarray, float]:
    started = time.perf_counter()
    return encode(dtype, pixels, maps), time.perf_counter() - started


def _made_up_views(size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures of soft blots with some noise, and a box in each: the same on every call."""
    import torch
    from torch.nn.functional import interpolate

    rng = np.random.default_rng(0)
    blots = torch.from_numpy(rng.uniform(0, 255, (_VIEWS, 3, 6, 6)))
    noise = torch.from_numpy(rng.normal(0, 12, (_VIEWS, 3, size, size)))
    pixels = (interpolate(blots, (size, size), mode="bicubic") + noise).clamp(0, 255)
    maps = torch.zeros(_VIEWS, 1, size, size, dtype=torch.uint8)
    for shape, (left, top) in zip(maps, rng.uniform(0, 0.5, (_VIEWS, 2)), strict=True):
        shape[:, int(top * size) : int((top + 0.5) * size), int(left * size) :] = 255
    return pixels.to(torch.uint8), maps

"""What an encoder computes in: PyTorch's own types, 8-bit integers, or compiled.

Which is the fastest on a CPU is measured, once for a model on a machine: float32 and the
candidates encode the same few made-up views in turn, and the fastest is taken whose vectors all
have a cosine of at least `LEAST_COSINE` to those of float32.
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
    from alphaclip.network.packed import Product

logger = logging.getLogger(__name__)

LEAST_COSINE = 0.999
"""To float32's vector, for every view; fingerprints promise it, whatever the precision."""

LEAST_GAIN = 1.1
"""How many times as fast a less exact candidate has to be; less is noise."""

SMALL = 10_000_000
"""Parameters of an image encoder below which float32 is taken unmeasured: measuring would take
longer than it could save."""

MEMORY = "cpu-precision.json"
"""The file in the models folder that remembers what was measured."""

_VIEWS = 6
"""Made-up views, one for each round; as many as show a precision that is too coarse."""

_BUDGET = 10.0
"""Seconds: nothing is begun that would not end within them."""

_HOPELESS = 3.0
"""A candidate that took so many times as long as float32 is not measured again."""

Encode = Callable[["torch.dtype", "Tensor", "Tensor"], np.ndarray]
"""Encodes pictures and alpha maps in a type: (n, dim) of unit length."""


@dataclass(frozen=True)
class Measured:
    """What a candidate did: regions a CPU second, and the least cosine to float32's vectors."""

    per_second: float
    cosine: float


def set_precision(
    model: AlphaCLIP, precision: str, device: torch.device
) -> tuple[torch.dtype, Callable[[], None]]:
    """Gives a model the precision, in place.

    Args:
        model: on the CPU
        precision: ``fp32``, ``bf16``, ``fp16``, ``int8`` or ``compile``
        device: where the model will run

    Returns:
        what its matrix products are computed in, and a function that undoes it, or, called again,
        does it again

    Raises:
        AlphaClipError: it cannot be had here; says what is missing
    """
    import torch
    from torch.nn.functional import linear

    from alphaclip.network.int8 import Int8Product, check_int8
    from alphaclip.network.packed import PackedProduct, can_pack, pack

    if precision == "compile":
        check_compiler(device)
        return gpu_dtype() if device.type == "cuda" else torch.float32, _compile(model.clip.visual)
    floats = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    dtype = floats.get(precision, torch.float32)
    is_packed = device.type == "cpu" and can_pack(dtype)
    if precision == "int8":
        check_int8(model.clip.visual, device)
    elif precision == "fp32" and not is_packed:
        return dtype, lambda: None

    def make(name: str) -> Product:
        if precision == "int8" and name.startswith("visual."):
            return Int8Product()
        return PackedProduct(dtype) if is_packed else linear

    return torch.int8 if precision == "int8" else dtype, pack(model.clip, make)


def gpu_precision() -> str:
    """The name of `gpu_dtype`."""
    import torch

    return "bf16" if gpu_dtype() == torch.bfloat16 else "fp16"


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

    Small models are not measured. What was measured is remembered in the models folder, for this
    model, PyTorch, CPU and number of threads, unless the machine was busy: then, or where that
    cannot be written, the next start measures anew.

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
    names = candidates()
    key = " | ".join([
        name, model.config.name, f"{model.image_size} px", f"torch {torch.__version__}",
        cpu_capabilities().get("cpu_name") or platform.processor(),
        torch.backends.cpu.get_cpu_capability(), f"{os.cpu_count()} cores",
        f"{torch.get_num_threads()} threads", ", ".join(names),
    ])  # fmt: skip
    path = models_folder() / MEMORY
    entry = _read(path).get(key)
    remembered = entry.get("precision") if isinstance(entry, dict) else None
    if remembered in names:
        return str(remembered)
    was_busy = is_busy()
    measured = measure(model, encode, names)
    chosen = fastest(measured)
    best, gain = measured[chosen], measured[chosen].per_second / measured["fp32"].per_second
    logger.info(
        "%s on this CPU: precision %s, %.1f regions a CPU second, %.2f times fp32's, cosine to it "
        "at least %.4f", name, chosen, best.per_second, gain, best.cosine,
    )  # fmt: skip
    if was_busy:
        logger.debug("this machine is busy: the next start measures again")
        return chosen
    figures = {precision: asdict(one) for precision, one in measured.items()}
    measurement = {key: {"precision": chosen, "measured": figures}}
    try:
        update_text(path, lambda text: json.dumps(_parsed(text) | measurement, indent=1))
    except AlphaClipError as error:
        logger.debug("the next start measures again: %s", error)
    return chosen


def is_busy() -> bool:
    """Whether more runs on this machine than it has cores; False where that cannot be told."""
    return hasattr(os, "getloadavg") and os.getloadavg()[0] > (os.cpu_count() or 1)


def candidates() -> list[str]:
    """What may be the fastest here, the most exact first.

    bf16 is one only where the CPU computes in it: elsewhere it is many times slower. What
    `torch.compile` could gain, it takes longer to begin with than may be measured.
    """
    from alphaclip.network.int8 import cpu_capabilities

    cpu = cpu_capabilities()
    has_bf16 = any(cpu.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))
    return ["fp32", *(["bf16"] if has_bf16 else []), "int8"]


def fastest(measured: Mapping[str, Measured]) -> str:
    """The fastest that is exact enough; each has to be `LEAST_GAIN` times as fast as those before
    it, which are more exact."""
    chosen = "fp32"
    for name, one in measured.items():
        is_faster = one.per_second >= LEAST_GAIN * measured[chosen].per_second
        if one.cosine >= LEAST_COSINE and is_faster:
            chosen = name
    return chosen


def measure(model: AlphaCLIP, encode: Encode, names: Sequence[str]) -> dict[str, Measured]:
    """Lets precisions encode a view each in turn, again and again.

    Time of the processor counts: another load on the machine changes it little, and what it
    changes, it changes for all. What fails, or is not reached in time, is left out.

    Args:
        model: in float32, on the CPU; as it was when this returns
        encode: runs the model
        names: ``fp32`` first
    """
    started = time.monotonic()
    pixels, maps = _made_up_views(model.image_size)
    running = {name: _Candidate(name) for name in names}
    exact = running["fp32"]
    for view in zip(pixels.split(1), maps.split(1), strict=True):
        for candidate in [one for one in running.values() if not one.is_hopeless(exact)]:
            # One that is worth having is expected to take half as long as float32.
            takes = candidate.lasted or exact.lasted / 2
            if time.monotonic() - started + takes > _BUDGET:
                return _figures(running)
            try:
                vectors = candidate.encode(model, encode, *view)
            except Exception as error:
                if candidate is exact:
                    raise
                logger.debug("precision %s cannot be used here: %s", candidate.precision, error)
                del running[candidate.precision]
                continue
            if candidate is exact:
                expected = vectors
            candidate.cosines.append(float((expected * vectors).sum()))
    return _figures(running)


class _Candidate:
    """A precision that is being measured: the CPU seconds and cosine to float32 of each view, and
    how long the last one lasted."""

    def __init__(self, precision: str) -> None:
        self.precision = precision
        self.seconds: list[float] = []
        self.cosines: list[float] = []
        self.lasted = 0.0
        self._set: tuple[torch.dtype, Callable[[], None]] | None = None

    def is_hopeless(self, exact: _Candidate) -> bool:
        """Whether it need not be measured again: too coarse, or far slower than ``exact``."""
        return bool(self.cosines) and (
            not self.cosines[-1] >= LEAST_COSINE or self.seconds[-1] > _HOPELESS * exact.seconds[-1]
        )

    def encode(self, model: AlphaCLIP, encode: Encode, pixels: Tensor, maps: Tensor) -> np.ndarray:
        """Gives the model the precision, for as long as it encodes."""
        import torch

        begun = time.monotonic()
        if self._set is None:
            dtype, swap = self._set = set_precision(model, self.precision, torch.device("cpu"))
        else:
            dtype, swap = self._set
            swap()
        try:
            started = time.process_time()
            vectors = encode(dtype, pixels, maps)
            self.seconds.append(time.process_time() - started)
        finally:
            swap()
        self.lasted = time.monotonic() - begun
        return vectors


def _figures(candidates: Mapping[str, _Candidate]) -> dict[str, Measured]:
    """The best time of each counts, but for the first, which packed the weights."""
    return {
        name: Measured(1 / min(one.seconds[1:] or one.seconds), float(np.min(one.cosines)))
        for name, one in candidates.items()
        if one.cosines
    }


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

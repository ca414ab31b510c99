"""Which precision is the fastest on this CPU.

Measured once for a model on a machine: candidates encode the same few made-up views, and the
fastest is taken whose vectors all have a cosine of at least `LEAST_COSINE` to those of float32.
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
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Any

import numpy as np

from alphaclip.network.precisions import set_precision

if TYPE_CHECKING:
    import torch

    from alphaclip.encoder.encoder import Encoder
    from alphaclip.network.model import AlphaCLIP

logger = logging.getLogger(__name__)

LEAST_COSINE = 0.999
"""To float32's vector, for every view; fingerprints promise it, whatever the precision."""

LEAST_GAIN = 1.1
"""How many times as fast as float32 a candidate has to be; less is noise."""

SMALL = 10_000_000
"""Parameters of an image encoder below which float32 is taken unmeasured."""

MEMORY = "cpu-precision.json"
"""The file in the models folder that remembers what was measured."""

_VIEWS = 4
_ROUNDS = 3
_BUDGET = 4.0
"""Seconds of a precision's rounds after which no further one is begun."""


@dataclass(frozen=True)
class Measured:
    """What a candidate did.

    Attributes:
        per_second: regions a second
        cosine: the least to float32's vectors
    """

    per_second: float
    cosine: float


Measure = Callable[[str], Measured]
"""Measures a precision; raises what it fails with."""


def choose(encoder: Encoder, model: AlphaCLIP) -> str:
    """The fastest precision on this CPU that is exact enough.

    Small models are not measured. What was measured is remembered in the models folder, for this
    model, PyTorch, CPU and number of threads; where that cannot be written, it is measured anew.

    Args:
        encoder: in float32, of the model
        model: its model; as it was when this returns

    Returns:
        a precision that `alphaclip.network.precisions.set_precision` takes
    """
    from alphaclip.catalog.zoo import models_folder

    if sum(p.numel() for p in model.clip.visual.parameters()) < SMALL:
        return "fp32"
    quick, slow = candidates()
    path, key = models_folder() / MEMORY, _key(encoder, model, [*quick, *slow])
    remembered = recall(path, key, ["fp32", *quick, *slow])
    if remembered is not None:
        return remembered
    found = measure_all(quick, slow, _measure(encoder, model))
    chosen = fastest(found)
    gain = found[chosen].per_second / found["fp32"].per_second
    logger.info(
        "%s on this CPU: precision %s, %.1f regions a second, %.2f times fp32's, cosine to it at "
        "least %.4f", encoder.name, chosen, found[chosen].per_second, gain, found[chosen].cosine,
    )  # fmt: skip
    remember(path, key, chosen, found)
    return chosen


def candidates() -> tuple[list[str], list[str]]:
    """What may be faster than float32 here: what starts at once, and what has to be compiled.

    bf16 is one only where the CPU computes in it: elsewhere it is many times slower.
    """
    from alphaclip.network.int8 import cpu_capabilities

    found = cpu_capabilities()
    has_bf16 = any(found.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))
    return ["int8", *(["bf16"] if has_bf16 else [])], ["compile"]


def measure_all(quick: Sequence[str], slow: Sequence[str], measure: Measure) -> dict[str, Measured]:
    """Measures float32 and the candidates; one that fails is left out.

    Args:
        quick: measured all
        slow: measured only if no quick one is taken, since every process would pay their start
        measure: measures one

    Returns:
        what was found, ``fp32`` first
    """
    found = {"fp32": measure("fp32")}
    for some in (quick, slow):
        if fastest(found) != "fp32":
            break
        for name in some:
            try:
                found[name] = measure(name)
            except Exception as error:
                logger.debug("precision %s cannot be used here: %s", name, error)
    return found


def fastest(found: Mapping[str, Measured]) -> str:
    """The fastest that is exact enough; ``fp32`` unless one is `LEAST_GAIN` times as fast.

    Args:
        found: by precision, ``fp32`` among them
    """
    needed = LEAST_GAIN * found["fp32"].per_second
    fit = {n: m for n, m in found.items() if m.cosine >= LEAST_COSINE and m.per_second >= needed}
    return max(fit, key=lambda name: fit[name].per_second, default="fp32")


def recall(path: Path, key: str, known: Sequence[str]) -> str | None:
    """The precision that was chosen before.

    Args:
        path: of the file
        key: of model and machine
        known: what may be answered

    Returns:
        None where nothing is remembered, or the file is missing or damaged
    """
    entry = _read(path).get(key)
    chosen = entry.get("precision") if isinstance(entry, dict) else None
    return chosen if chosen in known else None


def remember(path: Path, key: str, chosen: str, found: Mapping[str, Measured]) -> None:
    """Writes what was chosen; nothing happens where the folder cannot be written.

    Args:
        path: of the file, replaced as a whole
        key: of model and machine
        chosen: the precision
        found: what was measured, for people to read
    """
    measured = {name: asdict(one) for name, one in found.items()}
    content = _read(path) | {key: {"precision": chosen, "measured": measured}}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile("w", dir=path.parent, suffix=".part", delete=False) as file:
            json.dump(content, file, indent=1)
        Path(file.name).replace(path)
    except OSError as error:
        logger.debug("%s cannot be written, the next start measures again: %s", path, error)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _key(encoder: Encoder, model: AlphaCLIP, names: Sequence[str]) -> str:
    """With the encoder's name: how exact int8 is depends on the weights."""
    import torch

    from alphaclip.network.int8 import cpu_capabilities

    cpu = cpu_capabilities().get("cpu_name") or platform.processor()
    parts = (
        encoder.name, model.config.name, f"{model.image_size} px", f"torch {torch.__version__}",
        cpu, torch.backends.cpu.get_cpu_capability(), f"{os.cpu_count()} cores",
        f"{torch.get_num_threads()} threads", ", ".join(names),
    )  # fmt: skip
    return " | ".join(parts)


def _measure(encoder: Encoder, model: AlphaCLIP) -> Measure:
    pixels, maps = _made_up_views(model.image_size)
    exact = encoder.encode_views(pixels, maps)

    def measure(precision: str) -> Measured:
        dtype, undo = set_precision(model, precision, encoder.device)
        before, encoder.dtype = encoder.dtype, dtype
        try:
            vectors, first = _time(lambda: encoder.encode_views(pixels, maps))
            is_settled = first > _BUDGET and precision != "compile"
            seconds = first if is_settled else _least(lambda: encoder.encode_views(pixels, maps))
        finally:
            encoder.dtype = before
            undo()
        return Measured(len(maps) / seconds, float((exact * vectors).sum(axis=1).min()))

    return measure


def _least(run: Callable[[], np.ndarray]) -> float:
    """The least seconds of a few rounds: what a busy machine adds is left out."""
    seconds: list[float] = []
    while len(seconds) < _ROUNDS and sum(seconds) < _BUDGET:
        seconds.append(_time(run)[1])
    return min(seconds)


def _time(run: Callable[[], np.ndarray]) -> tuple[np.ndarray, float]:
    """What a function returns, and its seconds."""
    started = time.perf_counter()
    return run(), time.perf_counter() - started


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

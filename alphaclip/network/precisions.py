"""What an encoder computes in: PyTorch's own types, 8-bit integers, or compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from alphaclip.errors import AlphaClipError

if TYPE_CHECKING:
    import torch
    from torch import nn

    from alphaclip.network.model import AlphaCLIP


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
    known = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    return known[precision], lambda: None


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

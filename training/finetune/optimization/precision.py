"""What a step computes in: float32 weights, and matrix products in a shorter type where asked."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from alphaclip.network.precisions import gpu_dtype
from alphaclip.training.finetune.config import FinetuneError

_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def find_dtype(precision: str, device: torch.device) -> torch.dtype:
    """The type of matrix products.

    Args:
        precision: ``auto``, ``fp32``, ``bf16`` or ``fp16``
        device: where the model is

    Raises:
        FinetuneError: the device cannot train in it
    """
    is_gpu = device.type == "cuda"
    if precision == "auto":
        return gpu_dtype() if is_gpu else torch.float32
    if precision == "fp16" and not is_gpu:
        raise FinetuneError(
            f"precision is 'fp16', which is trained on GPUs only, and the device is {device}: "
            "take 'auto', or 'bf16'"
        )
    if precision == "bf16" and is_gpu and gpu_dtype() is not torch.bfloat16:
        raise FinetuneError("precision is 'bf16', which this GPU does not have: take 'fp16'")
    return _TYPES[precision]


def mixed_precision(device: torch.device, dtype: torch.dtype) -> torch.autocast:
    """A context with matrix products in a type; the weights stay float32."""
    is_half = dtype is not torch.float32
    return torch.autocast(device.type, dtype if is_half else None, enabled=is_half)


def fast_attention(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[None]:
    """A context for forward and backward pass, since activation checkpointing mixes the two.

    On CPUs the plain attention is faster in bf16 than the fused one, and slower in fp32.
    """
    is_plain = device.type == "cpu" and dtype is not torch.float32
    return sdpa_kernel(SDPBackend.MATH) if is_plain else nullcontext()

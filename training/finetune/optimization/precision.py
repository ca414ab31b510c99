"""What a step computes in: float32 weights, and matrix products in a shorter type where asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import linear

from alphaclip.network.packed import pack
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


@contextmanager
def fast_attention(device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """A context for forward and backward pass, since activation checkpointing mixes the two.

    On CPUs the plain attention is faster in bf16 than the fused one, and slower in fp32; but only
    if PyTorch is told not to compute it in fp32.
    """
    if not _is_mixed_on_cpu(device, dtype):
        yield
        return
    before = torch.backends.cuda.fp16_bf16_reduction_math_sdp_allowed()
    torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(True)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(before)


def give_fast_projections(model: nn.Module, device: torch.device, dtype: torch.dtype) -> None:
    """Replaces attentions that PyTorch computes slowly in this type here, see `PackedAttention`;
    they have the same weights by the same names."""
    if _is_mixed_on_cpu(device, dtype):
        pack(model, lambda name: linear)


def _is_mixed_on_cpu(device: torch.device, dtype: torch.dtype) -> bool:
    return device.type == "cpu" and dtype is not torch.float32

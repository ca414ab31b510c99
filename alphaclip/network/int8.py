"""Matrix products on the CPU of 8-bit integers: weights once, activations as they come.

Every row of activations has a scale of its own, so a region's vector does not depend on what else
is in its batch.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from alphaclip.errors import AlphaClipError
from alphaclip.network.packed import LEAST_WIDTH, PackedProduct, is_wide


class Int8Product(PackedProduct):
    """x W^T + b in float32, with each row of W and of x in 8-bit integers.

    oneDNN's kernel takes unsigned activations; their zero lies in the middle of the range. A CPU
    without VNNI adds pairs of products in 16 bits, so activations have 7 bits there.
    """

    def pack(self, weight: Tensor) -> Any:
        weight = weight.float()
        scales = weight.abs().amax(dim=1).clamp(min=1e-12) / 127
        rounded = (weight / scales[:, None]).round().to(torch.int8)
        zeros = torch.zeros(len(weight), dtype=torch.int64)
        return torch.ops.onednn.qlinear_prepack(rounded, None), scales, zeros

    def multiply(self, x: Tensor, packed: Any, bias: Tensor | None) -> Tensor:
        levels = 127 if has_vnni() else 63
        rows = x.float().flatten(0, -2)
        scales = rows.abs().amax(dim=1, keepdim=True).clamp(min=1e-12) / levels
        rounded = (rows / scales).round_().add_(levels + 1).to(torch.uint8)
        product: Tensor = torch.ops.onednn.qlinear_pointwise(
            rounded, 1.0, levels + 1, *packed,
            None, 1.0, 0, torch.float32, "none", [], "",
        )  # fmt: skip
        product = product.mul_(scales)
        product = product if bias is None else product.add_(bias)
        return product.unflatten(0, x.shape[:-1])


def check_int8(visual: nn.Module, device: torch.device) -> None:
    """Raises AlphaClipError if 8-bit integers cannot be multiplied here, or not in this tower."""
    if device.type != "cpu":
        raise AlphaClipError(
            f"precision is 'int8', which is for the CPU, but device is {str(device)!r}: "
            "take precision='auto'"
        )
    weight = torch.ones(LEAST_WIDTH, LEAST_WIDTH)
    try:
        Int8Product()(weight, weight, None)
    except (RuntimeError, AttributeError, NotImplementedError, TypeError) as error:
        raise AlphaClipError(
            f"precision is 'int8', but PyTorch {torch.__version__} cannot multiply 8-bit integers "
            f"on this CPU ({error}): take precision='fp32'"
        ) from error
    if not any(map(is_wide, visual.modules())):
        raise AlphaClipError(
            f"precision is 'int8', but no layer of this image encoder ({type(visual).__name__}) "
            f"is a matrix product at least {LEAST_WIDTH} wide: take precision='fp32'"
        )


@cache
def cpu_capabilities() -> dict[str, Any]:
    """What PyTorch knows of the CPU, by name; nothing where it is too old to say."""
    return dict(torch.cpu.get_capabilities()) if hasattr(torch.cpu, "get_capabilities") else {}


def has_vnni() -> bool:
    """Whether the CPU adds products of 8-bit integers in 32 bits."""
    cpu = cpu_capabilities()
    return any(cpu.get(name) for name in ("avx512_vnni", "avx_vnni", "amx_int8"))

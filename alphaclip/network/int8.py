"""Visual towers on the CPU with 8-bit matrix products: weights once, activations as they come.

Every row of activations has a scale of its own, so a region's vector does not depend on what else
is in its batch. The weights in float32 stay where they were, under their names: the state dict,
and with it the fingerprint, is that of the exact model.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from alphaclip.errors import AlphaClipError

LEAST_WIDTH = 64
"""Products with fewer inputs or outputs stay in float32: there is nothing to gain."""


class Int8Linear(nn.Linear):
    """A linear layer whose product is made of 8-bit integers; it takes over weight and bias."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__(linear.in_features, linear.out_features, bias=False, device="meta")
        self.weight, self.bias = linear.weight, linear.bias
        self._product = Int8Product(linear.weight, linear.bias)
        self.train(linear.training)

    def forward(self, input: Tensor) -> Tensor:
        """As ``nn.Linear``: float (..., in) to float32 (..., out)."""
        return self._product(input)


class Int8Attention(nn.MultiheadAttention):
    """PyTorch's attention, its projections made of 8-bit integers; the attention itself is exact.

    PyTorch keeps the input projections as one bare parameter, which no replacing of linear layers
    reaches. It takes over those of an attention that `_is_plain_attention`.
    """

    def __init__(self, attention: nn.MultiheadAttention) -> None:
        width, heads = attention.embed_dim, attention.num_heads
        super().__init__(width, heads, batch_first=True, device="meta")
        self.in_proj_weight, self.in_proj_bias = attention.in_proj_weight, attention.in_proj_bias
        self.out_proj = attention.out_proj
        weight, bias = attention.in_proj_weight, attention.in_proj_bias
        self._query = Int8Product(weight[:width], bias[:width])
        self._key_value = Int8Product(weight[width:], bias[width:])
        self._out = Int8Product(self.out_proj.weight, self.out_proj.bias)
        self.train(attention.training)

    def forward(  # type: ignore[override]
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        **options: Any,
    ) -> tuple[Tensor, Tensor | None]:
        """As PyTorch's; what open_clip does not ask of it is computed by PyTorch, exactly."""
        is_additive = attn_mask is None or (attn_mask.ndim == 2 and attn_mask.dtype != torch.bool)
        if need_weights or options or key is not value or query.ndim != 3 or not is_additive:
            return super().forward(
                query, key, value, need_weights=need_weights, attn_mask=attn_mask, **options
            )
        queries = self._split(self._query(query))
        keys, values = map(self._split, self._key_value(key).chunk(2, dim=-1))
        gathered = scaled_dot_product_attention(queries, keys, values, attn_mask=attn_mask)
        return self._out(gathered.transpose(1, 2).flatten(2)), None

    def _split(self, tokens: Tensor) -> Tensor:
        return tokens.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)


class Int8Product:
    """x W^T + b, with each row of W and of x in 8-bit integers.

    oneDNN's kernel takes unsigned activations; their zero lies in the middle of the range. A CPU
    without VNNI adds pairs of products in 16 bits, so activations have 7 bits there.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        weight = weight.detach().float()
        self._bias = None if bias is None else bias.detach().float()
        self._levels = 127 if has_vnni() else 63
        self._scales = weight.abs().amax(dim=1).clamp(min=1e-12) / 127
        self._zeros = torch.zeros(len(weight), dtype=torch.int64)
        rounded = (weight / self._scales[:, None]).round().to(torch.int8)
        self._packed = torch.ops.onednn.qlinear_prepack(rounded, None)

    def __call__(self, x: Tensor) -> Tensor:
        """Float (..., in) to float32 (..., out)."""
        rows = x.float().flatten(0, -2)
        levels, zero = self._levels, self._levels + 1
        scales = rows.abs().amax(dim=1, keepdim=True).clamp(min=1e-12) / levels
        rounded = (rows / scales).round_().add_(zero).to(torch.uint8)
        product = torch.ops.onednn.qlinear_pointwise(
            rounded, 1.0, zero, self._packed, self._scales, self._zeros,
            None, 1.0, 0, torch.float32, "none", [], "",
        )  # fmt: skip
        product = product.mul_(scales)
        product = product if self._bias is None else product.add_(self._bias)
        return product.unflatten(0, x.shape[:-1])


def quantise(visual: nn.Module) -> Callable[[], None]:
    """Gives a visual tower 8-bit matrix products, in place.

    Args:
        visual: ``model.visual`` of an open_clip model, on the CPU

    Returns:
        a function that gives it back its own layers

    Raises:
        AlphaClipError: this PyTorch or CPU has no such products, or the tower no layer for them
    """
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(LEAST_WIDTH, LEAST_WIDTH, generator=generator)
    try:
        Int8Product(weight, None)(weight)
        new: dict[str, nn.Module] = {}
        for name, module in visual.named_modules():
            if _is_plain_attention(module) and module.embed_dim >= LEAST_WIDTH:
                new[name] = Int8Attention(module)
            elif type(module) is nn.Linear and min(module.weight.shape) >= LEAST_WIDTH:
                new[name] = Int8Linear(module)
    except (RuntimeError, AttributeError, NotImplementedError, TypeError) as error:
        raise AlphaClipError(
            f"precision is 'int8', but PyTorch {torch.__version__} cannot multiply 8-bit integers "
            f"on this CPU ({error}): take precision='fp32'"
        ) from error
    if not new:
        raise AlphaClipError(
            f"precision is 'int8', but no layer of this image encoder ({type(visual).__name__}) "
            f"is a matrix product at least {LEAST_WIDTH} wide: take precision='fp32'"
        )
    old = {name: visual.get_submodule(name) for name in new}

    def put(modules: dict[str, nn.Module]) -> None:
        for name, module in modules.items():
            visual.set_submodule(name, module)

    put(new)
    return lambda: put(old)


def cpu_capabilities() -> dict[str, Any]:
    """What PyTorch knows of the CPU, by name; nothing where it is too old to say."""
    return dict(torch.cpu.get_capabilities()) if hasattr(torch.cpu, "get_capabilities") else {}


def has_vnni() -> bool:
    """Whether the CPU adds products of 8-bit integers in 32 bits."""
    cpu = cpu_capabilities()
    return any(cpu.get(name) for name in ("avx512_vnni", "avx_vnni", "amx_int8"))


def _is_plain_attention(module: Any) -> bool:
    """Whether it is what `Int8Attention` stands in for: one width, biases, batch first."""
    return (
        type(module) is nn.MultiheadAttention
        and module.batch_first
        and module._qkv_same_embed_dim
        and module.in_proj_bias is not None
        and module.bias_k is None
        and not module.add_zero_attn
    )

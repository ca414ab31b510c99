"""Towers whose matrix products are made for inference: weights laid out once for oneDNN's kernels.

What is replaced takes over the parameters of what was there, under their names: the state dict, and
with it the fingerprint, is that of the exact model.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

LEAST_WIDTH = 64
"""Products with fewer inputs or outputs are left alone: there is nothing to gain."""

Product = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""x W^T + b of x, W and b, as ``torch.nn.functional.linear``."""


class PackedProduct:
    """A product whose weight is packed when it is first needed, and anew when it has changed.

    Args:
        dtype: what it is computed in, and returned
    """

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        self.dtype = dtype
        self._packed: tuple[tuple[int, int], Any] | None = None

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Float (..., in) to (..., out)."""
        stamp, packed = (weight.data_ptr(), weight._version), self._packed
        if packed is None or packed[0] != stamp:
            packed = self._packed = stamp, self.pack(weight.detach())
        return self.multiply(x, packed[1], bias)

    def __getstate__(self) -> dict[str, Any]:
        """Neither copied nor pickled is what oneDNN has packed: PyTorch cannot."""
        return self.__dict__ | {"_packed": None}

    def pack(self, weight: Tensor) -> Any:
        """A weight as `multiply` takes it."""
        return torch.ops.mkldnn._reorder_linear_weight(weight.to(self.dtype).contiguous(), None)

    def multiply(self, x: Tensor, packed: Any, bias: Tensor | None) -> Tensor:
        """The product with what `pack` made."""
        x = x.to(self.dtype)
        product: Tensor = torch.ops.mkldnn._linear_pointwise(x, packed, bias, "none", [], "")
        return product


class PackedLinear(nn.Linear):
    """A linear layer that computes with a product; it takes over weight and bias."""

    def __init__(self, linear: nn.Linear, product: Product) -> None:
        super().__init__(linear.in_features, linear.out_features, bias=False, device="meta")
        self.weight, self.bias = linear.weight, linear.bias
        self._product = product
        self.train(linear.training)

    def forward(self, input: Tensor) -> Tensor:
        return self._product(input, self.weight, self.bias)


class PackedAttention(nn.MultiheadAttention):
    """PyTorch's attention, its projections computed with products.

    Under autocast PyTorch's own leaves its fast path: it multiplies a transposed batch, one token
    of all pictures at a time, and on a CPU copies the weights for each.

    It takes over the parameters of an attention that `is_wide`. PyTorch keeps the input
    projections as one bare parameter, which no replacing of linear layers reaches.
    """

    def __init__(self, attention: nn.MultiheadAttention, make: Callable[[], Product]) -> None:
        width, heads = attention.embed_dim, attention.num_heads
        super().__init__(width, heads, batch_first=True, device="meta")
        self.in_proj_weight, self.in_proj_bias = attention.in_proj_weight, attention.in_proj_bias
        self.out_proj = attention.out_proj
        self._all, self._query, self._key_value, self._out = (make() for _ in range(4))
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
        """As PyTorch's; what open_clip does not ask of it is computed by PyTorch."""
        is_additive = attn_mask is None or attn_mask.dtype != torch.bool
        if need_weights or options or key is not value or query.ndim != 3 or not is_additive:
            return super().forward(
                query, key, value, need_weights=need_weights, attn_mask=attn_mask, **options
            )
        weight, bias, width = self.in_proj_weight, self.in_proj_bias, self.embed_dim
        if query is key:
            queries, keys, values = self._all(query, weight, bias).chunk(3, dim=-1)
        else:
            queries = self._query(query, weight[:width], bias[:width])
            keys, values = self._key_value(key, weight[width:], bias[width:]).chunk(2, dim=-1)
        queries, keys, values = map(self._split, (queries, keys, values))
        mask = None if attn_mask is None else attn_mask.to(queries.dtype)
        if mask is not None and mask.ndim == 3:  # One for each head of each picture.
            mask = mask.unflatten(0, (-1, self.num_heads))
        gathered = scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
        merged = gathered.transpose(1, 2).flatten(2)
        return self._out(merged, self.out_proj.weight, self.out_proj.bias), None

    def _split(self, tokens: Tensor) -> Tensor:
        return tokens.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)


def pack(tower: nn.Module, make: Callable[[str], Product]) -> Callable[[], None]:
    """Gives a tower products of its own, in place.

    Args:
        tower: an open_clip model, or a part of one
        make: a product for a weight of the layer of this name

    Returns:
        a function that gives it back its own layers, or, called again, these
    """
    other: dict[str, nn.Module] = {}
    for name, module in tower.named_modules():
        if is_wide(module) and isinstance(module, nn.Linear):
            other[name] = PackedLinear(module, make(name))
        elif is_wide(module) and isinstance(module, nn.MultiheadAttention):
            other[name] = PackedAttention(module, partial(make, name))

    def swap() -> None:
        for name, module in other.items():
            other[name] = tower.get_submodule(name)
            tower.set_submodule(name, module)

    swap()
    return swap


def can_pack(dtype: torch.dtype) -> bool:
    """Whether oneDNN has kernels for packed weights of this type here, as was tried on x86 only."""
    is_x86 = platform.machine().lower() in ("x86_64", "amd64")
    if not is_x86 or not torch.backends.mkldnn.is_available():
        return False
    has_bf16: Callable[[], bool] = torch.ops.mkldnn._is_mkldnn_bf16_supported
    return dtype == torch.float32 or (dtype == torch.bfloat16 and has_bf16())


def is_wide(module: Any) -> bool:
    """Whether it is a layer that `pack` replaces, and not too small to gain.

    Of attentions these are the plain ones: one width, biases, batch first.
    """
    if type(module) is not nn.MultiheadAttention:
        return type(module) is nn.Linear and min(module.weight.shape) >= LEAST_WIDTH
    return (
        module.batch_first
        and module._qkv_same_embed_dim
        and module.in_proj_bias is not None
        and module.bias_k is None
        and not module.add_zero_attn
        and module.embed_dim >= LEAST_WIDTH
    )

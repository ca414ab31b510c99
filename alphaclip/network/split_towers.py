"""How a vision transformer makes one vector of a picture's tokens, so that a region can choose.

A tower is split where its class token, or the query of its attention pool, gathers the picture
for the last time. What comes before is run once for a picture; what comes after, for each region,
with only the region's patches to gather from.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from open_clip.timm_model import TimmModel
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from alphaclip.errors import AlphaClipError
from alphaclip.weights.dual_encoders import Pictures

WORKS_WITH = (
    "vision transformers with a class token (OpenAI's, LAION's, DataComp's and DFN's ViT, EVA02, "
    "MetaCLIP 2, TIPSv2) or an attention pool (SigLIP, PE)"
)

_AT_ONCE = 32
"""Regions that are given a whole last block at a time, so that memory stays bounded."""


class Tower(Protocol):
    """A vision transformer in two parts; L tokens of width W, the first `prefix` of them no patch.

    Attributes:
        grid: patches in a column and in a row
        prefix: how many tokens stand before the patches
    """

    grid: tuple[int, int]
    prefix: int

    def trunk(self, pictures: Tensor) -> Tensor:
        """What is run once for a picture: (P, 4, R, R), see `join_alpha`, to (P, L, W) tokens."""

    def whole(self, tokens: Tensor) -> Tensor:
        """The tower's own output: (P, L, W) tokens to (P, dim)."""

    def attend(self, tokens: Tensor, allowed: Tensor) -> Tensor:
        """The output where each of M regions may gather from some of one picture's tokens only:
        (L, W) tokens and bool (M, L) to (M, dim)."""

    def patches(self, tokens: Tensor) -> Tensor:
        """The output where each patch has gathered from itself alone: (L, W) to (patches, dim).

        That is MaskCLIP's way to dense features (Zhou et al. 2022, arXiv 2112.01071): the last
        attention gives a patch its own value; residual and feed-forward layer stay as they are.
        """


def find_tower(visual: nn.Module, name: str) -> Tower:
    """Splits a visual tower.

    Args:
        visual: ``model.visual`` of an open_clip model
        name: of the model, for messages

    Raises:
        AlphaClipError: it is no vision transformer of a kind that can be split; says which can
    """
    if isinstance(visual, VisionTransformer) and _is_plain(visual):
        return ClassToken(visual)
    if isinstance(visual, TimmModel) and _has_tokens(visual.trunk):
        if visual.trunk.attn_pool is not None:
            return AttentionPool(visual)
        if visual.trunk.global_pool == "token":
            return TimmClassToken(visual)
    if isinstance(visual, Pictures):
        return HubAttentionPool(visual) if hasattr(visual.tower, "head") else HubClassToken(visual)
    kind = type(visual.trunk if isinstance(visual, TimmModel) else visual).__name__
    raise AlphaClipError(
        f"{name}: its image encoder ({kind}) has no last attention that regions could be taken "
        f"from. That works with {WORKS_WITH}; for other models take +crop or +near"
    )


class ClassToken:
    """A tower of open_clip's own whose class token gathers the picture."""

    prefix = 1

    def __init__(self, visual: VisionTransformer) -> None:
        self._visual = visual
        self._last = visual.transformer.resblocks[-1]
        self.grid = visual.grid_size

    def trunk(self, pictures: Tensor) -> Tensor:
        tokens: Tensor = self._visual._embeds(pictures)
        for block in self._visual.transformer.resblocks[:-1]:
            tokens = block(tokens)
        return tokens

    def whole(self, tokens: Tensor) -> Tensor:
        return self._read(self._last(tokens))

    def attend(self, tokens: Tensor, allowed: Tensor) -> Tensor:
        """Only the class token's row of the last block is computed, for all regions at once."""
        block, keys = self._last, self._last.ln_1(tokens[None])
        queries = keys[:, :1].expand(1, len(allowed), -1)
        gathered = block.attention(queries, keys, keys, attn_mask=_bias(allowed, tokens.dtype))
        out = tokens[:1] + block.ls_1(gathered)
        out = out + block.ls_2(block.mlp(block.ln_2(out)))
        return self._read(out[0][:, None])

    def patches(self, tokens: Tensor) -> Tensor:
        out = self._last(tokens[None], attn_mask=_bias(_alone(tokens), tokens.dtype))
        return self._read(out[0][self.prefix :, None])

    def _read(self, tokens: Tensor) -> Tensor:
        """Takes the first of each row as the class token: (N, L, W) to (N, dim)."""
        pooled: Tensor = self._visual._pool(tokens)[0]
        return pooled if self._visual.proj is None else pooled @ self._visual.proj


class TimmClassToken:
    """A tower of timm's whose class token gathers the picture; the last block is run for each."""

    def __init__(self, visual: TimmModel) -> None:
        self._head = visual.head
        self._trunk: Any = visual.trunk
        self._rope: dict[str, Tensor] = {}
        self.grid = self._trunk.patch_embed.grid_size
        self.prefix = self._trunk.num_prefix_tokens

    def trunk(self, pictures: Tensor) -> Tensor:
        placed = self._trunk._pos_embed(self._trunk.patch_embed(pictures))
        if isinstance(placed, tuple):
            placed, rope = placed
            self._rope = {} if rope is None else {"rope": rope}
        tokens: Tensor = self._trunk.norm_pre(placed)
        for block in self._trunk.blocks[:-1]:
            tokens = block(tokens, **self._rope)
        return tokens

    def whole(self, tokens: Tensor) -> Tensor:
        return self._read(self._trunk.blocks[-1](tokens, **self._rope)[:, 0])

    def attend(self, tokens: Tensor, allowed: Tensor) -> Tensor:
        outs = []
        for some in allowed.split(_AT_ONCE):
            mask = torch.ones(len(some), 1, len(tokens), len(tokens), device=tokens.device).bool()
            mask[:, 0, 0] = some
            outs.append(self._read(self._last(tokens.expand(len(some), -1, -1), mask)[:, 0]))
        return torch.cat(outs)

    def patches(self, tokens: Tensor) -> Tensor:
        out = self._last(tokens[None], _alone(tokens)[None, None])
        return self._read(out[0, self.prefix :])

    def _last(self, tokens: Tensor, allowed: Tensor) -> Tensor:
        mask = _bias(allowed, tokens.dtype)
        out: Tensor = self._trunk.blocks[-1](tokens, attn_mask=mask, **self._rope)
        return out

    def _read(self, tokens: Tensor) -> Tensor:
        return _timm_head(self._trunk, self._head, self._trunk.norm(tokens))


class AttentionPool:
    """A tower of timm's whose attention pool gathers the picture, such as SigLIP's and PE's."""

    def __init__(self, visual: TimmModel) -> None:
        self._head = visual.head
        self._trunk: Any = visual.trunk
        # timm's plain transformer leaves class tokens out of its pool unless told; EVA's never.
        pools_prefix = getattr(visual.trunk, "pool_include_prefix", True)
        self._left_out = 0 if pools_prefix else visual.trunk.num_prefix_tokens
        self.grid = self._trunk.patch_embed.grid_size
        self.prefix = self._trunk.num_prefix_tokens - self._left_out

    def trunk(self, pictures: Tensor) -> Tensor:
        tokens: Tensor = self._trunk.forward_features(pictures)
        return tokens[:, self._left_out :]

    def whole(self, tokens: Tensor) -> Tensor:
        return _timm_head(self._trunk, self._head, self._trunk.attn_pool(tokens))

    def attend(self, tokens: Tensor, allowed: Tensor) -> Tensor:
        """The steps of timm's ``AttentionPoolLatent``, its keys and values made once for all."""
        pool = self._trunk.attn_pool
        placed = tokens if pool.pos_embed is None else tokens + pool.pos_embed.to(tokens.dtype)
        keys, values = pool.kv(placed).unflatten(-1, (2, pool.num_heads, -1)).permute(1, 2, 0, 3)
        query = pool.q_norm(pool.q(pool.latent[0]).unflatten(-1, (pool.num_heads, -1)))
        queries = query.transpose(0, 1).expand(-1, len(allowed), -1)
        mask = _bias(allowed, values.dtype)
        gathered = scaled_dot_product_attention(queries, pool.k_norm(keys), values, attn_mask=mask)
        out = pool.proj(gathered.transpose(0, 1).flatten(1))
        out = out if pool.mlp is None else out + pool.mlp(pool.norm(out))
        return _timm_head(self._trunk, self._head, out)

    def patches(self, tokens: Tensor) -> Tensor:
        return self.attend(tokens, _alone(tokens)[self.prefix :])


class HubClassToken(TimmClassToken):
    """A tower of transformers' whose class token gathers the picture, such as MetaCLIP 2's.

    TIPSv2's patches were aligned to text in training, so they are taken as they are.
    """

    def __init__(self, visual: Pictures) -> None:
        self._tower, self._blocks = visual.tower, visual.blocks
        self._projection = visual.projection
        self._is_aligned = self._tower.config.model_type.startswith("tipsv2")
        self.grid = visual.grid
        self.prefix = 1 + getattr(self._tower.config, "num_register_tokens", 0)

    def trunk(self, pictures: Tensor) -> Tensor:
        tokens: Tensor = self._tower.embeddings(pictures)
        tokens = tokens if self._is_aligned else self._tower.pre_layrnorm(tokens)
        for block in self._blocks[:-1]:
            tokens = block(tokens, None)
        return tokens

    def whole(self, tokens: Tensor) -> Tensor:
        return self._read(self._blocks[-1](tokens, None)[:, 0])

    def patches(self, tokens: Tensor) -> Tensor:
        if not self._is_aligned:
            return super().patches(tokens)
        return self._read(self._blocks[-1](tokens[None], None)[0, self.prefix :])

    def _last(self, tokens: Tensor, allowed: Tensor) -> Tensor:
        out: Tensor = self._blocks[-1](tokens, _bias(allowed, tokens.dtype))
        return out

    def _read(self, tokens: Tensor) -> Tensor:
        norm = self._tower.layernorm if self._is_aligned else self._tower.post_layernorm
        out: Tensor = self._projection(norm(tokens))
        return out


class HubAttentionPool:
    """A tower of transformers' whose attention pool gathers the picture: SigLIP's and NaFlex."""

    prefix = 0

    def __init__(self, visual: Pictures) -> None:
        self._visual = visual
        self._head: Any = visual.tower.head
        self.grid = visual.grid

    def trunk(self, pictures: Tensor) -> Tensor:
        return self._visual.tokens(pictures)

    def whole(self, tokens: Tensor) -> Tensor:
        out: Tensor = self._visual.projection(self._head(tokens))
        return out

    def attend(self, tokens: Tensor, allowed: Tensor) -> Tensor:
        """The steps of the head, with a probe for each region, so that keys are made once."""
        probes = self._head.probe.expand(1, len(allowed), -1)
        gathered = self._head.attention(probes, tokens[None], tokens[None], attn_mask=~allowed)[0]
        out = gathered + self._head.mlp(self._head.layernorm(gathered))
        encoded: Tensor = self._visual.projection(out[0])
        return encoded

    def patches(self, tokens: Tensor) -> Tensor:
        return self.attend(tokens, _alone(tokens))


def _is_plain(visual: VisionTransformer) -> bool:
    last = visual.transformer.resblocks[-1]
    return (
        visual.attn_pool is None
        and visual.pool_type == "tok"
        and type(last) is ResidualAttentionBlock
        and visual.transformer.batch_first
    )


def _has_tokens(trunk: nn.Module) -> bool:
    """Whether it is a plain transformer of timm's: a row of blocks over one grid of patches."""
    names = ("blocks", "norm", "norm_pre", "attn_pool", "fc_norm", "num_prefix_tokens")
    pool = getattr(trunk, "attn_pool", None)
    return (
        all(hasattr(trunk, name) for name in (*names, "global_pool"))
        and hasattr(getattr(trunk, "patch_embed", None), "grid_size")
        and not getattr(trunk, "rope_mixed", False)
        and (pool is None or getattr(pool, "latent_len", 0) == 1)
    )


def _alone(tokens: Tensor) -> Tensor:
    """Where each token may gather from itself only: bool (L, L)."""
    return torch.eye(len(tokens), dtype=torch.bool, device=tokens.device)


def _timm_head(trunk: Any, head: nn.Module, pooled: Tensor) -> Tensor:
    out: Tensor = head(trunk.head(trunk.head_drop(trunk.fc_norm(pooled))))
    return out


def _bias(allowed: Tensor, dtype: torch.dtype) -> Tensor:
    """What is added to attention scores: 0 where allowed, else minus infinity."""
    bias = torch.zeros(allowed.shape, dtype=dtype, device=allowed.device)
    return bias.masked_fill_(~allowed, float("-inf"))

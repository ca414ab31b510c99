"""How a vision transformer makes one vector of a picture's tokens, so that a region can choose.

A tower is split before its last parts: blocks, and the attention pool where it has one. What comes
before is run once for a picture. In the parts after it each region has a query of its own behind
the picture's tokens: a copy of the class token, or of the pool's probe, with its own residual
stream. The picture's tokens do not see it, and it sees those patches that its mask lets it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from open_clip.timm_model import TimmModel
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from torch import Tensor, nn
from torch.nn.functional import pad, scaled_dot_product_attention

from alphaclip.errors import AlphaClipError
from alphaclip.weights.dual_encoders import Pictures

WORKS_WITH = (
    "vision transformers with a class token (OpenAI's, LAION's, DataComp's and DFN's ViT, EVA02, "
    "MetaCLIP 2, TIPSv2) or an attention pool (SigLIP, PE)"
)

_ALL = 1 << 16
"""More blocks than a tower has."""


class Tower(Protocol):
    """A vision transformer in two; L tokens of width W, the first `prefix` of them no patch.

    Attributes:
        grid: patches in a column and in a row
        prefix: how many tokens stand before the patches
        depth: how many parts stand behind the split
        heads: of the attention of each of these parts
        has_pool: whether the last part is an attention pool, whose query passes no block
    """

    grid: tuple[int, int]
    prefix: int
    depth: int
    heads: list[int]
    has_pool: bool

    def trunk(self, pictures: Tensor) -> Tensor:
        """What is run once for a picture: (P, 4, R, R), see `join_alpha`, to (P, L, W) tokens."""

    def whole(self, tokens: Tensor) -> Tensor:
        """The tower's own output: (P, L, W) tokens to (P, dim)."""

    def attend(
        self, tokens: Tensor, biases: Sequence[Tensor], gates: Tensor | None = None
    ) -> Tensor:
        """The output of S regions of each picture.

        Args:
            tokens: (P, L, W)
            biases: for each part behind the split, what is added to the scores of a region's
                attention to the patches: (P, heads or 1, S, patches)
            gates (None): (depth - 1,), how much an attention pool's query takes from each block
                before; None is nothing. A class token takes all

        Returns:
            (P, S, dim)
        """

    def patches(self, tokens: Tensor) -> Tensor:
        """The output where each patch has gathered from itself alone: (L, W) to (patches, dim).

        That is MaskCLIP's way to dense features (Zhou et al. 2022, arXiv 2112.01071): the last
        attention gives a patch its own value; residual and feed-forward layer stay as they are.
        Only of a tower that is split before its last part.
        """


def find_tower(visual: nn.Module, name: str, depth: int = 1) -> Tower:
    """Splits a visual tower.

    Args:
        visual: ``model.visual`` of an open_clip model
        name: of the model, for messages
        depth (1): parts behind the split; 0, or more than there are, are all

    Raises:
        AlphaClipError: it is no vision transformer of a kind that can be split; says which can
    """
    if isinstance(visual, VisionTransformer) and _is_plain(visual):
        return ClassToken(visual, depth)
    if isinstance(visual, TimmModel) and _has_tokens(visual.trunk):
        if visual.trunk.attn_pool is not None:
            return AttentionPool(visual, depth)
        if visual.trunk.global_pool == "token":
            return TimmClassToken(visual, depth)
    if isinstance(visual, Pictures):
        if not hasattr(visual.tower, "head"):
            return HubClassToken(visual, depth)
        if depth == 1:
            return HubAttentionPool(visual)
        raise AlphaClipError(
            f"{name}: of transformers' own SigLIP, regions have queries in the attention pool "
            "alone: set region_blocks to 1, or take the model of open_clip"
        )
    kind = type(visual.trunk if isinstance(visual, TimmModel) else visual).__name__
    raise AlphaClipError(
        f"{name}: its image encoder ({kind}) has no last attention that regions could be taken "
        f"from. That works with {WORKS_WITH}; for other models take +crop or +near"
    )


class ClassToken:
    """A tower of open_clip's own whose class token gathers the picture."""

    prefix, has_pool = 1, False

    def __init__(self, visual: VisionTransformer, depth: int = 1) -> None:
        self._visual = visual
        self._first, self._last = _split(visual.transformer.resblocks, depth or _ALL)
        self.depth, self.heads = len(self._last), [b.attn.num_heads for b in self._last]
        self.grid = visual.grid_size

    def trunk(self, pictures: Tensor) -> Tensor:
        return _run(self._first, self._visual._embeds(pictures))

    def whole(self, tokens: Tensor) -> Tensor:
        return self._read(_run(self._last, tokens))

    def attend(
        self, tokens: Tensor, biases: Sequence[Tensor], gates: Tensor | None = None
    ) -> Tensor:
        count = biases[0].shape[2]
        queries = tokens[:, :1].expand(-1, count, -1)
        for block, bias, heads in zip(self._last, biases, self.heads, strict=True):
            mask = _own_rows(bias, self.prefix, hidden=1)
            is_one = mask.shape[:2] == (1, 1)
            mask = mask[0, 0] if is_one else mask.expand(-1, heads, -1, -1).flatten(0, 1)
            queries = self._step(block, queries, tokens, mask)
            if block is not self._last[-1]:
                tokens = block(tokens)
        return self._read(queries.flatten(0, 1)[:, None]).unflatten(0, queries.shape[:2])

    def patches(self, tokens: Tensor) -> Tensor:
        out = self._last[-1](tokens[None], attn_mask=_bias(_alone(tokens), tokens.dtype))
        return self._read(out[0][self.prefix :, None])

    def _step(self, block: Any, queries: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
        """What a block makes of queries that see the tokens and themselves."""
        keys = block.ln_1(torch.cat((tokens, queries), dim=1))
        gathered = block.attention(keys[:, tokens.shape[1] :], keys, keys, attn_mask=mask)
        out = queries + block.ls_1(gathered)
        stepped: Tensor = out + block.ls_2(block.mlp(block.ln_2(out)))
        return stepped

    def _read(self, tokens: Tensor) -> Tensor:
        """Takes the first of each row as the class token: (N, L, W) to (N, dim)."""
        pooled: Tensor = self._visual._pool(tokens)[0]
        return pooled if self._visual.proj is None else pooled @ self._visual.proj


class _Timm:
    """A tower of timm's; its blocks are run as they are, on the picture's tokens and the queries
    behind them."""

    def __init__(self, visual: TimmModel, blocks: int) -> None:
        self._head = visual.head
        self._trunk: Any = visual.trunk
        self._rope: Tensor | None = None
        self._first, self._last = _split(self._trunk.blocks, blocks)
        self.heads = [block.attn.num_heads for block in self._last]
        self.grid = self._trunk.patch_embed.grid_size

    def trunk(self, pictures: Tensor) -> Tensor:
        placed = self._trunk._pos_embed(self._trunk.patch_embed(pictures))
        if isinstance(placed, tuple):
            placed, self._rope = placed
        return self._through(self._first, self._trunk.norm_pre(placed))

    def _through(self, blocks: Sequence[nn.Module], tokens: Tensor) -> Tensor:
        for block in blocks:
            tokens = self._step(block, tokens, None)
        return tokens

    def _step(self, block: Any, tokens: Tensor, mask: Tensor | None, behind: int = 0) -> Tensor:
        options: dict[str, Tensor] = {} if mask is None else {"attn_mask": mask}
        if self._rope is not None:
            # Turned by nothing, as the class token, are the queries behind the patches.
            still = self._rope.new_zeros(behind, self._rope.shape[-1])
            still[:, still.shape[1] // 2 :] = 1
            options["rope"] = torch.cat((self._rope, still))
        out: Tensor = block(tokens, **options)
        return out


class TimmClassToken(_Timm):
    """A tower of timm's whose class token gathers the picture."""

    has_pool = False

    def __init__(self, visual: TimmModel, depth: int = 1) -> None:
        super().__init__(visual, depth or _ALL)
        self.depth = len(self._last)
        self.prefix = self._trunk.num_prefix_tokens

    def whole(self, tokens: Tensor) -> Tensor:
        return self._read(self._through(self._last, tokens)[:, 0])

    def attend(
        self, tokens: Tensor, biases: Sequence[Tensor], gates: Tensor | None = None
    ) -> Tensor:
        stream, count = _with_queries(tokens, tokens[:, :1], biases), biases[0].shape[2]
        for block, bias in zip(self._last, biases, strict=True):
            mask = _walls(bias, self.prefix, hidden=1).to(tokens.dtype)
            stream = self._step(block, stream, mask, count)
        return self._read(stream[:, -count:])

    def patches(self, tokens: Tensor) -> Tensor:
        mask = _bias(_alone(tokens), tokens.dtype)[None, None]
        return self._read(self._step(self._last[-1], tokens[None], mask)[0, self.prefix :])

    def _read(self, tokens: Tensor) -> Tensor:
        return _timm_head(self._trunk, self._head, self._trunk.norm(tokens))


class AttentionPool(_Timm):
    """A tower of timm's whose attention pool gathers the picture, such as SigLIP's and PE's."""

    has_pool = True

    def __init__(self, visual: TimmModel, depth: int = 1) -> None:
        super().__init__(visual, (depth or _ALL) - 1)
        self._pool: Any = self._trunk.attn_pool
        self.depth, self.heads = len(self._last) + 1, [*self.heads, self._pool.num_heads]
        # timm's plain transformer leaves class tokens out of its pool unless told; EVA's never.
        pools_prefix = getattr(visual.trunk, "pool_include_prefix", True)
        self.prefix = self._trunk.num_prefix_tokens
        self._left_out = 0 if pools_prefix else self.prefix

    def whole(self, tokens: Tensor) -> Tensor:
        pooled = self._pool(self._pooled(self._through(self._last, tokens)))
        return _timm_head(self._trunk, self._head, pooled)

    def attend(
        self, tokens: Tensor, biases: Sequence[Tensor], gates: Tensor | None = None
    ) -> Tensor:
        length, count = tokens.shape[1], biases[0].shape[2]
        probes = self._pool.latent.expand(len(tokens), count, -1).to(tokens.dtype)
        for number, block in enumerate(self._last):
            mask = _walls(biases[number], self.prefix, hidden=0).to(tokens.dtype)
            stream = self._step(block, torch.cat((tokens, probes), 1), mask, count)
            if gates is not None:
                probes = probes + gates[number] * (stream[:, length:] - probes)
            tokens = stream[:, :length]
        mask = pad(biases[-1], (self.prefix - self._left_out, 0))
        return self._gather(probes, self._pooled(tokens), mask)

    def patches(self, tokens: Tensor) -> Tensor:
        tokens = self._pooled(tokens[None])
        alone = _bias(_alone(tokens[0]), tokens.dtype)[self.prefix - self._left_out :]
        probes = self._pool.latent.expand(1, len(alone), -1)
        return self._gather(probes, tokens, alone[None, None])[0]

    def _pooled(self, tokens: Tensor) -> Tensor:
        """What the pool is given."""
        normed: Tensor = self._trunk.norm(tokens)[:, self._left_out :]
        return normed

    def _gather(self, probes: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
        """The steps of timm's ``AttentionPoolLatent``, its keys and values made once for all."""
        pool = self._pool
        placed = tokens if pool.pos_embed is None else tokens + pool.pos_embed.to(tokens.dtype)
        keys, values = pool.kv(placed).unflatten(-1, (2, pool.num_heads, -1)).permute(2, 0, 3, 1, 4)
        queries = pool.q_norm(pool.q(probes).unflatten(-1, (pool.num_heads, -1)).transpose(1, 2))
        mask = mask.to(values.dtype)
        gathered = scaled_dot_product_attention(queries, pool.k_norm(keys), values, attn_mask=mask)
        out = pool.proj(gathered.transpose(1, 2).flatten(2))
        out = out if pool.mlp is None else out + pool.mlp(pool.norm(out))
        return _timm_head(self._trunk, self._head, out)


class HubClassToken(TimmClassToken):
    """A tower of transformers' whose class token gathers the picture, such as MetaCLIP 2's.

    TIPSv2's patches were aligned to text in training, so they are taken as they are.
    """

    def __init__(self, visual: Pictures, depth: int = 1) -> None:
        self._tower, self._projection = visual.tower, visual.projection
        self._first, self._last = _split(visual.blocks, depth or _ALL)
        self.depth = len(self._last)
        self.heads = [self._tower.config.num_attention_heads] * self.depth
        self._is_aligned = self._tower.config.model_type.startswith("tipsv2")
        self.grid = visual.grid
        self.prefix = 1 + getattr(self._tower.config, "num_register_tokens", 0)

    def trunk(self, pictures: Tensor) -> Tensor:
        tokens: Tensor = self._tower.embeddings(pictures)
        tokens = tokens if self._is_aligned else self._tower.pre_layrnorm(tokens)
        return self._through(self._first, tokens)

    def patches(self, tokens: Tensor) -> Tensor:
        if not self._is_aligned:
            return super().patches(tokens)
        return self._read(self._through(self._last, tokens[None])[0, self.prefix :])

    def _step(self, block: Any, tokens: Tensor, mask: Tensor | None, behind: int = 0) -> Tensor:
        out: Tensor = block(tokens, mask)
        return out

    def _read(self, tokens: Tensor) -> Tensor:
        norm = self._tower.layernorm if self._is_aligned else self._tower.post_layernorm
        out: Tensor = self._projection(norm(tokens))
        return out


class HubAttentionPool:
    """A tower of transformers' whose attention pool gathers the picture: SigLIP's and NaFlex."""

    prefix, depth, has_pool = 0, 1, True

    def __init__(self, visual: Pictures) -> None:
        self._visual = visual
        self._head: Any = visual.tower.head
        self.heads = [self._head.attention.num_heads]
        self.grid = visual.grid

    def trunk(self, pictures: Tensor) -> Tensor:
        return self._visual.tokens(pictures)

    def whole(self, tokens: Tensor) -> Tensor:
        out: Tensor = self._visual.projection(self._head(tokens))
        return out

    def attend(
        self, tokens: Tensor, biases: Sequence[Tensor], gates: Tensor | None = None
    ) -> Tensor:
        """The steps of the head, with a probe for each region, so that keys are made once."""
        (bias,) = biases
        probes = self._head.probe.expand(len(tokens), bias.shape[2], -1)
        mask = bias.expand(len(tokens), *self.heads, -1, -1).flatten(0, 1).to(tokens.dtype)
        gathered = self._head.attention(probes, tokens, tokens, attn_mask=mask)[0]
        out = gathered + self._head.mlp(self._head.layernorm(gathered))
        encoded: Tensor = self._visual.projection(out)
        return encoded

    def patches(self, tokens: Tensor) -> Tensor:
        return self.attend(tokens[None], [_bias(_alone(tokens), tokens.dtype)[None, None]])[0]


def _split(blocks: Any, count: int) -> tuple[list[Any], list[Any]]:
    """The blocks before the last ``count``, and those."""
    first = max(0, len(blocks) - count)
    return list(blocks)[:first], list(blocks)[first:]


def _run(blocks: Sequence[nn.Module], tokens: Tensor) -> Tensor:
    for block in blocks:
        tokens = block(tokens)
    return tokens


def _with_queries(tokens: Tensor, query: Tensor, biases: Sequence[Tensor]) -> Tensor:
    """The tokens with a copy of the query behind them for each region: (P, L + S, W)."""
    return torch.cat((tokens, query.expand(-1, biases[0].shape[2], -1)), dim=1)


def _walls(bias: Tensor, prefix: int, hidden: int) -> Tensor:
    """What is added to the scores of a block's attention where queries stand behind the tokens:
    `_own_rows`, and that the picture's tokens do not see the queries.

    Returns:
        (P, heads or 1, T + S, T + S) for T tokens
    """
    rows = _own_rows(bias, prefix, hidden)
    length = prefix + bias.shape[3]
    walls = pad(rows, (0, 0, length, 0))
    walls[:, :, :length, length:] = float("-inf")
    return walls


def _own_rows(bias: Tensor, prefix: int, hidden: int) -> Tensor:
    """What is added to the scores of queries that see the tokens and themselves, not each other.

    Args:
        bias: (P, heads or 1, S, patches), of the queries to the patches
        prefix: tokens before the patches
        hidden: how many of these the queries do not see: the class token that they are copies of

    Returns:
        (P, heads or 1, S, T + S) for T tokens
    """
    count, length = bias.shape[2], prefix + bias.shape[3]
    others = bias.new_zeros(count, length + count)
    others[:, length:] = others[:, :hidden] = float("-inf")
    others.diagonal(length)[:] = 0
    return others + pad(bias, (prefix, count))


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

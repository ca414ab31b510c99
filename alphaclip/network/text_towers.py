"""Causal text towers, run no farther than their texts reach.

A token of such a tower sees only those before it, and the vector is taken from the token that ends
the text: what pads a short text up to the context length takes part in nothing.
"""

from __future__ import annotations

from typing import Any

import open_clip
import torch
from open_clip.transformer import TextTransformer
from torch import Tensor, nn


def encode_tokens(clip: nn.Module, tokens: Tensor) -> Tensor:
    """What ``clip.encode_text`` gives, of the tokens up to the last end of a text.

    Towers that are not causal, or take their vector from elsewhere, are run as they are; so is
    every tower while it is compiled or exported, since a length must not be fixed in the result.

    Args:
        clip: an open_clip model
        tokens: int64 (M, context length)

    Returns:
        float (M, dim), before normalisation
    """
    clip_any: Any = clip
    causal = _causal_tower(clip_any)
    is_traced = torch.compiler.is_compiling() or torch.jit.is_tracing()
    if causal is None or is_traced or not len(tokens):
        encoded: Tensor = clip_any.encode_text(tokens, normalize=False)
        return encoded
    tower, end = causal
    ends = tokens.argmax(dim=-1) if end is None else (tokens == end).int().argmax(dim=-1)
    length = int(ends.max()) + 1
    dtype = tower.transformer.get_cast_dtype()
    x = tower.token_embedding(tokens[:, :length]).to(dtype)
    x = x + tower.positional_embedding[:length].to(dtype)
    x = tower.transformer(x, attn_mask=tower.attn_mask[:length, :length])
    pooled: Tensor = tower.ln_final(x[torch.arange(len(x), device=x.device), ends])
    projection = tower.text_projection
    if projection is None:
        return pooled
    return projection(pooled) if isinstance(projection, nn.Linear) else pooled @ projection


def _causal_tower(clip: Any) -> tuple[Any, int | None] | None:
    """The text tower and the token that ends a text, None for the highest; None if the tower is not
    one of open_clip's own that is causal and takes its vector from that token."""
    if type(clip) is open_clip.CLIP:
        tower, pool, end = clip, clip.text_pool_type, clip.text_eos_id
    elif type(clip) is open_clip.CustomTextCLIP and type(clip.text) is TextTransformer:
        tower, pool, end = clip.text, clip.text.pool_type, clip.text.eos_id
        if tower.cls_emb is not None or tower.output_tokens:
            return None
    else:
        return None
    if tower.attn_mask is None or pool not in ("argmax", "eos"):
        return None
    return tower, None if pool == "argmax" else end

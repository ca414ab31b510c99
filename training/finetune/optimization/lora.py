"""Low-rank adapters on the image encoder, through peft (LoRA, Hu et al. 2021, arXiv 2106.09685).

As in Alpha-CLIP's code, every attention's two projections and both feed-forward layers of a block
get one. peft's own adapter of ``nn.MultiheadAttention`` adds its product to the weights before each
pass and subtracts it after, so rounding moves the frozen weights, and no compiler can follow; here
the projections are made linear layers first, which peft leaves as they are.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from alphaclip.training.finetune.config import FinetuneError

_ADAPTED = (
    r"(transformer\.resblocks\.\d+\.(attn\.in_proj|attn\.out_proj|mlp\.c_fc|mlp\.c_proj))"
    r"|(trunk\.blocks\.\d+\.(attn\.qkv|attn\.q|attn\.k|attn\.v|attn\.q_proj|attn\.k_proj"
    r"|attn\.v_proj|attn\.proj|mlp\.fc1|mlp\.fc2))"
    r"|(tower\.(encoder\.layers?|blocks)\.\d+\.(.*attn|attention|mlp)\.\w*(proj|qkv|fc\d)\w*)"
)
_NAME = "default"
"""peft's name of an adapter that is not named."""


class SplitAttention(nn.Module):
    """Self-attention as ``nn.MultiheadAttention`` computes it, its two projections being layers.

    Args:
        attention: whose weights are taken over
    """

    def __init__(self, attention: nn.MultiheadAttention) -> None:
        super().__init__()
        width = attention.embed_dim
        self._heads = attention.num_heads
        self.in_proj = nn.Linear(width, 3 * width, device="meta")
        self.in_proj.weight = attention.in_proj_weight
        self.in_proj.bias = attention.in_proj_bias
        self.out_proj = nn.Linear(width, width, device="meta")
        self.out_proj.weight = attention.out_proj.weight
        self.out_proj.bias = attention.out_proj.bias

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        need_weights: bool = False,
        attn_mask: Tensor | None = None,
    ) -> tuple[Tensor, None]:
        """Attends from each token to all, or from some of them: keys and values are the same, of
        which the queries are the last ones; (N, Q, W) to (N, Q, W)."""
        heads = self.in_proj(key).unflatten(-1, (3, self._heads, -1)).permute(2, 0, 3, 1, 4)
        queries, keys, values = heads.unbind()
        queries = queries[:, :, -query.shape[1] :]
        if attn_mask is not None and attn_mask.ndim == 3:  # One for each head of each picture.
            attn_mask = attn_mask.unflatten(0, (-1, self._heads))
        out = scaled_dot_product_attention(queries, keys, values, attn_mask=attn_mask)
        return self.out_proj(out.transpose(1, 2).flatten(2)), None


def add_adapters(visual: nn.Module, rank: int, scale: float) -> None:
    """Gives every block of a transformer adapters, in place; they alone are trained of it.

    Args:
        visual: of an open_clip model, frozen but for what is to be trained beside the adapters
        rank: of the adapters' products
        scale: what the products are multiplied with

    Raises:
        FinetuneError: peft is not installed, or the encoder has no blocks of a known kind
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise FinetuneError(
            "lora_rank needs peft: pip install peft, or set it to 0 to train the weights themselves"
        ) from error
    _split_attentions(visual)
    beside = [parameter for parameter in visual.parameters() if parameter.requires_grad]
    strength: Any = rank * scale  # peft divides it by the rank; it need not be a whole number
    config = LoraConfig(r=rank, lora_alpha=strength, target_modules=_ADAPTED)
    try:
        inject_adapter_in_model(config, visual, adapter_name=_NAME)
    except ValueError as error:
        raise FinetuneError(
            f"lora_rank is {rank}, but {type(visual).__name__} has no transformer blocks of a kind "
            "that adapters are known for: set it to 0"
        ) from error
    for parameter in beside:
        parameter.requires_grad_(True)


def merged_state(visual: nn.Module) -> dict[str, Tensor]:
    """The encoder's weights with what the adapters add to them.

    Args:
        visual: with adapters or without; it is not changed

    Returns:
        open_clip's names to tensors
    """
    state = {_plain(n): t for n, t in visual.state_dict().items() if ".lora_" not in n}
    for name, module in visual.named_modules():
        if hasattr(module, "lora_A"):
            weight = _plain(f"{name}.weight")
            state[weight] = state[weight] + module.get_delta_weight(_NAME)
    return state


def _split_attentions(visual: nn.Module) -> None:
    for name, module in list(visual.named_modules()):
        is_in_block = name.startswith("transformer.resblocks.")
        if is_in_block and isinstance(module, nn.MultiheadAttention):
            visual.set_submodule(name, SplitAttention(module))


def _plain(name: str) -> str:
    """A tensor's name without adapters and split attentions."""
    return name.replace(".base_layer.", ".").replace(".attn.in_proj.", ".attn.in_proj_")

"""MaskAdaptedCLIP: learnt tokens in the place of the patches that a region does not touch.

Liang et al. 2023, OVSeg (arXiv 2210.04150, section 3.3). Their weights hold
``visual.mask_embedding`` of shape (depth, patches, width): the tokens of the first ``depth``
layers. A patch is kept if any of its pixels belongs to the region.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn

from alphaclip.catalog.methods import PROMPTED
from alphaclip.catalog.released import BASE_TAG
from alphaclip.encoder.pooling import foreground
from alphaclip.errors import CheckpointError
from alphaclip.weights.alpha_channel import ALPHA_MEAN, ALPHA_STD, ALPHA_SUFFIX, join_alpha
from alphaclip.weights.checkpoints import check_tensors, read_tensors

if TYPE_CHECKING:
    from alphaclip.network.model import AlphaCLIP

MASK_TOKENS = "visual.mask_embedding"

ARCHITECTURES = {
    (196, 768): "ViT-B-16-quickgelu",
    (256, 1024): "ViT-L-14-quickgelu",
    (576, 1024): "ViT-L-14-336-quickgelu",
}
"""Patches and width of mask tokens to the architecture; OVSeg starts from OpenAI's weights."""


_NO_WEIGHTS = ("attn_mask", "input_resolution", "context_length", "vocab_size")
"""What some CLIPs' state dicts hold beside weights; the architecture says it already."""


class MaskPrompted:
    """A way to encode regions, see `alphaclip.encoder.pooling.Way`: one pass for each region.

    Args:
        model: its ``visual`` has the mask tokens, see `create_prompted`
    """

    pooling: str | None = PROMPTED

    def __init__(self, model: AlphaCLIP) -> None:
        self._visual: VisionTransformer = model.clip.visual

    def encode(self, images: Tensor, maps: Tensor, whole: Sequence[bool]) -> Tensor:
        """See `Way.encode`; a whole-image region keeps every patch."""
        visual = self._visual
        ones = (torch.ones_like(maps) - ALPHA_MEAN) / ALPHA_STD
        inside = foreground(maps, visual.grid_size)[..., None]
        patches = visual.conv1(join_alpha(images, ones.to(images.dtype))).flatten(2).mT
        patches = torch.where(inside, patches, visual.mask_embedding[0].to(patches.dtype))
        first = visual.class_embedding.to(patches.dtype).expand(len(patches), 1, -1)
        positions = visual.positional_embedding.to(patches.dtype)
        tokens: Tensor = visual.ln_pre(torch.cat((first, patches), dim=1) + positions)
        for depth, block in enumerate(visual.transformer.resblocks, 1):
            tokens = block(tokens)
            if depth < len(visual.mask_embedding):
                prompts = visual.mask_embedding[depth].to(tokens.dtype)
                tokens = torch.cat((tokens[:, :1], torch.where(inside, tokens[:, 1:], prompts)), 1)
        pooled: Tensor = visual._pool(tokens)[0]
        return pooled @ visual.proj


def create_prompted(path: Path) -> AlphaCLIP:
    """Builds the model of an OVSeg weights file.

    Accepted are OVSeg's own files (the whole segmenter, whose CLIP is taken out), a CLIP's state
    dict with the mask tokens, or the mask tokens alone, which then stand on OpenAI's weights.

    Args:
        path: ``.pth``, ``.pt`` or ``.safetensors``; PyTorch files are read with
            ``weights_only=True`` and in no other way

    Returns:
        the model; ``clip.visual.mask_embedding`` are the mask tokens

    Raises:
        CheckpointError: the file is unreadable, has no mask tokens, or its tensors do not fit
        MissingWeightsError: it has no CLIP, and OpenAI's weights are not here
    """
    from alphaclip.network.factory import create_model

    tensors = _clip_tensors(path)
    prompts = tensors.pop(MASK_TOKENS)
    shape = tuple(prompts.shape)
    if len(shape) != 3 or shape[1:] not in ARCHITECTURES:
        expected = ", ".join(f"(depth, {n}, {w}) for {a}" for (n, w), a in ARCHITECTURES.items())
        raise CheckpointError(f"{path}: {MASK_TOKENS} has shape {shape}, expected {expected}")
    architecture = ARCHITECTURES[shape[1], shape[2]]
    model = create_model(architecture, pretrained=None if tensors else BASE_TAG)
    if tensors:
        has_text = any(not name.startswith("visual.") for name in tensors)
        shapes = {
            name: tuple(tensor.shape)
            for name, tensor in model.clip.state_dict().items()
            if ALPHA_SUFFIX not in name and (has_text or name.startswith("visual."))
        }
        check_tensors(tensors, shapes, str(path), model.config.name)
        model.clip.load_state_dict(tensors, strict=False)
        model.has_text = has_text
    model.clip.visual.mask_embedding = nn.Parameter(prompts.float())
    return model


def _clip_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of the CLIP in a file, under open_clip's names."""
    content: Mapping[str, object] = read_tensors(path)
    for wrapper in ("model", "state_dict"):
        inside = content.get(wrapper)
        content = inside if isinstance(inside, Mapping) else content
    names = [name for name in content if name.endswith(MASK_TOKENS)]
    if len(names) != 1:
        raise CheckpointError(
            f"{path}: holds no {MASK_TOKENS}: take OVSeg's weights that were made with mask prompt "
            "tuning, such as ovseg_swinbase_vitL14_ft_mpt.pth"
        )
    prefix = names[0].removesuffix(MASK_TOKENS)
    named = {n.removeprefix(prefix): t for n, t in content.items() if n.startswith(prefix)}
    return {n: t for n, t in named.items() if isinstance(t, Tensor) and n not in _NO_WEIGHTS}

"""Trains ``alphaclip-nano``; stopped at any moment, it goes on from the last checkpoint."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch
from open_clip import CLIP, SimpleTokenizer
from open_clip.loss import ClipLoss
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import adaptive_avg_pool2d, cross_entropy, normalize

from alphaclip.catalog.zoo import NANO_FOLDER
from alphaclip.network.factory import create_model
from alphaclip.network.model import AlphaCLIP
from alphaclip.network.precisions import candidates
from alphaclip.network.text_towers import encode_tokens
from alphaclip.training.datasets.words import article
from alphaclip.training.finetune.loop import Figures
from alphaclip.training.finetune.optimization.precision import (
    fast_attention,
    give_fast_projections,
    mixed_precision,
)
from alphaclip.weights.alpha_channel import join_alpha
from alphaclip.weights.checkpoints import write_checkpoint
from recipes.nano.captions import TEMPLATES
from recipes.nano.data import Batch, NanoBatches
from recipes.nano.drawings import concepts
from recipes.nano.phase import run_phase
from recipes.nano.recipe import NanoRecipe, Phase

logger = logging.getLogger(__name__)

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
"""OpenAI's, which Alpha-CLIP's towers take; nano has them so that it is loaded as they are."""

MOST_SCALE = 4.6052
"""ln 100, CLIP's limit of the logit scale."""


def train_base(
    recipe: NanoRecipe, drawings: Path, folder: Path, device: str | torch.device = "cpu"
) -> CLIP:
    """Trains the base CLIP: pictures and captions, no alpha.

    Args:
        recipe: what to do
        drawings: the artists' archives
        folder: where checkpoint and log are kept; a run found there is continued
        device ("cpu"): where to train

    Returns:
        the model, an ordinary open_clip one
    """
    torch.manual_seed(recipe.seed)
    config = json.loads((NANO_FOLDER / "alphaclip-nano.json").read_text("utf-8"))
    model, names = CLIP(**config), _Prototypes(config["embed_dim"])
    tokenizer = nano_tokenizer(config["text_cfg"]["context_length"])

    def forward(batch: Batch) -> Figures:
        batch = batch.to(device)
        with mixed_half(batch.images.device):
            image = encode_pixels(model.visual, normalize_pixels(batch.images))
            text = encode_captions(model, tokenizer, batch)
        scale = model.logit_scale.clamp(max=MOST_SCALE).exp()
        return join_figures(image, text, scale, names.loss(image, text, batch.concepts))

    size = config["vision_cfg"]["image_size"]
    batches = partial(NanoBatches, drawings, recipe.base.plan, size, recipe.seed)
    give_fast_projections(model, torch.device(device), half_type(torch.device(device)))
    both = nn.ModuleDict({"model": model, "names": names}).to(device)
    optimizers = make_optimizers(both.named_parameters(), recipe.base)
    run_phase("base", recipe.base, both, forward, optimizers, folder, batches, make_row)
    return model.eval()


def train_alpha(recipe: NanoRecipe, base: CLIP, drawings: Path, folder: Path) -> AlphaCLIP:
    """Fine-tunes the image tower with alpha maps (paper, section 3.2), where the base is.

    Args:
        recipe: what to do
        base: a trained base; it is not changed
        drawings: the artists' archives
        folder: where checkpoint and log are kept; a run found there is continued

    Returns:
        the base with an alpha channel; its text tower and temperature are the base's
    """
    torch.manual_seed(recipe.seed)
    model = with_alpha(base)
    model.clip.requires_grad_(False)
    model.clip.visual.requires_grad_(True)
    tokenizer = nano_tokenizer(model.clip.context_length)
    scale = model.clip.logit_scale.clamp(max=MOST_SCALE).exp()
    names = concept_features(model.clip, tokenizer)

    def forward(batch: Batch) -> Figures:
        batch = batch.to(scale.device)
        pixels, alpha = normalize_pixels(batch.images), normalize_alpha(batch.alpha)
        with mixed_half(pixels.device):
            image = encode_pixels(model.clip.visual, join_alpha(pixels, alpha))
            with torch.no_grad():
                text = encode_captions(model.clip, tokenizer, batch)
        return join_figures(image, text, scale, named_loss(image, names, scale, batch.concepts))

    give_fast_projections(model.clip, scale.device, half_type(scale.device))
    phase = recipe.alpha
    batches = partial(NanoBatches, drawings, phase.plan, model.image_size, recipe.seed + 1)
    optimizers = make_optimizers(model.clip.visual.named_parameters(), phase)
    run_phase("alpha", phase, model, forward, optimizers, folder, batches, make_row)
    return model.eval()


def join_figures(image: Tensor, text: Tensor, scale: Tensor, named: Tensor) -> Figures:
    """Of unit vectors (N, D) that belong together, the logit scale, and the loss of telling the
    concepts apart by name."""
    paired = ClipLoss()(image, text, scale)
    return {
        "loss": paired + named, "paired": paired, "named": named, "scale": scale, "image": image,
        "text": text,
    }  # fmt: skip


def make_row(figures: Figures) -> dict[str, float]:
    """What is logged of :func:`join_figures`, and the share of captions that are nearest."""
    nearest = (figures["image"] @ figures["text"].T).argmax(dim=1)
    hits = nearest == torch.arange(len(nearest), device=nearest.device)
    row = {"loss": figures["paired"], "named": figures["named"], "scale": figures["scale"]}
    row |= {name: figures[name] for name in ("whole", "apart") if name in figures}
    return {name: figure.item() for name, figure in row.items()} | {
        "hit": hits.float().mean().item()
    }


def with_alpha(base: CLIP) -> AlphaCLIP:
    """A copy of the base with an alpha convolution of zeros: equal to it for any alpha map."""
    model = create_model(NANO_FOLDER / "alphaclip-nano.json")
    model.clip.load_state_dict(base.state_dict(), strict=False)
    model.has_text = True
    return model.to(base.logit_scale.device).eval()


def save_nano(model: AlphaCLIP, path: Path) -> None:
    """Writes both towers as float16 safetensors."""
    tensors = {name: t.half().contiguous() for name, t in model.clip.state_dict().items()}
    write_checkpoint(tensors, path, {"name": "alphaclip-nano", "licence": "Apache-2.0"})


def nano_tokenizer(context_length: int) -> SimpleTokenizer:
    """open_clip's tokenizer over nano's shortened merges."""
    return SimpleTokenizer(str(NANO_FOLDER / "merges.txt.gz"), context_length=context_length)


def encode_pixels(visual: VisionTransformer, pixels: Tensor) -> Tensor:
    """Unit vectors (N, D) of square pictures of any side: the grid of positions is averaged."""
    positions = _positions(visual, pixels.shape[-1] // visual.patch_size[0])
    features = functional_call(visual, {"positional_embedding": positions}, (pixels,))
    return normalize(features.float(), dim=-1)


def _positions(visual: VisionTransformer, side: int) -> Tensor:
    full = int(visual.grid_size[0])
    if side == full:
        return visual.positional_embedding
    first, grid = visual.positional_embedding[:1], visual.positional_embedding[1:]
    pooled = adaptive_avg_pool2d(grid.T.reshape(1, -1, full, full), side)
    return torch.cat([first, pooled.flatten(2)[0].T])


def encode_views(model: AlphaCLIP, pixels: Tensor, alpha: Tensor) -> Tensor:
    """Unit vectors (N, D) on the CPU, of pictures (N, 3, R, R) and alpha maps (N, 1, R, R) in
    [0, 255]; nothing is trained on."""
    device, rows = model.clip.logit_scale.device, []
    with torch.inference_mode():
        for p, a in zip(pixels.split(256), alpha.split(256), strict=True):
            some = normalize_pixels(p.to(device)), normalize_alpha(a.to(device))
            rows.append(model.encode_image(*some).cpu())
    return normalize(torch.cat(rows), dim=-1)


def encode_captions(model: CLIP, tokenizer: SimpleTokenizer, batch: Batch) -> Tensor:
    """Unit vectors (N, D); the short captions of regions do without the padding of long ones."""
    tokens = tokenizer(batch.captions).to(batch.images.device)
    parts = tokens.split([len(tokens) - batch.whole, batch.whole])
    return torch.cat([encode_texts(model, part) for part in parts if len(part)])


def encode_texts(model: CLIP, tokens: Tensor) -> Tensor:
    """Unit vectors (N, D), float32."""
    return normalize(encode_tokens(model, tokens).float(), dim=-1)


def normalize_pixels(images: Tensor) -> Tensor:
    """uint8 (N, 3, R, R) to the float32 that CLIP's towers take."""
    mean, std = (torch.tensor(v, device=images.device).view(1, 3, 1, 1) for v in (MEAN, STD))
    return (images.float() / 255.0 - mean) / std


def normalize_alpha(alpha: Tensor) -> Tensor:
    """uint8 (N, 1, R, R) to the float32 that the alpha convolution takes: (x - 0.5) / 0.26."""
    return (alpha.float() / 255.0 - 0.5) / 0.26


def concept_features(model: CLIP, tokenizer: SimpleTokenizer) -> Tensor:
    """Unit vectors (concepts, D) of the names, in the template that figures are measured with."""
    prompts = [TEMPLATES[0].format(article(concept.name)) for concept in concepts()]
    with torch.no_grad():
        return encode_texts(model, tokenizer(prompts).to(model.logit_scale.device))


def make_optimizers(
    named: Iterator[tuple[str, nn.Parameter]], phase: Phase
) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the transformer blocks, AdamW for everything else."""
    matrices, others, alpha = [], [], []
    for name, parameter in named:
        if not parameter.requires_grad:
            continue
        if "conv1_alpha" in name:
            alpha.append(parameter)
        elif parameter.ndim == 2 and "resblocks" in name:
            matrices.append(parameter)
        else:
            others.append(parameter)
    decay = phase.weight_decay
    muon = torch.optim.Muon(
        matrices, lr=phase.rate, weight_decay=decay, adjust_lr_fn="match_rms_adamw"
    )
    groups = [
        {"params": others, "lr": phase.rate, "weight_decay": 0.0},
        {"params": alpha, "lr": phase.alpha_rate, "weight_decay": decay},
    ]
    optimizers = [muon, torch.optim.AdamW(groups, betas=(0.9, 0.98))]
    for group in (group for optimizer in optimizers for group in optimizer.param_groups):
        group["initial_lr"] = group["lr"]
    return optimizers


class _Prototypes(nn.Module):
    """One vector per concept, which pictures and captions are both drawn to; not kept.

    Without it the two towers take hundreds of steps to find each other.
    """

    def __init__(self, width: int, scale: float = 14.0) -> None:
        super().__init__()
        self.embedding = nn.Parameter(torch.randn(len(concepts()), width))
        self._scale = scale

    def loss(self, image: Tensor, text: Tensor, truth: Tensor) -> Tensor:
        vectors = normalize(self.embedding, dim=-1)
        of_image, of_text = (
            named_loss(side, vectors, self._scale, truth) for side in (image, text)
        )
        return (of_image + of_text) / 2


@contextmanager
def mixed_half(device: torch.device) -> Iterator[None]:
    """A context with matrix products in :func:`half_type`."""
    dtype = half_type(device)
    with mixed_precision(device, dtype), fast_attention(device, dtype):
        yield


def half_type(device: torch.device) -> torch.dtype:
    """bfloat16 where a GPU or processor multiplies in it; elsewhere float32, which is then some
    ten times as fast."""
    is_fast = device.type == "cuda" or "bf16" in candidates()
    return torch.bfloat16 if is_fast else torch.float32


def named_loss(features: Tensor, names: Tensor, scale: Tensor | float, truth: Tensor) -> Tensor:
    """Of telling which of the vectors (C, D) the first rows of (N, D) belong to, by int64 (M,)."""
    return cross_entropy(scale * features[: len(truth)] @ names.T, truth)

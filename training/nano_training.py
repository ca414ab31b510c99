"""Trains ``alphaclip-nano``; stopped at any moment, it goes on from the last checkpoint."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import torch
from alphaclip.training.loop import run_phase
from alphaclip.training.nano_data import Batch, NanoBatches
from alphaclip.training.recipe import NanoRecipe, Phase
from open_clip import CLIP, SimpleTokenizer
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import normalize

import alphaclip.nano
from alphaclip.model import AlphaCLIP, create_model

logger = logging.getLogger(__name__)

NANO_FOLDER = Path(alphaclip.nano.__file__).parent
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


def train_base(recipe: NanoRecipe, drawings: Path, folder: Path) -> CLIP:
    """Trains the base CLIP: pictures and captions, no alpha.

    Args:
        recipe: what to do
        drawings: the artists' archives
        folder: where checkpoint and log are kept; a run found there is continued

    Returns:
        the model, an ordinary open_clip one
    """
    torch.manual_seed(recipe.seed)
    config = json.loads((NANO_FOLDER / "alphaclip-nano.json").read_text("utf-8"))
    model = CLIP(**config)
    tokenizer = nano_tokenizer(config["text_cfg"]["context_length"])

    def forward(batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        image = model.encode_image(normalize_pixels(batch.images), normalize=True)
        text = model.encode_text(tokenizer(batch.captions), normalize=True)
        return image, text, model.logit_scale.clamp(max=4.6052).exp()

    def batches(first: int, stop: int) -> NanoBatches:
        size = config["vision_cfg"]["image_size"]
        return NanoBatches(drawings, recipe.base.plan, size, recipe.seed, first, stop)

    optimizers = make_optimizers(model.named_parameters(), recipe.base)
    run_phase("base", recipe.base, model, forward, optimizers, folder, batches)
    return model


def train_alpha(recipe: NanoRecipe, base: CLIP, drawings: Path, folder: Path) -> AlphaCLIP:
    """Fine-tunes the image tower with alpha maps (paper, section 3.2).

    Args:
        recipe: what to do
        base: a trained base; it is not changed
        drawings: the artists' archives
        folder: where checkpoint and log are kept; a run found there is continued

    Returns:
        the base with an alpha channel; its text tower and temperature are the base's
    """
    torch.manual_seed(recipe.seed)
    model = create_model(NANO_FOLDER / "alphaclip-nano.json")
    model.clip.load_state_dict(base.state_dict(), strict=False)
    model.clip.requires_grad_(False)
    model.clip.visual.requires_grad_(True)
    tokenizer = nano_tokenizer(model.clip.context_length)
    scale = model.clip.logit_scale.clamp(max=4.6052).exp()

    def forward(batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        pixels, alpha = normalize_pixels(batch.images), normalize_alpha(batch.alpha)
        image = normalize(model.encode_image(pixels, alpha), dim=-1)
        with torch.no_grad():
            text = normalize(model.clip.encode_text(tokenizer(batch.captions)), dim=-1)
        return image, text, scale

    def batches(first: int, stop: int) -> NanoBatches:
        size, seed = model.image_size, recipe.seed + 1
        return NanoBatches(drawings, recipe.alpha.plan, size, seed, first, stop)

    optimizers = make_optimizers(model.clip.visual.named_parameters(), recipe.alpha)
    run_phase("alpha", recipe.alpha, model, forward, optimizers, folder, batches)
    return model.eval()


def save_nano(model: AlphaCLIP, path: Path) -> None:
    """Writes both towers as float16 safetensors."""
    tensors = {name: t.half().contiguous() for name, t in model.clip.state_dict().items()}
    metadata = {"name": "alphaclip-nano", "licence": "Apache-2.0", "format": "1"}
    partial = path.with_suffix(".partial")
    save_file(tensors, partial, metadata=metadata)
    partial.replace(path)


def nano_tokenizer(context_length: int) -> SimpleTokenizer:
    """open_clip's tokenizer over nano's shortened merges."""
    return SimpleTokenizer(str(NANO_FOLDER / "merges.txt.gz"), context_length=context_length)


def normalize_pixels(images: Tensor) -> Tensor:
    """uint8 (N, 3, R, R) to the float32 that CLIP's towers take."""
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (MEAN, STD))
    return (images.float() / 255.0 - mean) / std


def normalize_alpha(alpha: Tensor) -> Tensor:
    """uint8 (N, 1, R, R) to the float32 that the alpha convolution takes: (x - 0.5) / 0.26."""
    return (alpha.float() / 255.0 - 0.5) / 0.26


def make_optimizers(
    named: Iterator[tuple[str, nn.Parameter]], phase: Phase
) -> list[torch.optim.Optimizer]:
    """AdamW: decay on matrices only, the alpha convolution at its own rate."""
    matrices, others, alpha = [], [], []
    for name, parameter in named:
        if not parameter.requires_grad:
            continue
        if "conv1_alpha" in name:
            alpha.append(parameter)
        elif parameter.ndim >= 2 and "embedding" not in name:
            matrices.append(parameter)
        else:
            others.append(parameter)
    groups = [
        {"params": matrices, "lr": phase.rate, "weight_decay": phase.weight_decay},
        {"params": others, "lr": phase.rate, "weight_decay": 0.0},
        {"params": alpha, "lr": phase.alpha_rate, "weight_decay": phase.weight_decay},
    ]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98))
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    return [optimizer]

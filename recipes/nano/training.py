"""Trains ``alphaclip-nano``; stopped at any moment, it goes on from the last checkpoint."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from open_clip import CLIP, SimpleTokenizer
from open_clip.loss import ClipLoss
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import adaptive_avg_pool2d, cross_entropy, normalize

from alphaclip.catalog.zoo import NANO, NANO_FOLDER
from alphaclip.network.factory import create_model
from alphaclip.network.image_sizes import set_image_size
from alphaclip.network.model import AlphaCLIP
from alphaclip.network.region_queries import PREFIX, add_regions
from alphaclip.network.split_towers import find_tower
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
from recipes.nano.data import Batch, NanoBatches, PictureBatches
from recipes.nano.drawings import concepts
from recipes.nano.phase import run_phase
from recipes.nano.recipe import NanoRecipe, Phase

logger = logging.getLogger(__name__)

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
"""OpenAI's, which Alpha-CLIP's towers take; nano has them so that it is loaded as they are."""

_OTHERS = 1024
"""Captions that are wrong for every picture, as many as the pictures that figures are of."""

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
        return _figures(image, text, scale, names.loss(image, text, batch.concepts))

    size = config["vision_cfg"]["image_size"]
    batches = partial(NanoBatches, drawings, recipe.base.plan, size, recipe.seed)
    give_fast_projections(model, torch.device(device), torch.bfloat16)
    both = nn.ModuleDict({"model": model, "names": names}).to(device)
    optimizers = make_optimizers(both.named_parameters(), recipe.base)
    run_phase("base", recipe.base, both, forward, optimizers, folder, batches, _row)
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
        return _figures(image, text, scale, _named_loss(image, names, scale, batch.concepts))

    give_fast_projections(model.clip, scale.device, torch.bfloat16)
    phase = recipe.alpha
    batches = partial(NanoBatches, drawings, phase.plan, model.image_size, recipe.seed + 1)
    optimizers = make_optimizers(model.clip.visual.named_parameters(), phase)
    run_phase("alpha", phase, model, forward, optimizers, folder, batches, _row)
    return model.eval()


def train_regions(recipe: NanoRecipe, alpha: AlphaCLIP, drawings: Path, folder: Path) -> AlphaCLIP:
    """Teaches the image tower to see all regions of a whole picture in one pass.

    Args:
        recipe: what to do
        alpha: a trained model, where it is trained on; it is not changed
        drawings: the artists' archives
        folder: where checkpoint and log are kept; a run found there is continued

    Returns:
        a model of larger pictures, with region queries; its text tower and temperature are as they
        were
    """
    torch.manual_seed(recipe.seed)
    model, device = with_regions(alpha, recipe), alpha.clip.logit_scale.device
    visual: Any = model.clip.visual
    tower, queries = find_tower(visual, NANO, recipe.region_blocks), visual.regions
    model.clip.requires_grad_(False)
    visual.proj.requires_grad_(True)
    for part in (queries, visual.ln_post, *visual.transformer.resblocks[-tower.depth :]):
        part.requires_grad_(True)
    tokenizer = nano_tokenizer(model.clip.context_length)
    scale = model.clip.logit_scale.clamp(max=MOST_SCALE).exp()
    names = concept_features(model.clip, tokenizer)
    others = _other_captions(model.clip, tokenizer, drawings, recipe)

    def forward(batch: Batch) -> Figures:
        batch = batch.to(device)
        pixels = normalize_pixels(batch.images)
        all_ones = normalize_alpha(torch.full_like(batch.images[:, :1], 255))
        with mixed_half(device):
            tokens = tower.trunk(join_alpha(pixels, all_ones))
            vectors = queries.attend(tower, tokens, batch.alpha[:, :, None] / 255)
            image = normalize(vectors.flatten(0, 1)[batch.rows].float(), dim=-1)
            with torch.no_grad():
                text = encode_captions(model.clip, tokenizer, batch)
        figures = _figures(image, text, scale, _named_loss(image, names, scale, batch.concepts))
        captions = torch.cat([text[-batch.whole :], others])
        numbers = torch.arange(batch.whole, device=device)
        whole = _named_loss(image[-batch.whole :], captions, scale, numbers)
        return {**figures, "loss": figures["loss"] + whole, "whole": whole}

    give_fast_projections(model.clip, device, torch.bfloat16)
    phase = recipe.regions
    batches = partial(PictureBatches, drawings, phase.plan, recipe.region_side, recipe.seed + 5)
    optimizers = make_optimizers(visual.named_parameters(), phase)
    run_phase("regions", phase, model, forward, optimizers, folder, batches, _row)
    return model.eval()


def _other_captions(
    model: CLIP, tokenizer: SimpleTokenizer, drawings: Path, recipe: NanoRecipe
) -> Tensor:
    """Unit vectors of captions of scenes that are never seen: a batch has too few that are wrong
    for a picture. The text tower is as it will be, so they are made once."""
    plan = replace(recipe.regions.plan, size=_OTHERS)
    batch = PictureBatches(drawings, plan, 8, recipe.seed + 6, 0, 1)[0]
    with torch.no_grad():
        tokens = tokenizer(batch.captions[-batch.whole :]).to(model.logit_scale.device)
        return encode_texts(model, tokens)


def _figures(image: Tensor, text: Tensor, scale: Tensor, named: Tensor) -> Figures:
    """Of unit vectors (N, D) that belong together, the logit scale, and the loss of telling the
    concepts apart by name."""
    paired = ClipLoss()(image, text, scale)
    return {
        "loss": paired + named, "paired": paired, "named": named, "scale": scale, "image": image,
        "text": text,
    }  # fmt: skip


def _row(figures: Figures) -> dict[str, float]:
    nearest = (figures["image"] @ figures["text"].T).argmax(dim=1)
    hits = nearest == torch.arange(len(nearest), device=nearest.device)
    row = {"loss": figures["paired"], "named": figures["named"], "scale": figures["scale"]}
    if "whole" in figures:
        row["whole"] = figures["whole"]
    return {name: figure.item() for name, figure in row.items()} | {
        "hit": hits.float().mean().item()
    }


def with_alpha(base: CLIP) -> AlphaCLIP:
    """A copy of the base with an alpha convolution of zeros: equal to it for any alpha map."""
    model = create_model(NANO_FOLDER / "alphaclip-nano.json")
    model.clip.load_state_dict(base.state_dict(), strict=False)
    model.has_text = True
    return model.to(base.logit_scale.device).eval()


def with_regions(alpha: AlphaCLIP, recipe: NanoRecipe) -> AlphaCLIP:
    """A copy for larger pictures, with untrained region queries."""
    model = deepcopy(alpha)
    set_image_size(model, recipe.region_side)
    tower = find_tower(model.clip.visual, NANO, recipe.region_blocks)
    add_regions(model.clip.visual, tower, edge=0.0, sees_alpha=False)
    return model.to(alpha.clip.logit_scale.device)


def save_nano(model: AlphaCLIP, path: Path) -> None:
    """Writes both towers as float16 safetensors."""
    tensors = {name: t.half().contiguous() for name, t in model.clip.state_dict().items()}
    write_checkpoint(tensors, path, {"name": "alphaclip-nano", "licence": "Apache-2.0"})


def save_regions(model: AlphaCLIP, path: Path) -> None:
    """Writes what a model with region queries has learnt beyond nano, as float16 safetensors."""
    learnt = {n: p for n, p in model.clip.named_parameters() if p.requires_grad}
    fixed = {n: b for n, b in model.clip.named_buffers() if n.startswith(PREFIX)}
    tensors = {n: t.detach().half().contiguous() for n, t in {**learnt, **fixed}.items()}
    about = {"name": f"{NANO}+regions", "licence": "Apache-2.0", "image_size": model.image_size}
    write_checkpoint(tensors, path, {name: str(value) for name, value in about.items()})


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
            _named_loss(side, vectors, self._scale, truth) for side in (image, text)
        )
        return (of_image + of_text) / 2


@contextmanager
def mixed_half(device: torch.device) -> Iterator[None]:
    """Matrix products in bfloat16, which the CPUs that this is trained on have."""
    with mixed_precision(device, torch.bfloat16), fast_attention(device, torch.bfloat16):
        yield


def _named_loss(features: Tensor, names: Tensor, scale: Tensor | float, truth: Tensor) -> Tensor:
    return cross_entropy(scale * features[: len(truth)] @ names.T, truth)

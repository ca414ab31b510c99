"""The regions and finer phases: all regions of a picture in one pass of the image tower."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from open_clip import CLIP, SimpleTokenizer
from torch import Tensor
from torch.nn.functional import normalize

from alphaclip.catalog.zoo import NANO
from alphaclip.network.image_sizes import set_image_size
from alphaclip.network.model import AlphaCLIP
from alphaclip.network.region_queries import PREFIX, add_regions
from alphaclip.network.split_towers import find_tower
from alphaclip.training.finetune.loop import Figures
from alphaclip.training.finetune.optimization.precision import give_fast_projections
from alphaclip.weights.alpha_channel import join_alpha
from alphaclip.weights.checkpoints import write_checkpoint
from recipes.nano.data import Batch, PictureBatches
from recipes.nano.phase import run_phase
from recipes.nano.recipe import NanoRecipe, Phase
from recipes.nano.training import (
    MOST_SCALE,
    concept_features,
    encode_captions,
    encode_texts,
    half_type,
    join_figures,
    make_optimizers,
    make_row,
    mixed_half,
    named_loss,
    nano_tokenizer,
    normalize_alpha,
    normalize_pixels,
)

TEACH = 10.0
"""Weight of drawing a region of a whole picture to what nano sees of it in a pass of its own."""

_OTHERS = 1024
"""Captions that are wrong for every picture, as many as the pictures that figures are of."""


def train_regions(recipe: NanoRecipe, alpha: AlphaCLIP, drawings: Path, folder: Path) -> AlphaCLIP:
    """Teaches the image tower to see all regions of a whole picture in one pass.

    In the second of its two phases nano is the teacher: the vector of a region is drawn to that
    of a pass of its own by its mask, also where the queries have no more than its box.

    Args:
        recipe: what to do
        alpha: a trained model, where it is trained on; it is not changed
        drawings: the artists' archives
        folder: where checkpoints and logs are kept; a run found there is continued

    Returns:
        a model of larger pictures, with region queries; its text tower and temperature are as they
        were
    """
    torch.manual_seed(recipe.seed)
    model, finer = (with_regions(alpha, recipe, side) for side in recipe.region_sides)
    _train_queries("regions", recipe, model, None, drawings, folder)
    # The positions stay nano's, which a file of changes to it does without.
    finer.clip.load_state_dict(_learnt(model), strict=False)
    _train_queries("finer", recipe, finer, alpha, drawings, folder)
    return finer.eval()


def _train_queries(
    name: str,
    recipe: NanoRecipe,
    model: AlphaCLIP,
    teacher: AlphaCLIP | None,
    drawings: Path,
    folder: Path,
) -> None:
    """One phase of a model with region queries; the text tower is as it will be."""
    phase: Phase = getattr(recipe, name)
    visual: Any = model.clip.visual
    tower, queries = find_tower(visual, NANO, recipe.region_blocks), visual.regions
    tokenizer, device = nano_tokenizer(model.clip.context_length), model.clip.logit_scale.device
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
                taught = None if teacher is None else _see_squares(teacher, batch.squares)
        figures = join_figures(image, text, scale, named_loss(image, names, scale, batch.concepts))
        captions = torch.cat([text[-batch.whole :], others])
        numbers = torch.arange(batch.whole, device=device)
        whole = named_loss(image[-batch.whole :], captions, scale, numbers)
        loss, losses = figures["loss"] + whole, {"whole": whole}
        if taught is not None:
            losses["apart"] = 1 - (image[: len(taught)] * taught).sum(dim=1).mean()
            loss = loss + TEACH * losses["apart"]
        return {**figures, **losses, "loss": loss}

    give_fast_projections(model.clip, device, half_type(device))
    seed = recipe.seed + (5 if teacher is None else 9)
    batches = partial(PictureBatches, drawings, phase.plan, model.image_size, seed)
    optimizers = make_optimizers(visual.named_parameters(), phase)
    run_phase(name, phase, model, forward, optimizers, folder, batches, make_row)


def _see_squares(alpha: AlphaCLIP, squares: Tensor) -> Tensor:
    """Unit vectors (N, D) that nano has of regions, each in a square of its own."""
    pixels, maps = normalize_pixels(squares[:, :3]), normalize_alpha(squares[:, 3:])
    vectors = alpha.encode_image(pixels, maps)
    return normalize(vectors.float(), dim=-1)


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


def with_regions(alpha: AlphaCLIP, recipe: NanoRecipe, side: int) -> AlphaCLIP:
    """A copy for pictures of ``side`` pixels, with untrained region queries; these, and what they
    pass through, are what can be trained of it."""
    model = deepcopy(alpha)
    set_image_size(model, side)
    visual: Any = model.clip.visual
    tower = find_tower(visual, NANO, recipe.region_blocks)
    add_regions(visual, tower, edge=0.0, sees_alpha=False)
    model.clip.requires_grad_(False)
    visual.proj.requires_grad_(True)
    for part in (visual.regions, visual.ln_post, *visual.transformer.resblocks[-tower.depth :]):
        part.requires_grad_(True)
    return model.to(alpha.clip.logit_scale.device)


def save_regions(model: AlphaCLIP, path: Path) -> None:
    """Writes what a model with region queries has learnt beyond nano, as float16 safetensors."""
    tensors = {name: t.half().contiguous() for name, t in _learnt(model).items()}
    about = {"name": f"{NANO}+regions", "licence": "Apache-2.0", "image_size": model.image_size}
    write_checkpoint(tensors, path, {name: str(value) for name, value in about.items()})


def _learnt(model: AlphaCLIP) -> dict[str, Tensor]:
    """What a model with region queries has beyond nano."""
    trained = {n: p.detach() for n, p in model.clip.named_parameters() if p.requires_grad}
    fixed = {n: b for n, b in model.clip.named_buffers() if n.startswith(PREFIX)}
    return {**trained, **fixed}

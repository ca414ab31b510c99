"""The captions phase: nano's text tower learns to tell captions of whole pictures apart."""

from __future__ import annotations

import logging
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from open_clip.loss import ClipLoss
from torch import Tensor
from torch.nn.functional import avg_pool2d, normalize
from torch.utils.data import Dataset

from alphaclip.network.model import AlphaCLIP
from alphaclip.training.datasets.words import article
from alphaclip.training.finetune.loop import Figures, make_loader
from recipes.nano.captions import TEMPLATES, join
from recipes.nano.data import Batch, PictureBatches
from recipes.nano.drawings import concepts
from recipes.nano.parts import join_parts, read_part, write_part
from recipes.nano.phase import run_phase
from recipes.nano.recipe import NanoRecipe
from recipes.nano.training import (
    concept_features,
    encode_texts,
    encode_views,
    make_optimizers,
    nano_tokenizer,
)

logger = logging.getLogger(__name__)

PART = 250
"""Pictures in a file: some seconds' work, which is what a stop may lose."""

SHORT = 128
"""Captions of one object in a step, whose vectors are to stay where they are."""

SCALE = 20.0
"""Of the logits; one that was learnt stayed there."""

STAY = 50.0
"""Weight of staying: with it, cosines to the vectors before are above 0.99."""


@dataclass(frozen=True)
class CaptionedPictures:
    """Pictures as the trained image towers see them, and what there is to say of them.

    Attributes:
        vectors: float16 (n, 2, dim), of the whole picture: nano's, and that of one pass
        captions: (n,), of the whole picture
        objects: (m,), captions of one object each, picture by picture
        concepts: int64 (m,), what each object is
        counts: int64 (n,), how many objects each picture has
    """

    vectors: np.ndarray
    captions: np.ndarray
    objects: np.ndarray
    concepts: np.ndarray
    counts: np.ndarray


@dataclass(frozen=True)
class CaptionBatch:
    """Captions of P pictures, what the text tower is to find them by, float32 (3, P, dim), and
    captions of one object each."""

    captions: list[str]
    targets: Tensor
    objects: list[str]


class CaptionBatches(Dataset[CaptionBatch]):
    """Item ``i`` is the batch of step ``start + i``.

    A picture is to be found by either vector of it, and by the mean of its drawings' names, which
    knows them better than the image towers do. Half of the captions are a list of these names in
    an order of its own: there are fewer pictures than orders.

    Args:
        pictures: to speak of
        names: unit vectors (concepts, dim) of the names
        size: pictures in a batch
        seed: with the step, the seed of everything in a batch
        start: first step
        stop: step after the last
    """

    def __init__(
        self, pictures: CaptionedPictures, names: Tensor, size: int, seed: int, start: int,
        stop: int,
    ) -> None:  # fmt: skip
        self._pictures, self._names, self._size = pictures, names, size
        self._seed, self._start, self._stop = seed, start, stop
        self._concepts = np.split(pictures.concepts, np.cumsum(pictures.counts)[:-1])

    def __len__(self) -> int:
        return self._stop - self._start

    def __getitem__(self, index: int) -> CaptionBatch:
        rng = np.random.default_rng([self._seed, self._start + index])
        rows = rng.permutation(len(self._concepts))[: self._size]
        captions = [self._caption(row, rng) for row in rows]
        named = torch.stack([self._names[self._concepts[row]].mean(dim=0) for row in rows])
        seen = torch.from_numpy(self._pictures.vectors[rows]).float().unbind(dim=1)
        targets = torch.stack([normalize(named, dim=-1), *seen])
        objects = rng.choice(self._pictures.objects, SHORT).tolist()
        return CaptionBatch(captions, targets, objects)

    def _caption(self, row: int, rng: np.random.Generator) -> str:
        if rng.random() < 0.5:
            return str(self._pictures.captions[row])
        names = [article(concepts()[c].name) for c in rng.permutation(self._concepts[row])]
        return TEMPLATES[rng.integers(len(TEMPLATES))].format(join(names))


def train_captions(
    recipe: NanoRecipe, alpha: AlphaCLIP, regions: AlphaCLIP, drawings: Path, folder: Path
) -> dict[str, Tensor]:
    """Trains the text tower on captions of whole pictures; the image towers stay as they are.

    What one object is called keeps the vector that it has, which is what regions are found by.

    Args:
        recipe: what to do
        alpha: nano; it is not changed
        regions: the same with region queries, likewise
        drawings: the artists' archives
        folder: where pictures, checkpoint and log are kept; a run found there is continued

    Returns:
        the text tower's weights by their names in open_clip's models, for both
    """
    torch.manual_seed(recipe.seed)
    pictures = _draw_pictures(recipe, alpha, regions, drawings, folder / "pictures")
    model, before = deepcopy(alpha.clip), alpha.clip
    model.requires_grad_(False)
    weights = {n: p for n, p in model.named_parameters() if not n.startswith("visual.")}
    del weights["logit_scale"]
    for weight in weights.values():
        weight.requires_grad_(True)
    tokenizer, device = nano_tokenizer(model.context_length), model.logit_scale.device

    def forward(batch: CaptionBatch) -> Figures:
        captions, objects = (tokenizer(t).to(device) for t in (batch.captions, batch.objects))
        with torch.no_grad():
            stay = encode_texts(before, objects)
        moved = 1 - (encode_texts(model, objects) * stay).sum(dim=1).mean()
        text = encode_texts(model, captions)
        targets = batch.targets.to(device)
        names, nano, whole = (ClipLoss()(seen, text, SCALE) for seen in targets)
        loss = names + (nano + whole) / 2 + STAY * moved
        nearest = (targets[-1] @ text.T).argmax(dim=1)
        hit = (nearest == torch.arange(len(text), device=device)).float().mean()
        return {
            "loss": loss, "names": names, "nano": nano, "whole": whole, "moved": moved, "hit": hit,
        }  # fmt: skip

    def row(figures: Figures) -> dict[str, float]:
        return {name: figure.item() for name, figure in figures.items()}

    names, phase = concept_features(before, tokenizer).cpu(), recipe.captions
    batches = partial(CaptionBatches, pictures, names, phase.plan.size, recipe.seed + 8)
    optimizers = make_optimizers(iter(weights.items()), phase)
    run_phase("captions", phase, model, forward, optimizers, folder, batches, row, workers=0)
    return {name: weight.detach() for name, weight in weights.items()}


def _draw_pictures(
    recipe: NanoRecipe, alpha: AlphaCLIP, regions: AlphaCLIP, drawings: Path, folder: Path
) -> CaptionedPictures:
    """Those of ``recipe.caption_parts`` parts; parts that are in the folder are read."""
    plan = replace(recipe.captions.plan, size=PART)
    done = len(list(folder.glob("*.npz")))
    drawn = PictureBatches(
        drawings, plan, regions.image_size, recipe.seed + 7, done, recipe.caption_parts
    )
    for number, batch in enumerate(make_loader(drawn), start=done):
        part = _see(alpha, regions, batch)
        path = folder / f"{number:04d}.npz"
        write_part(path, part)
        logger.info("%s: %d pictures", path, PART)
    return join_parts([read_part(path, CaptionedPictures) for path in sorted(folder.glob("*.npz"))])


def _see(alpha: AlphaCLIP, regions: AlphaCLIP, batch: Batch) -> CaptionedPictures:
    vectors = []
    for model in (alpha, regions):
        images = avg_pool2d(batch.images.float(), batch.images.shape[-1] // model.image_size)
        vectors.append(encode_views(model, images, torch.full_like(images[:, :1], 255)).half())
    objects = len(batch.captions) - batch.whole
    return CaptionedPictures(
        torch.stack(vectors, dim=1).numpy(),
        np.array(batch.captions[objects:]),
        np.array(batch.captions[:objects]),
        batch.concepts.numpy(),
        np.bincount(batch.rows[:objects].numpy() // batch.alpha.shape[1]),
    )

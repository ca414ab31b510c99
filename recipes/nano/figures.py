"""Measures ``alphaclip-nano`` on scenes it never saw, and on an artist it never saw."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from sklearn.metrics import average_precision_score
from torch import Tensor
from torch.nn.functional import normalize

from alphaclip.catalog.methods import REGIONS
from alphaclip.catalog.zoo import NANO
from alphaclip.encoder.encoder import Encoder
from alphaclip.encoder.pooling import Pooled
from alphaclip.network.model import AlphaCLIP
from alphaclip.regions.region import Region
from alphaclip.views.cutter import make_views
from alphaclip.views.view import View
from recipes.nano.captions import plain_scene_caption
from recipes.nano.scenes import HELD_OUT, Scene, SpriteBook, compose
from recipes.nano.training import (
    concept_features,
    encode_views,
    nano_tokenizer,
)

logger = logging.getLogger(__name__)

VIEWS = (View("image"), View("context", 1.2), View("context", 1.5), View("context", 2.0))
"""Tried for the default."""

VIEW_SEED, FIGURE_SEED = 7001, 7002
"""Training's seeds are ``[NanoRecipe.seed + phase, step]``, phase being 0 to 9, of which 3 and 4
are the captioner's."""

ALPHAS = ("mask", "box", "all-ones")


def held_out_scenes(book: SpriteBook, count: int, seed: int) -> list[Scene]:
    """Scenes of drawings as their artists made them, each from its own seed."""
    return [compose(book, np.random.default_rng([seed, i]), HELD_OUT) for i in range(count)]


def best_view(model: AlphaCLIP, scenes: Sequence[Scene]) -> tuple[View, dict[str, float]]:
    """The view whose zero-shot top-1 with mask alpha is highest, and the figure of each."""
    names, truth = _names(model), _truth(scenes)
    scores = {v: _top1(encode_scenes(model, scenes, v, "mask"), names, truth) for v in VIEWS}
    return max(VIEWS, key=scores.__getitem__), {
        v.kind if v.kind == "image" else f"{v.kind} {v.context}": scores[v] for v in VIEWS
    }


def measure(
    model: AlphaCLIP, base: AlphaCLIP, regions: AlphaCLIP, scenes: Sequence[Scene], view: View
) -> dict[str, Any]:
    """Zero-shot and retrieval figures of one set of scenes.

    Args:
        model: after the alpha fine-tune
        base: before it; its alpha convolution is zero
        regions: after the regions phase; it sees each picture in one pass
        scenes: to measure on
        view: of the regions; the base is also measured on the box alone and on whole pictures

    Returns:
        number of regions and of concepts asked for; for each way of encoding ``top1`` over all
        concept names, ``recall@1`` and ``recall@10`` (share of names with a right region among
        the first k) and ``map`` of text to region
    """
    names, truth = _names(model), _truth(scenes)
    figures: dict[str, Any] = {"regions": len(truth), "concepts": len(np.unique(truth))}
    for alpha in ALPHAS:
        vectors = encode_scenes(model, scenes, view, alpha)
        figures[f"{alpha} alpha"] = _retrieval(vectors, names, truth)
    for alpha in ALPHAS[:2]:
        vectors = encode_pictures(regions, scenes, alpha)
        figures[f"one pass, {alpha}"] = _retrieval(vectors, names, truth)
    for title, base_view in (("crops", View("context", 1.2)), ("whole pictures", View("image"))):
        vectors = encode_scenes(base, scenes, base_view, "all-ones")
        figures[f"base on {title}"] = _retrieval(vectors, _names(base), truth)
    return figures


def caption_recall(model: AlphaCLIP, scenes: Sequence[Scene]) -> float:
    """Share of whole pictures, all-ones alpha, whose own caption is nearest among all scenes'."""
    tokens = nano_tokenizer(model.clip.context_length)([plain_scene_caption(s) for s in scenes])
    with torch.inference_mode():
        text = normalize(
            model.clip.encode_text(tokens.to(model.clip.logit_scale.device)), dim=-1
        ).cpu()
    views = [
        make_views(s.image, [Region.whole_image()], View("image"), model.image_size) for s in scenes
    ]
    image = encode_views(model, torch.cat([v[0] for v in views]), torch.cat([v[1] for v in views]))
    nearest = (image @ text.T).argmax(dim=1)
    return float((nearest == torch.arange(len(scenes))).float().mean())


def encode_scenes(model: AlphaCLIP, scenes: Sequence[Scene], view: View, alpha: str) -> Tensor:
    """Every object of every scene, in order: float32 (n, D) on the CPU, unit length."""
    images, maps = [], []
    for scene in scenes:
        pixels, alphas = make_views(scene.image, _regions(scene, alpha), view, model.image_size)
        images.append(pixels)
        maps.append(torch.full_like(alphas, 255) if alpha == "all-ones" else alphas)
    return encode_views(model, torch.cat(images), torch.cat(maps))


def encode_pictures(model: AlphaCLIP, scenes: Sequence[Scene], alpha: str) -> Tensor:
    """The same by region queries, each picture in one pass."""
    way, device = Pooled(model, REGIONS), model.clip.logit_scale.device
    encoder = Encoder(model, NANO, View("image"), device, torch.float32, way)
    rows = [encoder.encode_regions(s.image, _regions(s, alpha)) for s in scenes]
    return torch.from_numpy(np.concatenate(rows))


def _regions(scene: Scene, alpha: str) -> list[Region]:
    return [
        Region.from_mask(drawn.mask > 127) if alpha == "mask" else Region.from_box(drawn.box)
        for drawn in scene.objects
    ]


def _retrieval(vectors: Tensor, names: Tensor, truth: np.ndarray) -> dict[str, float]:
    present = np.unique(truth)
    similar = (names[present] @ vectors.T).numpy()
    relevant = truth[None] == present[:, None]
    ranked = np.take_along_axis(relevant, np.argsort(-similar, axis=1, kind="stable"), axis=1)
    precision = [average_precision_score(r, s) for r, s in zip(relevant, similar, strict=True)]
    return {
        "top1": _top1(vectors, names, truth),
        "recall@1": round(float(ranked[:, 0].mean()), 4),
        "recall@10": round(float(ranked[:, :10].any(axis=1).mean()), 4),
        "map": round(float(np.mean(precision)), 4),
    }


def _top1(vectors: Tensor, names: Tensor, truth: np.ndarray) -> float:
    return round(float(((vectors @ names.T).argmax(dim=1).numpy() == truth).mean()), 4)


def _names(model: AlphaCLIP) -> Tensor:
    return concept_features(model.clip, nano_tokenizer(model.clip.context_length)).cpu()


def _truth(scenes: Sequence[Scene]) -> np.ndarray:
    return np.array([drawn.concept for scene in scenes for drawn in scene.objects])

"""The model card of ``alphaclip-nano``: figures, recipe, sources; and its training curves."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alphaclip.network.model import AlphaCLIP
from alphaclip.training.evaluation.report.plots import written_figure
from alphaclip.training.finetune.logs import smooth
from recipes.nano.drawings import concepts, fetch, sources
from recipes.nano.figures import (
    FIGURE_SEED,
    VIEW_SEED,
    best_view,
    caption_recall,
    held_out_scenes,
    measure,
)
from recipes.nano.recipe import NanoRecipe
from recipes.nano.scenes import Scene, SpriteBook, held_out_sets, training_sets

SCENES = 1000

PHASES = ("base", "alpha", "regions", "finer", "captions")


def make_card(
    model: AlphaCLIP,
    base: AlphaCLIP,
    regions: AlphaCLIP,
    recipe: NanoRecipe,
    drawings: Path,
    scenes: int = SCENES,
) -> dict[str, Any]:
    """Measures the model and describes it.

    Args:
        model: after the alpha fine-tune
        base: before it
        regions: after the finer phase
        recipe: that all were trained by
        drawings: the artists' archives
        scenes (1000): to measure on, of each kind

    Returns:
        the card, JSON; the default view is the one that was best on scenes of a third seed
    """
    fetch(drawings)
    seen = SpriteBook(drawings, training_sets())
    view, tried = best_view(model, held_out_scenes(seen, scenes // 4, VIEW_SEED))
    held_out = held_out_scenes(seen, scenes, FIGURE_SEED)
    unseen = held_out_scenes(SpriteBook(drawings, held_out_sets()), scenes, FIGURE_SEED)
    figures = {
        "held-out scenes": measure(model, base, regions, held_out, view),
        "kept-out artist": measure(model, base, regions, unseen, view),
        "picture to caption, recall@1": _captions(model, base, regions, held_out),
        "top1 of views": tried,
    }
    return {
        "name": "alphaclip-nano",
        "licence": "Apache-2.0",
        "default_view": view.to_dict(),
        "figures": figures,
        "recipe": recipe.to_dict(),
        "sources": sources(),
        "concepts": [
            {"name": c.name, "code_point": c.code_point, "keywords": list(c.keywords)}
            for c in concepts()
        ],
    }


def draw_curves(folder: Path, path: Path) -> None:
    """Draws losses and in-batch recall of every phase.

    Args:
        folder: holds the logs, ``<phase>.jsonl``
        path: of the PNG
    """
    with written_figure(path, 15, 8) as figure:
        *axes, empty = figure.subplots(2, 3).flat
        empty.set_axis_off()
        for axis, name in zip(axes, PHASES, strict=True):
            _draw_phase(axis, name, folder / f"{name}.jsonl")


def _draw_phase(axis: Any, name: str, log: Path) -> None:
    rows = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    steps = [row["step"] for row in rows]
    titles = {
        "loss": "contrastive loss",
        "named": "loss over all names",
        "whole": "captions",
        "nano": "captions by nano",
        "names": "captions by names",
        "apart": "one less the cosine to nano",
    }
    for key, title in titles.items():
        if key in rows[0]:
            axis.plot(steps, smooth([row[key] for row in rows]), label=title)
    axis.set(title=f"{name} phase", xlabel="step", ylabel="loss", ylim=(0, None))
    recall = axis.twinx()
    recall.plot(steps, smooth([row["hit"] for row in rows]), "k:", label="recall@1 in the batch")
    recall.set(ylim=(0, 1))
    lines = axis.get_lines() + recall.get_lines()
    axis.legend(lines, [line.get_label() for line in lines], loc="center right")


def _captions(
    model: AlphaCLIP, base: AlphaCLIP, regions: AlphaCLIP, scenes: Sequence[Scene]
) -> dict[str, Any]:
    figures = {"alpha fine-tune, all-ones alpha": model, "one pass": regions, "base": base}
    recalls = {title: round(caption_recall(m, scenes), 4) for title, m in figures.items()}
    return {"scenes": len(scenes), **recalls}

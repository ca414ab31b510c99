"""The paper's experiments on the alpha fine-tune, at the size of alphaclip-nano.

    PYTHONPATH=. .venv/bin/python benchmarks/finetune_tables.py run FOLDER OUT
        [--only NAME ...] [--at-once 4]
    PYTHONPATH=. .venv/bin/python benchmarks/finetune_tables.py table OUT

FOLDER is that of ``python -m recipes.nano``: it has the drawings, and nano's base before the alpha
fine-tune. OUT gets the pairs (see ``scene_pairs.py``), a run for each setting and seed, and what it
reached, ``results/*.json``; whatever is there already is not done again. Each run starts from the
base and sees the same number of samples; its model is measured on scenes that none has seen.
``--at-once`` runs are done side by side, on one GPU if there is one.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import difference, machine
from open_clip import CLIP
from scene_pairs import write

from alphaclip.files import write_text
from alphaclip.network.model import AlphaCLIP
from alphaclip.training.evaluation.outcomes import Row
from alphaclip.training.evaluation.report.statistics import interval
from alphaclip.training.finetune.config import FinetuneConfig
from alphaclip.training.finetune.run import finetune
from alphaclip.views.view import View
from recipes.nano.figures import caption_recall, encode_scenes, held_out_scenes
from recipes.nano.scenes import Scene, SpriteBook, held_out_sets, training_sets
from recipes.nano.training import concept_features, nano_tokenizer, with_alpha

SCENES, SCENE_SEED = 200, 7003
SETS = {"1k": 200, "10k": 2100, "100k": 20_000}
"""Scenes of each set of pairs; a scene has five regions or so."""

PART = 1400
"""Scenes that are written together."""

SEEDS = (0, 1, 2)
VIEW = View("context", context=1.5)
ALPHAS = ("mask", "box", "all-ones")
NANO_BLOCKS = 7
FIRST = "as the paper"
RECIPE: dict[str, Any] = {
    "steps": 160,
    "batch_size": 64,
    "rate": 6e-4,
    "alpha_rate": 6e-3,
    "warm_up": 20,
    "geometry": "context",
    "log_every": 20,
    "checkpoint_every": 1000,
    "keep": ("last",),
    "precision": "bf16",
}


@dataclass(frozen=True)
class Setting:
    """An experiment: what is other than in the recipe, the pairs, and the seeds."""

    changed: Mapping[str, Any] = field(default_factory=dict)
    pairs: str = "10k"
    seeds: Sequence[int] = SEEDS


SETTINGS = {
    FIRST: Setting(),
    "r_s 0": Setting({"whole_share": 0.0}),
    "r_s 0.5": Setting({"whole_share": 0.5}),
    "r_s 1.0": Setting({"whole_share": 1.0}),
    "unfrozen blocks 0": Setting({"unfrozen_blocks": 0}),
    "unfrozen blocks half": Setting({"unfrozen_blocks": NANO_BLOCKS // 2}),
    "alpha from random": Setting({"alpha_init": "random"}),
    "no alpha channel": Setting({"use_alpha": False}),
    "1k pairs": Setting(pairs="1k"),
    "100k pairs": Setting(pairs="100k", seeds=SEEDS[:1]),
}


def main() -> None:
    """Runs what is missing, or prints the table of what is there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run")
    run.add_argument("folder", type=Path)
    run.add_argument("out", type=Path)
    run.add_argument("--only", nargs="+", choices=list(SETTINGS), default=list(SETTINGS))
    run.add_argument("--at-once", type=int, default=1, help="runs side by side")
    run.add_argument("--workers", type=int, default=0, help="processes for data of each run")
    table = commands.add_parser("table")
    table.add_argument("out", type=Path)
    options = parser.parse_args()
    if options.command == "table":
        sys.stdout.write("\n".join(table_lines(read_results(options.out))) + "\n")
        return
    run_all(options.folder, options.out, options.only, options.at_once, options.workers)


def run_all(folder: Path, out: Path, names: Sequence[str], at_once: int, workers: int) -> None:
    """Measures the base, and does the runs of some settings, several side by side."""
    _keep(out, "base", None, lambda: measure(_base(folder), _scenes(folder / "drawings")))
    runs = [(seed, name) for name in names for seed in SETTINGS[name].seeds]
    runs = [(seed, name) for seed, name in runs if not _result(out, name, seed).exists()]
    runs.sort(key=lambda run: run[0])
    threads = max(1, (os.cpu_count() or 1) // at_once)
    started = {"mp_context": get_context("spawn"), "initializer": torch.set_num_threads}
    with ProcessPoolExecutor(at_once, **started, initargs=(threads,)) as processes:
        for pairs in dict.fromkeys(SETTINGS[name].pairs for _, name in runs):
            list(processes.map(_write_part, *zip(*_parts(folder, out, pairs), strict=True)))
        asked = [(folder, out, name, seed, workers) for seed, name in runs]
        for done in [processes.submit(_run_kept, *one) for one in asked]:
            done.result()


def measure(model: AlphaCLIP, sets: Mapping[str, Sequence[Scene]]) -> dict[str, Any]:
    """What a model gets right.

    Returns:
        for each set of scenes and each alpha map, a 0 or 1 for each region in order: whether its
        concept is the nearest of all; and the share of whole pictures whose caption is
    """
    names = concept_features(model.clip, nano_tokenizer(model.clip.context_length)).cpu()
    found: dict[str, Any] = {}
    for title, scenes in sets.items():
        known = np.array([thing.concept for scene in scenes for thing in scene.objects])
        for alpha in ALPHAS:
            nearest = (encode_scenes(model, scenes, VIEW, alpha) @ names.T).argmax(dim=1).numpy()
            found[f"{title}, {alpha}"] = (nearest == known).astype(int).tolist()
        found[f"{title}, captions"] = caption_recall(model, scenes)
        found[f"{title}, pictures"] = [n for n, s in enumerate(scenes) for _ in s.objects]
    return found


def read_results(out: Path) -> dict[str, list[dict[str, Any]]]:
    """What was measured, by setting; one entry for each seed."""
    found: dict[str, list[dict[str, Any]]] = {}
    for path in sorted((out / "results").glob("*.json")):
        content = json.loads(path.read_text("utf-8"))
        found.setdefault(content["setting"], []).append(content)
    return found


def table_lines(results: Mapping[str, list[dict[str, Any]]]) -> list[str]:
    """Top-1 in percent of every setting, and what it is above or below the recipe.

    Intervals are by a bootstrap over pictures of the mean over seeds, paired with the recipe's;
    they do not count how seeds differ, which the last column shows.
    """
    columns = [f"{title}, {alpha}" for title in ("known", "unseen") for alpha in ALPHAS]
    head = [
        "setting",
        "seeds",
        *columns,
        "difference with mask, known",
        "unseen",
        "captions, known",
    ]
    lines = [head, ["---"] * len(head)]
    order = ["base", *(name for name in SETTINGS if name in results)]
    for name in (name for name in order if name in results):
        lines.append(_line(name, results[name], results.get(FIRST, [])))
    return [f"| {' | '.join(line)} |" for line in lines]


def _line(name: str, own: list[dict[str, Any]], first: list[dict[str, Any]]) -> list[str]:
    line = [name, str(len(own))]
    for title in ("known", "unseen"):
        line += [_spread([100 * np.mean(one[f"{title}, {a}"]) for one in own]) for a in ALPHAS]
    for title in ("known", "unseen"):
        if name == FIRST or not first:
            line.append("-")
        else:
            found = interval([_rows(runs, f"{title}, mask", title) for runs in (own, first)])
            line.append(difference(found.value, found.low, found.high))
    line.append(_spread([100 * one["known, captions"] for one in own]))
    return line


def _rows(runs: list[dict[str, Any]], figure: str, title: str) -> list[Row]:
    correct = np.mean([run[figure] for run in runs], axis=0)
    pictures = runs[0][f"{title}, pictures"]
    return [Row(str(n), str(p), c) for n, (p, c) in enumerate(zip(pictures, correct, strict=True))]


def _spread(values: Sequence[float]) -> str:
    mean = f"{np.mean(values):.1f}"
    return mean if len(values) < 2 else f"{mean} ({min(values):.1f} to {max(values):.1f})"


@cache
def _scenes(drawings: Path) -> dict[str, list[Scene]]:
    books = {"known": training_sets(), "unseen": held_out_sets()}
    return {
        title: held_out_scenes(SpriteBook(drawings, artists), SCENES, SCENE_SEED)
        for title, artists in books.items()
    }


def _base(folder: Path) -> AlphaCLIP:
    """Nano before its alpha fine-tune, with an alpha convolution of zeros."""
    import alphaclip.nano

    config = Path(alphaclip.nano.__file__).parent / "alphaclip-nano.json"
    state = torch.load(folder / "base.pt", map_location="cpu", weights_only=True)["model"]
    base = CLIP(**json.loads(config.read_text("utf-8")))
    base.load_state_dict(
        {k.removeprefix("model."): v for k, v in state.items() if k.startswith("model.")}
    )
    return with_alpha(base.eval())


def _parts(folder: Path, out: Path, name: str) -> list[tuple[Path, Path, range]]:
    """A set of pairs as the drawings, the folder and the scenes of each part of it."""
    starts = range(0, SETS[name], PART)
    scenes = [range(start, min(start + PART, SETS[name])) for start in starts]
    return [(folder / "drawings", out / f"pairs-{name}" / str(n), s) for n, s in enumerate(scenes)]


def _write_part(drawings: Path, folder: Path, scenes: range) -> None:
    write(drawings, folder, scenes)


def _run_kept(folder: Path, out: Path, name: str, seed: int, workers: int) -> None:
    _keep(out, name, seed, lambda: _run(folder, out, name, seed, workers))


def _run(folder: Path, out: Path, name: str, seed: int, workers: int) -> dict[str, Any]:
    setting = SETTINGS[name]
    model, output = _base(folder), out / "runs" / _file_name(name, seed)
    config = FinetuneConfig(
        model="alphaclip-nano",
        pairs=tuple(str(part) for _, part, _ in _parts(folder, out, setting.pairs)),
        output=str(output),
        seed=seed,
        **{**RECIPE, "workers": workers, **setting.changed},
    )
    report = finetune(config, model)
    if not report.finished:
        sys.exit("stopped; the same command goes on")
    found = measure(model.eval(), _scenes(folder / "drawings"))
    shutil.rmtree(output)
    return found | {"config": config.to_dict(), "report": asdict(report) | {"output": ""}}


def _keep(out: Path, name: str, seed: int | None, work: Callable[[], dict[str, Any]]) -> None:
    """Writes what came of some work, unless it is there already."""
    path = _result(out, name, seed)
    if path.exists():
        return
    content = {"setting": name, "seed": seed, "machine": machine(), **work()}
    write_text(path, json.dumps(content))
    figures = {k: f"{np.mean(v):.3f}" for k, v in content.items() if k.endswith(ALPHAS)}
    sys.stdout.write(f"{name}, seed {seed}: {figures}\n")
    sys.stdout.flush()


def _result(out: Path, name: str, seed: int | None) -> Path:
    return out / "results" / f"{_file_name(name, seed)}.json"


def _file_name(name: str, seed: int | None) -> str:
    return f"{name.replace(' ', '-')}{'' if seed is None else f'-seed-{seed}'}"


if __name__ == "__main__":
    main()

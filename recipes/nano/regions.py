"""Region queries at nano's size, beside a pass for each region: runs of equal processor time.

    PYTHONPATH=. python benchmarks/scene_pairs.py DRAWINGS OUT/pairs --scenes 800
    PYTHONPATH=. python benchmarks/held_out_scenes.py DRAWINGS OUT/held-out
    python -m recipes.nano.regions OUT --seconds 1500
    alphaclip eval regions --data OUT/held-out/unseen --show own --template "a drawing of {}" \
        --encoder OUT/runs/alpha/last OUT/runs/regions-3/last ...

    python -m recipes.nano.regions OUT --curve regions-3

Every run starts from nano's weights with an alpha channel of zeros, and trains as long as the
others: what a step takes is measured first, reading its data included. A run that is there is not
done again; one that was stopped goes on. The last line prints quality against passes: squares of
the view ``cover``, from a region's own to the whole picture.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from alphaclip.catalog.zoo import NANO, NANO_FOLDER
from alphaclip.encoder.load import load
from alphaclip.files import write_text
from alphaclip.network.factory import create_model
from alphaclip.training.datasets.coco import read_coco
from alphaclip.training.datasets.examples import Example
from alphaclip.training.evaluation.classification.classification import classify
from alphaclip.training.evaluation.classification.protocols import region_protocol
from alphaclip.training.finetune.checkpoints import write_configuration
from alphaclip.training.finetune.config import FinetuneConfig
from alphaclip.training.finetune.run import finetune
from alphaclip.views.view import View, cover
from alphaclip.weights.checkpoints import write_tensors

RECIPE: dict[str, Any] = {
    "model": "alphaclip-nano",
    "alpha_init": "zero",
    "batch_size": 64,
    "rate": 6e-4,
    "alpha_rate": 6e-3,
    "geometry": "context",
    "precision": "bf16",
    "workers": 0,
    "keep": ["last"],
    "checkpoint_every": 1000,
}
REGIONS: dict[str, Any] = {
    "method": "regions",
    "batch_size": 32,
    "region_count": 6,
    "context": [1.5, 4.0],
    "context_share": 0.8,
}
WHOLE: dict[str, Any] = {
    "method": "regions",
    "batch_size": 16,
    "region_count": 8,
    "region_blocks": 0,
    "geometry": "pad",
}
"""One pass a picture, which therefore has to have the pixels of all its regions."""

SETTINGS: dict[str, dict[str, Any]] = {
    "alpha": {},
    "regions-3": {**REGIONS, "region_blocks": 3},
    "regions-1": {**REGIONS, "region_blocks": 1},
    "regions-all": {**REGIONS, "region_blocks": 0},
    "regions-2": {**REGIONS, "region_blocks": 2},
    "regions-3-fixed": {**REGIONS, "region_blocks": 3, "region_bias": "fixed"},
    "regions-3-alpha": {**REGIONS, "region_blocks": 3, "region_alpha": True, "batch_size": 12},
    "regions-3-edge": {**REGIONS, "region_blocks": 3, "region_edge": 0.5},
    "alpha-whole-128": {"geometry": "pad", "image_size": 128, "batch_size": 32},
    "whole-128": {**WHOLE, "image_size": 128},
    "whole-192": {**WHOLE, "image_size": 192},
    "whole-128-taught": {**WHOLE, "image_size": 128, "region_teacher": 1.0},
}
"""Runs by name; a picture has five regions or so, all of which are in a step of ``regions``."""

CONTEXTS = (1.5, 2.0, 3.0, 4.0, 6.0, 100.0)

PROBE = 4
"""Steps by which the time of one is measured; as many before them do not count."""


def main() -> None:
    """Does the runs that are missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--seconds", type=float, default=1500.0, help="of a processor, for a run")
    parser.add_argument("--only", nargs="+", choices=list(SETTINGS), default=list(SETTINGS))
    parser.add_argument("--curve", metavar="NAME", help="of a run: figures by view, and no run")
    parser.add_argument(
        "--scratch", action="store_true", help="runs from a new image tower, under OUT/scratch"
    )
    options = parser.parse_args()
    if options.scratch:
        options.out = _scratch(options.out)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if options.curve is not None:
        curve(options.out, options.curve)
        return
    for name in options.only:
        run(options.out, name, options.seconds)


def _scratch(out: Path) -> Path:
    """A folder whose runs start from a random image tower beside nano's text tower."""
    folder = out / "scratch"
    if not (folder / "start").exists():
        folder.mkdir()
        for name in ("pairs", "held-out"):
            (folder / name).symlink_to(Path("..", name))
        torch.manual_seed(0)
        nano, new = create_model(NANO), create_model(NANO_FOLDER / f"{NANO}.json")
        new.clip.load_state_dict(
            {n: t for n, t in nano.clip.state_dict().items() if not n.startswith("visual.")},
            strict=False,
        )
        start = folder / "start"
        start.mkdir()
        write_configuration(nano, start)
        write_tensors(new.clip.state_dict(), start / "model.safetensors", {"licence": "none"})
    return folder


def run(out: Path, name: str, seconds: float) -> Mapping[str, Any]:
    """Does a run, or goes on with it.

    Args:
        out: with ``pairs``; gets ``runs/<name>``
        name: of a setting
        seconds: of a processor that its steps are to take

    Returns:
        its steps, what one was measured to take, and what all of them took
    """
    folder = out / "runs" / name
    report, plan = folder / "time.json", folder.with_suffix(".json")
    if report.exists():
        return json.loads(report.read_text("utf-8"))
    if not plan.exists():
        step = _step_time(out, name)
        write_text(plan, json.dumps({"step": step, "steps": max(PROBE, round(seconds / step))}))
    planned = json.loads(plan.read_text("utf-8"))
    started = time.process_time()
    if not finetune(_config(out, name, planned["steps"], folder)).finished:
        sys.exit("stopped: the same command goes on")
    content = {**planned, "seconds": time.process_time() - started}
    write_text(report, json.dumps(content))
    logging.info("%s: %s", name, content)
    return content


def curve(out: Path, name: str) -> None:
    """Prints passes a picture and top-1 in percent of a run's model, and of it with ``+maskattn``,
    for squares of each width."""
    protocol = region_protocol("own", templates=("a drawing of {}",))
    model = out / "runs" / name / "last"
    for which in ("seen", "unseen"):
        regions = read_coco(out / "held-out" / which, "val2017")
        for context in CONTEXTS:
            view = View("cover", context=context)
            squares = sum(len({*_squares(example, view).values()}) for example in regions.examples)
            figures = [
                classify(load(encoder, "cpu", "fp32", view), regions, protocol).metrics["top-1"]
                for encoder in (str(model), f"{model}+maskattn")
            ]
            passes = squares / len(regions.examples)
            sys.stdout.write(f"{which}, {context:g}: {passes:.2f} passes, {figures} %\n")
            sys.stdout.flush()


def _squares(example: Example, view: View) -> Mapping[Any, Any]:
    shape = example.height, example.width
    bounds = [labelled.region.bounds(*shape) for labelled in example.regions]
    return cover(bounds, view, *shape)


def _step_time(out: Path, name: str) -> float:
    """Processor seconds of a step, of its batch too."""
    folder, moments = out / "probe" / name, list[float]()
    shutil.rmtree(folder, ignore_errors=True)
    config = _config(out, name, 2 * PROBE, folder)
    finetune(config, progress=lambda done, steps: moments.append(time.process_time()))
    shutil.rmtree(folder, ignore_errors=True)
    # The last step's moment is after the checkpoint.
    return (moments[-2] - moments[PROBE - 2]) / PROBE


def _config(out: Path, name: str, steps: int, folder: Path) -> FinetuneConfig:
    stated = {"pairs": [str(out / "pairs")], "output": str(folder), "steps": steps}
    start = {"model": str(out / "start")} if (out / "start").exists() else {}
    return FinetuneConfig.from_dict(
        {**RECIPE, **start, "warm_up": min(20, steps // 4), **SETTINGS[name], **stated}
    )


if __name__ == "__main__":
    main()

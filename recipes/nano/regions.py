"""Region queries at nano's size, beside a pass for each region: runs of equal processor time.

    PYTHONPATH=. python benchmarks/scene_pairs.py DRAWINGS OUT/pairs --scenes 800
    PYTHONPATH=. python benchmarks/held_out_scenes.py DRAWINGS OUT/held-out
    python -m recipes.nano.regions OUT --seconds 1500
    alphaclip eval regions --data OUT/held-out/unseen --show own --template "a drawing of {}" \
        --encoder OUT/runs/alpha/last OUT/runs/regions-3/last ...

Every run starts from nano's weights with an alpha channel of zeros, and trains as long as the
others: what a step takes is measured first. Which data are read is part of that time. A run that
is there is not done again; one that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alphaclip.files import write_text
from alphaclip.training.finetune.config import FinetuneConfig
from alphaclip.training.finetune.run import finetune

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
SETTINGS: dict[str, dict[str, Any]] = {
    "alpha": {},
    "regions-3": {**REGIONS, "region_blocks": 3},
    "regions-1": {**REGIONS, "region_blocks": 1},
    "regions-all": {**REGIONS, "region_blocks": 0},
    "regions-2": {**REGIONS, "region_blocks": 2},
    "regions-3-fixed": {**REGIONS, "region_blocks": 3, "region_bias": "fixed"},
    "regions-3-alpha": {**REGIONS, "region_blocks": 3, "region_alpha": True, "batch_size": 12},
    "regions-3-edge": {**REGIONS, "region_blocks": 3, "region_edge": 0.5},
}
"""Runs by name; a picture has five regions or so, all of which are in a step of ``regions``."""

PROBE = 4
"""Steps by which the time of one is measured; as many before them do not count."""


def main() -> None:
    """Does the runs that are missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--seconds", type=float, default=1500.0, help="of a processor, for a run")
    parser.add_argument("--only", nargs="+", choices=list(SETTINGS), default=list(SETTINGS))
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for name in options.only:
        run(options.out, name, options.seconds)


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
    finetune(_config(out, name, planned["steps"], folder))
    content = {**planned, "seconds": time.process_time() - started}
    write_text(report, json.dumps(content))
    logging.info("%s: %s", name, content)
    return content


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
    return FinetuneConfig.from_dict(
        {**RECIPE, "warm_up": min(20, steps // 4), **SETTINGS[name], **stated}
    )


if __name__ == "__main__":
    main()

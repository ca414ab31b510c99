"""Measures fine-tuning beside open_clip's own training loop: samples a second, and time waited.

    .venv/bin/python benchmarks/training.py PAIRS [--model nano|ViT-B-16-quickgelu] [--batch 64]
        [--steps 20] [--workers 1]

PAIRS is a set of pairs (see ``scene_pairs.py``), which our loop reads, decodes, cuts, tokenises;
open_clip's loop gets its own synthetic data, the same blank picture and caption each time, which
costs nearly nothing. Both train the image tower of the same random model by AdamW in fp32 (bf16 on
a GPU), the text tower locked, with as many processes for data, each in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import logging
import re
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from measuring import machine, run_as_step, run_step, tell

NANO_SIZED = "nano-sized"
SPEED = re.compile(r"([\d.]+)/s, [\d.]+/s/gpu")
SKIPPED = 2
"""First log lines of either loop, which hold the start."""


def main() -> None:
    """Prints a table of both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--model", default="nano", help="nano, or an architecture of open_clip")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--workers", type=int, default=1, help="processes for data")
    parser.add_argument("--compile", action="store_true", help="ours through torch.compile")
    options = {n: str(v) if n == "pairs" else v for n, v in vars(parser.parse_args()).items()}
    tell(str(machine()))
    lines = [["loop", "samples a second", "share of time waiting for data", "peak memory"]]
    for step, title in (("ours", "alphaclip train"), ("open_clip", "open_clip_train")):
        found = run_step("training.py", step, options)
        waiting = f"{100 * found['waiting']:.0f} %" if "waiting" in found else "not said"
        memory = f"{found['peak_memory'] / 1e6:.0f} MB"
        lines.append([f"`{title}`", f"{found['per_second']:.1f}", waiting, memory])
    lines.insert(1, ["---"] * len(lines[0]))
    sys.stdout.write("".join(f"| {' | '.join(line)} |\n" for line in lines))


def ours(options: dict[str, Any]) -> dict[str, Any]:
    """The fine-tune of this project."""
    import torch

    from alphaclip.network.factory import create_model
    from alphaclip.training.finetune.config import FinetuneConfig
    from alphaclip.training.finetune.logs import RowLog
    from alphaclip.training.finetune.run import finetune

    settings = _configuration(options["model"])
    model = create_model(settings if options["model"] == "nano" else options["model"])
    model.has_text = True
    with TemporaryDirectory(prefix="benchmark-") as output:
        config = FinetuneConfig(
            model=options["model"],
            pairs=(options["pairs"],),
            output=output,
            steps=options["steps"],
            batch_size=options["batch"],
            warm_up=1,
            log_every=5,
            checkpoint_every=10**6,
            keep=("last",),
            workers=options["workers"],
            compile=options["compile"],
            precision="bf16" if torch.cuda.is_available() else "fp32",
        )
        report = finetune(config, model)
        rows = RowLog(report.output / "log.csv").rows()[SKIPPED:]
    speeds = [row["samples_per_second"] for row in rows]
    return {"per_second": float(np.median(speeds)), "waiting": report.waiting}


def open_clip(options: dict[str, Any]) -> dict[str, Any]:
    """open_clip's training loop."""
    import open_clip
    import torch
    from open_clip_train.main import main as train

    lines = _Lines()
    with TemporaryDirectory(prefix="benchmark-") as folder:
        name = options["model"]
        if name == "nano":
            name = NANO_SIZED
            path = Path(folder) / f"{name}.json"
            path.write_text(json.dumps(_configuration("nano")))
            open_clip.add_model_config(path)
        logging.getLogger().addHandler(lines)
        samples = options["batch"] * options["steps"]
        train([
            "--dataset-type", "synthetic", "--train-num-samples", str(samples),
            "--batch-size", str(options["batch"]), "--model", name,
            "--lock-text", "--lock-text-freeze-layer-norm",
            "--precision", "amp_bf16" if torch.cuda.is_available() else "fp32",
            "--workers", str(options["workers"]), "--epochs", "1", "--warmup", "1",
            "--log-every-n-steps", "5", "--save-frequency", "0", "--logs", folder, "--name", "run",
        ])  # fmt: skip
    return {"per_second": float(np.median(lines.speeds[SKIPPED:] or lines.speeds))}


class _Lines(logging.Handler):
    """Keeps the speeds that are logged."""

    def __init__(self) -> None:
        super().__init__()
        self.speeds: list[float] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.speeds += [float(found) for found in SPEED.findall(record.getMessage())]


def _configuration(model: str) -> dict[str, Any] | None:
    """Nano's, with the vocabulary and context of CLIP's tokenizer; None for another model."""
    if model != "nano":
        return None
    import alphaclip.nano

    path = Path(alphaclip.nano.__file__).parent / "alphaclip-nano.json"
    settings: dict[str, Any] = json.loads(path.read_text("utf-8"))
    settings["text_cfg"] |= {"context_length": 77, "vocab_size": 49408}
    return settings


if __name__ == "__main__":
    if not run_as_step({"ours": ours, "open_clip": open_clip}):
        main()

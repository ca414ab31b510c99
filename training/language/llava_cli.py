"""``alphaclip train-llava``: the two stages of a LLaVA with an Alpha-CLIP tower."""

from __future__ import annotations

import argparse
import logging
from dataclasses import fields

from alphaclip.training.finetune.cli import STOPPED

_DESCRIPTION = """\
Trains a LLaVA to speak of regions, in two stages. Stage 1 trains the projector on whole pictures
with their captions; LLaVA 1.5 comes with a trained one, so that it can be left out. Stage 2 trains
the language model on regions with their texts, an Alpha-CLIP image encoder in the place of its own.
The other parts stay as they are. Run again after an interruption, it goes on.

Pairs are made by `alphaclip pairs`, which reads RefCOCOg and Visual Genome too."""


def add_parsers(subparsers: argparse._SubParsersAction) -> None:
    """Adds ``train-llava``."""
    parser = subparsers.add_parser(
        "train-llava",
        help="train a LLaVA to speak of regions; run again to go on",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", required=True, help="a LLaVA: its folder or name")
    parser.add_argument(
        "--pairs", nargs="+", required=True, metavar="FOLDER", help="train on these"
    )
    parser.add_argument(
        "--output", required=True, metavar="FOLDER", help="checkpoints, logs, model"
    )
    parser.add_argument("--stage", type=int, choices=(1, 2), required=True)
    parser.add_argument(
        "--tower", metavar="CHECKPOINT", help="with an alpha channel, in the image encoder's place"
    )
    parser.add_argument(
        "--alpha", choices=("box", "mask", "mixed"), help="what is seen of a region (box)"
    )
    parser.add_argument(
        "--lora", type=int, metavar="RANK", help="train adapters, not the language model's weights"
    )
    parser.add_argument("--epochs", type=float, help="passes over the pairs (1)")
    parser.add_argument("--steps", type=int, help="in place of epochs")
    parser.add_argument("--batch-size", type=int, help="in a step, over all processes (256; 128)")
    parser.add_argument("--micro-batch", type=int, help="at a time in a process (8)")
    parser.add_argument("--rate", type=float, help="at its highest (1e-3; 2e-5, with lora 2e-4)")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16", "fp16"))
    parser.add_argument("--workers", type=int, help="processes that make batches (0)")
    parser.add_argument("--checkpoint-every", type=int, metavar="STEPS", help="(500)")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    from alphaclip.training.language.llava_config import LlavaConfig
    from alphaclip.training.language.llava_training import MODEL, train_llava

    logging.getLogger("alphaclip").setLevel(logging.INFO)
    named = {field.name: getattr(args, field.name, None) for field in fields(LlavaConfig)}
    stated = {name: value for name, value in named.items() if value is not None}
    report = train_llava(LlavaConfig(**stated))
    print(*report.lines(), sep="\n")
    if not report.finished:
        print("stopped: run the same again to go on")
        return STOPPED
    print(f"use it: alphaclip.language.load({str(report.output / MODEL)!r})")
    return 0

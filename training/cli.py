"""The training house's part of the command line."""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path

from alphaclip.training.finetune import cli as train
from alphaclip.training.pairs import cli as pairs


def add_parsers(subparsers: argparse._SubParsersAction) -> None:
    """Adds ``pairs``, ``train``, ``train-nano`` and ``eval``."""
    pairs.add_parsers(subparsers)
    train.add_parsers(subparsers)
    evaluation = subparsers.add_parser("eval", help="measure which encoder finds regions best")
    evaluation.add_later(_add_evaluation)
    parser = subparsers.add_parser(
        "train-nano",
        help="train alphaclip-nano from nothing; run again to go on after an interruption",
    )
    parser.add_argument("folder", type=Path, help="where drawings, checkpoints and logs are kept")
    parser.set_defaults(run=_train_nano)


def _add_evaluation(parser: argparse.ArgumentParser) -> None:
    from alphaclip.training.evaluation.cli import add_tasks

    add_tasks(parser)


def _train_nano(args: argparse.Namespace) -> int:
    import torch
    from alphaclip.training.card import draw_curves, make_card
    from alphaclip.training.drawings import fetch
    from alphaclip.training.nano_training import save_nano, train_alpha, train_base, with_alpha
    from alphaclip.training.recipe import NanoRecipe

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    drawings = args.folder / "drawings"
    fetch(drawings)
    recipe = NanoRecipe()
    base = train_base(recipe, drawings, args.folder, "cuda" if torch.cuda.is_available() else "cpu")
    model = train_alpha(recipe, base, drawings, args.folder).cpu()
    save_nano(model, args.folder / "model.safetensors")
    draw_curves(args.folder, args.folder / "curves.png")
    card = make_card(model, with_alpha(base.cpu()), recipe, drawings)
    (args.folder / "card.json").write_text(json.dumps(card, indent=1) + "\n", "utf-8")
    print(f"model.safetensors, card.json and curves.png are in {args.folder}")
    return 0

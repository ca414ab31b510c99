"""The training house's part of the command line."""

from __future__ import annotations

import argparse

from alphaclip.training.finetune import cli as train
from alphaclip.training.language import cli as train_captioner
from alphaclip.training.language import llava_cli as train_llava
from alphaclip.training.pairs import cli as pairs


def add_parsers(subparsers: argparse._SubParsersAction) -> None:
    """Adds ``pairs``, ``train``, ``train-captioner``, ``train-llava`` and ``eval``."""
    pairs.add_parsers(subparsers)
    train.add_parsers(subparsers)
    train_captioner.add_parsers(subparsers)
    train_llava.add_parsers(subparsers)
    evaluation = subparsers.add_parser("eval", help="measure encoders and describers")
    evaluation.add_later(_add_evaluation)


def _add_evaluation(parser: argparse.ArgumentParser) -> None:
    from alphaclip.training.evaluation.cli import add_tasks
    from alphaclip.training.language.describing import DESCRIBE
    from alphaclip.training.language.vqa import VQA

    add_tasks(parser, (DESCRIBE, VQA))

"""``alphaclip train``: fine-tunes an image encoder on region-text pairs."""

from __future__ import annotations

import argparse
import json
import logging
import os
from pathlib import Path
from typing import Any

STOPPED = 130
"""Exit status of a run that Ctrl-C or SIGTERM stopped, as shells have it."""

OUTPUT = "alphaclip-train"
"""Folder of a fine-tune on a dataset, unless the fields say another."""

_DESCRIPTION = """\
Trains the image encoder of a CLIP on region-text pairs, with the paper's recipe unless told
otherwise. Run again after an interruption, it goes on from the last checkpoint. On several GPUs:

  torchrun --nproc-per-node 8 --no-python alphaclip train --config FILE

On a dataset of FiftyOne, --dataset and --field make the pairs, keep a part of the pictures to
measure on, and choose settings that fit their number."""

_SHORTCUTS = ("model", "pairs", "output", "steps", "batch_size")


def add_parsers(subparsers: argparse._SubParsersAction) -> None:
    """Adds ``train`` and ``export-hub``."""
    parser = subparsers.add_parser(
        "train",
        help="fine-tune an encoder on region-text pairs; run again to go on",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help=".json, or .toml")
    parser.add_argument(
        "--set",
        dest="changes",
        nargs="+",
        action="extend",
        default=[],
        type=_change,
        metavar="NAME=VALUE",
        help="fields of the configuration, such as rate=1e-6 or keep='[\"last\"]'",
    )
    parser.add_argument("--model", help="field model: what to train")
    parser.add_argument("--pairs", nargs="+", metavar="FOLDER", help="field pairs: train on these")
    parser.add_argument("--output", metavar="FOLDER", help="field output: checkpoints and logs")
    parser.add_argument("--steps", type=int, help="field steps: optimiser steps")
    parser.add_argument("--batch-size", type=int, help="field batch_size: over all processes")
    parser.add_argument("--dataset", metavar="NAME", help="a FiftyOne dataset to train on")
    parser.add_argument("--field", help="its field with the regions")
    parser.add_argument(
        "--held-out", type=float, metavar="SHARE", help="of its pictures, to measure on (0.2)"
    )
    parser.add_argument(
        "--reviews",
        metavar="INTO",
        help="train only on regions that people reviewed after `alphaclip label`, by what they "
        "said: the field or attribute that was labelled into, such as auto",
    )
    parser.set_defaults(run=lambda args: _run(parser, args))
    export = subparsers.add_parser(
        "export-hub",
        help="write a fine-tuned model as open_clip loads it from the Hugging Face hub",
    )
    export.add_argument("model", type=Path, metavar="RUN", help="a fine-tune's or a model's folder")
    export.add_argument("folder", type=Path, metavar="FOLDER", help="a new folder, to upload")
    export.set_defaults(run=_export)


def stated_fields(args: argparse.Namespace) -> dict[str, Any]:
    """The configuration's fields that a command line states: its file, then its options.

    Args:
        args: of ``alphaclip train``

    Raises:
        ConfigError: the file cannot be read
    """
    from alphaclip.training.finetune.config import read_fields

    fields = read_fields(args.config) if args.config is not None else {}
    shortcuts = {name: getattr(args, name) for name in _SHORTCUTS}
    stated = {name: value for name, value in shortcuts.items() if value is not None}
    return {**fields, **stated, **dict(args.changes)}


def _run(parser: argparse.ArgumentParser, args: argparse.Namespace) -> int:
    if (args.dataset is None) != (args.field is None):
        parser.error("--dataset and --field go together")
    if args.reviews is not None and args.dataset is None:
        parser.error("--reviews needs --dataset and --field")
    logging.getLogger("alphaclip").setLevel(logging.INFO)
    fields = stated_fields(args)
    if args.dataset is not None:
        if "pairs" in fields:
            parser.error("--dataset makes the pairs: leave --pairs out")
        return _train_on_dataset(args, fields)
    return _train(fields, str(args.config or "the command line"))


def _export(args: argparse.Namespace) -> int:
    from alphaclip.training.finetune.exporting import export_hub

    source = export_hub(args.model, args.folder)
    print(
        f"{args.folder} holds {source}, for alphaclip.load and open_clip.create_model\n"
        f"share it: hf upload OWNER/NAME {args.folder} (read its README.md first)"
    )
    return 0


def _train(fields: dict[str, Any], source: str) -> int:
    from alphaclip.training.finetune.config import FinetuneConfig
    from alphaclip.training.finetune.run import finetune

    report = finetune(FinetuneConfig.from_dict(fields, source))
    if not _is_first():
        # The first process may still be writing its last checkpoint: there is nothing to name.
        return 0 if report.finished else STOPPED
    print(*report.lines(), sep="\n")
    folders = (report.output / name for name in ("best", "last"))
    return _end(report.finished, next(filter(Path.is_dir, folders)))


def _train_on_dataset(args: argparse.Namespace, fields: dict[str, Any]) -> int:
    from alphaclip.training.finetune.fiftyone_training import HELD_OUT_SHARE, finetune_on_dataset

    folder, model = Path(fields.pop("output", OUTPUT)), fields.pop("model", "auto")
    held_out = HELD_OUT_SHARE if args.held_out is None else args.held_out
    training = finetune_on_dataset(
        args.dataset,
        args.field,
        folder,
        model,
        held_out=held_out,
        changed=fields,
        reviews=args.reviews,
    )
    print(*training.lines(), *training.class_lines(), sep="\n")
    return _end(training.finished, training.model)


def _end(finished: bool, model: Path) -> int:
    if not finished:
        print("stopped: run the same again to go on")
        return STOPPED
    print(f"use it: alphaclip.load({str(model)!r})")
    return 0


def _is_first() -> bool:
    """Whether this is the process of a run that speaks."""
    return os.environ.get("RANK", "0") == "0"


def _change(text: str) -> tuple[str, Any]:
    """A field and its value, JSON or else a text."""
    name, sign, value = text.partition("=")
    if not sign or not name.isidentifier():
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE, such as rate=1e-6")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value

"""``alphaclip pairs``: makes sets of region-text pairs, checks them and shows them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from alphaclip.errors import AlphaClipError
from alphaclip.training.pairs import pipeline_cli
from alphaclip.training.pairs.cli_options import (
    add_writing_options,
    count,
    print_reports,
    progress_bar,
    settings_of,
)
from alphaclip.training.pairs.format.texts import PLAIN

if TYPE_CHECKING:
    from alphaclip.training.pairs.sources.importers import ImportedSet

_REFCOCO = ("refcoco", "refcoco+", "refcocog")
_SHOWN = 10


def add_parsers(subparsers: argparse._SubParsersAction) -> None:
    """Adds ``pairs``; its own commands are made when it is used."""
    pairs = subparsers.add_parser("pairs", help="make region-text pairs for training, check them")
    pairs.add_later(add_commands)


def add_commands(parser: argparse.ArgumentParser) -> None:
    """Adds the commands of ``alphaclip pairs``."""
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_dataset(commands)
    _add_coco(commands)
    _add_refcoco(commands)
    _add_visual_genome(commands)
    pipeline_cli.add_commands(commands)
    _add_check(commands)
    _add_show(commands)


def _command(
    commands: argparse._SubParsersAction,
    name: str,
    text: str,
    run: Callable[[argparse.Namespace], int],
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    parser.set_defaults(run=lambda args: _with_extras(run, args))
    return parser


def _with_extras(run: Callable[[argparse.Namespace], int], args: argparse.Namespace) -> int:
    try:
        return run(args)
    except ModuleNotFoundError as error:
        raise AlphaClipError(
            f"{error.name} is not installed: pip install 'alphaclip-fiftyone[training]'"
        ) from error


def _add_dataset(commands: argparse._SubParsersAction) -> None:
    parser = _command(
        commands, "dataset", "pairs from a field of a FiftyOne dataset, split by picture", _dataset
    )
    parser.add_argument("dataset", help="name of a FiftyOne dataset")
    parser.add_argument("field", help="a field of Detections, Detection, Polylines or Polyline")
    add_writing_options(parser)
    parser.add_argument(
        "--text",
        nargs="+",
        default=["label"],
        metavar="ATTRIBUTE",
        help="attributes of a label that hold its texts (default: label)",
    )
    _add_templates(parser)
    parser.add_argument("--caption-field", help="of the samples: the caption of the whole picture")
    parser.add_argument("--tag", nargs="+", help="take samples with one of these tags only")
    parser.add_argument(
        "--only-reviewed",
        metavar="NAME",
        help="take labels only that have this tag, or this attribute set to what is true",
    )
    parser.add_argument(
        "--reviews",
        metavar="INTO",
        help="take regions only that people reviewed after `alphaclip label`, and as texts what "
        "they said: the field or attribute that was labelled into, such as auto",
    )
    parser.add_argument(
        "--validation", type=float, default=0.1, help="share of the pictures (default: %(default)s)"
    )


def _dataset(args: argparse.Namespace) -> int:
    from alphaclip.training.pairs.sources.fiftyone_pairs import pairs_from_dataset

    with progress_bar("samples") as progress:
        reports = pairs_from_dataset(
            args.dataset,
            args.field,
            args.folder,
            settings_of(args),
            args.text,
            args.caption_field,
            args.tag,
            args.template,
            args.only_reviewed,
            args.validation,
            progress,
            args.reviews,
        )
    return print_reports(reports.values())


def _add_coco(commands: argparse._SubParsersAction) -> None:
    parser = _command(commands, "coco", "pairs from COCO's objects and their classes", _coco)
    _add_published(parser, "train2017")
    _add_shape(parser)
    _add_templates(parser)


def _coco(args: argparse.Namespace) -> int:
    from alphaclip.training.pairs.sources.importers import import_coco

    return _write(import_coco(args.data, args.split, args.shape, args.limit, args.template), args)


def _add_refcoco(commands: argparse._SubParsersAction) -> None:
    parser = _command(commands, "refcoco", "pairs from RefCOCO, RefCOCO+ or RefCOCOg", _refcoco)
    _add_published(parser, "train")
    _add_shape(parser)
    parser.add_argument("--dataset", choices=_REFCOCO, default="refcocog")
    parser.add_argument("--split-by", help="whose split, of refs(*).p (default: the usual one)")
    parser.add_argument(
        "--format",
        choices=("refs", "jsonl"),
        default="refs",
        help="refs(*).p as refer has them, or ReCLIP's jsonl, which has boxes only",
    )


def _refcoco(args: argparse.Namespace) -> int:
    from alphaclip.training.pairs.sources.importers import import_reclip, import_refcoco

    if args.format == "jsonl":
        found = import_reclip(args.data, args.dataset, args.split, args.limit)
    else:
        found = import_refcoco(
            args.data, args.dataset, args.split, args.split_by, args.shape, args.limit
        )
    return _write(found, args)


def _add_visual_genome(commands: argparse._SubParsersAction) -> None:
    text = "pairs from Visual Genome's region descriptions"
    parser = _command(commands, "visual-genome", text, _visual_genome)
    _add_published(parser)


def _visual_genome(args: argparse.Namespace) -> int:
    from alphaclip.training.pairs.sources.importers import import_visual_genome

    return _write(import_visual_genome(args.data, args.limit), args)


def _write(imported: ImportedSet, args: argparse.Namespace) -> int:
    from alphaclip.training.pairs.sources.importers import write_imported

    with progress_bar("pictures") as progress:
        report = write_imported(imported, args.folder, settings_of(args), progress)
    return print_reports([report])


def _add_published(parser: argparse.ArgumentParser, split: str | None = None) -> None:
    parser.add_argument("data", type=Path, help="folder of the data set as it is published")
    add_writing_options(parser)
    parser.add_argument("--limit", type=count, help="take the first pictures only")
    if split is not None:
        parser.add_argument("--split", default=split, help="(default: %(default)s)")


def _add_shape(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--shape",
        choices=("mask", "box"),
        default="mask",
        help="what the regions are (default: %(default)s)",
    )


def _add_templates(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--template",
        nargs="+",
        default=list(PLAIN),
        metavar="TEXT",
        help="what class names are put into, at {}; a region has a text of each "
        '(default: "{}" and "a {}")',
    )


def _add_check(commands: argparse._SubParsersAction) -> None:
    text = "verify every shard and every member of sets; exit status 1 if anything is wrong"
    parser = _command(commands, "check", text, _check)
    parser.add_argument("folders", nargs="+", type=Path, help="of the sets")


def _check(args: argparse.Namespace) -> int:
    from alphaclip.training.pairs.format.checking import check_pairs

    status = 0
    for folder in args.folders:
        with progress_bar("shards") as progress:
            problems = check_pairs(folder, progress)
        for problem in problems:
            print(problem, file=sys.stderr)
        print(f"{folder}: {len(problems) or 'no'} problem(s)")
        status |= bool(problems)
    return status


def _add_show(commands: argparse._SubParsersAction) -> None:
    parser = _command(commands, "show", "say what sets hold, and some of their pairs", _show)
    parser.add_argument("folders", nargs="+", type=Path, help="of the sets")
    parser.add_argument("--pairs", type=count, default=_SHOWN, help="drawn to be shown")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn")
    parser.add_argument("--sheet", type=Path, help="write the pairs that are shown as a PNG")


def _show(args: argparse.Namespace) -> int:
    from alphaclip.training.pairs.format.contact_sheet import draw_contact_sheet, draw_places
    from alphaclip.training.pairs.format.reading import open_pairs

    pairs = open_pairs(*args.folders)
    print(f"{len(pairs)} regions in {pairs.picture_count} pictures")
    shown = [pairs[place] for place in draw_places(len(pairs), args.seed, args.pairs)]
    for pair in shown:
        print(f"{pair.key}: {' | '.join(pair.texts)}")
    if args.sheet is not None and shown:
        draw_contact_sheet(shown, args.sheet)
        print(f"written: {args.sheet}")
    return 0

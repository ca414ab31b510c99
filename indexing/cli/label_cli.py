"""``alphaclip label`` and ``alphaclip tag``: what a nightly job calls.

Exit codes: 0 done; 1 an error on the way; 2 what was asked cannot be used; 3 the promise is not
reachable, or its sample waits for reviews (label again then: it learns from a sample that has
failed, and draws another); 4 the new regions are not like the reviewed ones.
"""

from __future__ import annotations

import argparse
import logging
import sys
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alphaclip.errors import AlphaClipError
from alphaclip.files import read_json
from alphaclip.indexing.dataset.samples import open_dataset

if TYPE_CHECKING:
    from alphaclip.indexing.labelling.label_dataset import Reviews
    from alphaclip.indexing.labelling.settings import LabelSettings
    from alphaclip.indexing.region_index import RegionIndex
    from alphaclip.language.describer import Describer

USAGE = 2
CODES = {"done": 0, "not reachable": 3, "moved": 4}


def add_label_parsers(subparsers: argparse._SubParsersAction) -> None:
    """Adds ``label`` and ``tag``."""
    label = subparsers.add_parser("label", help="give regions a class, with a stated precision")
    label.add_argument("dataset", help="name of a FiftyOne dataset")
    label.add_argument("key", help="of the index")
    label.add_argument("--classes", type=Path, required=True, help="JSON: names, or objects")
    label.add_argument("--into", default="auto", help="a field, or field.attribute")
    label.add_argument("--precision", type=float, help="share to be right, below 1")
    label.add_argument("--confidence", type=float, default=0.9, help="of the promise")
    label.add_argument("--mode", choices=("promise", "ranking"))
    label.add_argument("--per-class", action="store_true", help="a promise for each class")
    label.add_argument("--reviews", help="JSON of label id to class, or field.attribute")
    label.add_argument("--training", type=Path, help="JSON of label id to class, to learn from")
    label.add_argument("--template", action="append", dest="templates", help="with one {}")
    label.add_argument("--sample", type=int, help="regions to draw for review")
    label.add_argument("--seed", type=int, default=0, help="of the draw")
    label.add_argument("--overwrite", action="store_true", help="also what people wrote")
    label.add_argument("--new-only", action="store_true", help="only what is new or edited")
    label.add_argument(
        "--retrain", action="store_true", help="learn again from all reviews, draw a new sample"
    )
    label.add_argument(
        "--scorer", metavar="MODEL", help="a language model, asked about each region"
    )
    label.add_argument("--report", type=Path, help="a folder for labels.json")
    label.add_argument("--html", type=Path, metavar="FILE", help="the report as pictures, one page")
    label.set_defaults(run=_label)
    _add_tag_parser(subparsers)


def _add_tag_parser(subparsers: argparse._SubParsersAction) -> None:
    tag = subparsers.add_parser("tag", help="tag the regions that match a text")
    tag.add_argument("dataset", help="name of a FiftyOne dataset")
    tag.add_argument("key", help="of the index")
    tag.add_argument("query", nargs="+", help="text; several are one query")
    tag.add_argument("--tag", required=True, help="to add")
    tag.add_argument("--min-score", type=float, required=True, help="the lowest cosine")
    tag.add_argument("--avoid", nargs="+", help="text that the regions should not match")
    tag.add_argument("--samples", action="store_true", help="tag the pictures instead")
    tag.add_argument("--new-only", action="store_true", help="only what is new or edited")
    tag.set_defaults(run=_tag)


def _label(args: argparse.Namespace) -> int:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        index, *run = _read_arguments(args)
    except AlphaClipError as error:
        return _refuse(error)
    from alphaclip.indexing.labelling.label_dataset import label_dataset

    report = label_dataset(index, *run)
    print(f"{report.outcome}: run {report.run['run']}\n{report}")
    if args.report is not None:
        print(f"report: {report.write(args.report)}")
    if args.html is not None:
        print(f"page: {report.save_html(args.html)}")
    return CODES[report.outcome]


def _tag(args: argparse.Namespace) -> int:
    try:
        index = _open(args)
        options = {"negative": args.avoid, "samples": args.samples, "new_only": args.new_only}
        action = index.tag(args.query, args.tag, args.min_score, **options)
    except AlphaClipError as error:
        return _refuse(error)
    what = "pictures" if args.samples else "regions"
    print(f"{action.count} {what} tagged {args.tag!r}, {action.left} had it; run {action.id}")
    return 0


def _read_arguments(
    args: argparse.Namespace,
) -> tuple[RegionIndex, Any, LabelSettings, Reviews, dict[str, str | None], None, Describer | None]:
    """What the arguments say, checked as far as that can be done before any work, as
    ``label_dataset`` takes it."""
    from alphaclip.indexing.labelling.label_dataset import check_run
    from alphaclip.indexing.labelling.scoring.classes import ClassSet
    from alphaclip.indexing.labelling.settings import LabelSettings
    from alphaclip.language.loading import open_describer

    if args.html is not None and args.html.is_dir():
        raise AlphaClipError(f"--html is {args.html}, a folder: name a file, as {args.html}/a.html")
    names = [field.name for field in fields(LabelSettings)]
    settings = LabelSettings(**{name: getattr(args, name) for name in names})
    classes = _read(args.classes)
    ClassSet(classes)
    training = {} if args.training is None else _answers(args.training)
    index = _open(args)
    # A file of answers if there is one of this name, else an attribute.
    name, reviews = args.reviews, args.reviews
    if name is not None and (name.endswith(".json") or Path(name).is_file()):
        reviews = _answers(Path(name))
    check_run(index, settings, reviews)
    describer = None if args.scorer is None else open_describer(args.scorer)
    return index, classes, settings, reviews, training, None, describer


def _open(args: argparse.Namespace) -> RegionIndex:
    from alphaclip import indexing

    return indexing.load(open_dataset(args.dataset), args.key)


def _answers(path: Path) -> dict[str, str | None]:
    values = _read(path)
    if not isinstance(values, dict) or not all(
        value is None or isinstance(value, str) for value in values.values()
    ):
        raise AlphaClipError(f"{path}: expected an object of label id to class, or to null")
    return values


def _read(path: Path) -> Any:
    try:
        return read_json(path)
    except OSError as error:
        raise AlphaClipError(f"{path} cannot be read: {error.strerror or error}") from error


def _refuse(error: AlphaClipError) -> int:
    print(f"alphaclip: {error}", file=sys.stderr)
    return USAGE

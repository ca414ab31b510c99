"""``alphaclip describe`` and ``alphaclip ask``: language models on the regions of an index."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.cli.index_cli import command
from alphaclip.indexing.dataset.samples import open_dataset

if TYPE_CHECKING:
    import fiftyone as fo

    from alphaclip.indexing.language.runs import LanguageRun


def add_language_parsers(subparsers: argparse._SubParsersAction) -> None:
    """Adds ``describe`` and ``ask``."""
    describe = command(subparsers, "describe", "write a caption on regions", _describe)
    describe.add_argument("key", help="of the index")
    describe.add_argument("--into", default="caption", help="the attribute to write")
    describe.add_argument("--prompt", help="what to say of a region; may name {attributes}")
    _add_options(describe)
    ask = command(subparsers, "ask", "ask a language model about regions", _ask)
    ask.add_argument("key", help="of the index")
    ask.add_argument("question", help='may name {attributes}: "is this a {label}?"')
    ask.add_argument("--choices", nargs="+", default=["yes", "no"], help="what may be answered")
    ask.add_argument("--into", default="answer", help="the attribute to write")
    ask.add_argument(
        "--reviews", metavar="FIELD.ATTR", help="holds the right choice of 50 regions or more"
    )
    ask.add_argument("--order", choices=["uncertain"], help="the least sure answers so far first")
    _add_options(ask)


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", default="auto", help="a language model's name, or its folder")
    parser.add_argument("--limit", type=int, help="only the first so many regions")
    parser.add_argument("--view", metavar="TAG", help="a saved view, or a tag of labels or samples")
    parser.add_argument("--overwrite", action="store_true", help="also what people wrote")


def _describe(args: argparse.Namespace) -> int:
    from alphaclip.indexing.language.runs import describing

    index, view = _opened(args)
    options = (args.into, args.model, args.prompt, view, args.limit, args.overwrite)
    return _run(describing(index, *options))


def _ask(args: argparse.Namespace) -> int:
    from alphaclip.indexing.language.runs import asking

    index, view = _opened(args)
    options = (args.limit, args.order, args.reviews, args.overwrite)
    return _run(asking(index, args.question, args.choices, args.into, args.model, view, *options))


def _opened(args: argparse.Namespace) -> tuple[Any, fo.SampleCollection | None]:
    from alphaclip import indexing

    index = indexing.load(open_dataset(args.dataset), args.key)
    return index, None if args.view is None else _view(index.dataset, index.field, args.view)


def _view(dataset: fo.Dataset, field: str, name: str) -> fo.SampleCollection:
    if dataset.has_saved_view(name):
        return dataset.load_saved_view(name)
    if name in dataset.distinct(dataset._get_label_field_path(field, "tags")[1]):
        return dataset.select_labels(tags=name, fields=field)
    if name in dataset.distinct("tags"):
        return dataset.match_tags(name)
    raise AlphaClipError(
        f"--view is {name!r}: dataset {dataset.name!r} has no saved view of this name, and neither "
        f"a label of {field!r} nor a sample has such a tag"
    )


def _run(run: LanguageRun) -> int:
    print(run.estimate())
    report = run.run()
    print(report)
    for skipped in report.skipped:
        print(f"skipped {skipped.filepath} {skipped.label_id}: {skipped.reason}")
    if report.action is not None:
        print(f"indexing.undo(dataset, {report.action.id!r}) takes it back")
    return 1 if report.skipped and not report.asked + report.answered_before else 0

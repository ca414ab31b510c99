"""``alphaclip eval``: a task for several encoders, and reports."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from alphaclip.encoder.load import Precision
from alphaclip.errors import AlphaClipError
from alphaclip.files import ABANDONED, remove_partials
from alphaclip.training.datasets.examples import RegionSet
from alphaclip.training.evaluation.captions.captions import CAPTIONS
from alphaclip.training.evaluation.classification.classification import IMAGENET_S, REGIONS
from alphaclip.training.evaluation.detection.detection import TASK as DETECTION
from alphaclip.training.evaluation.outcomes import Means, Outcome, load_outcomes, save_outcome
from alphaclip.training.evaluation.referring.referring import TASK as REFERRING
from alphaclip.training.evaluation.retrieval.retrieval import RETRIEVAL
from alphaclip.training.evaluation.tasks import Task

TASKS = (IMAGENET_S, REGIONS, RETRIEVAL, REFERRING, DETECTION, CAPTIONS)
"""In the order of the help text; those of describers come after them."""

OUT = "alphaclip-eval"
CACHE = "vectors"


def add_tasks(parser: argparse.ArgumentParser, further: Sequence[Task] = ()) -> None:
    """Adds a subcommand for each task, and ``report``, to the parser of ``alphaclip eval``.

    Args:
        parser: of ``alphaclip eval``
        further (()): tasks of parts that stand above this one
    """
    tasks = parser.add_subparsers(title="tasks", metavar="TASK", required=True)
    for task in (*TASKS, *further):
        _add_task(tasks, task)
    report = tasks.add_parser("report", help="write the tables and plots of one or several runs")
    report.add_argument("folder", type=Path, help="--out of a run, or the folder of several runs")
    _add_html(report)
    report.set_defaults(run=_report)


def _add_task(tasks: argparse._SubParsersAction, task: Task) -> None:
    parser = tasks.add_parser(task.name, help=task.help, description=task.help)
    what = "FILE" if task.subjects == "predictions" else "NAME"
    parser.add_argument(
        f"--{task.subjects}",
        dest="subjects",
        nargs="+",
        required=True,
        metavar=what,
        help="what to judge; the others are compared with the first",
    )
    parser.add_argument("--data", type=Path, help="folder of the dataset as it is published")
    parser.add_argument("--out", type=Path, default=Path(OUT), help="folder (default: %(default)s)")
    parser.add_argument("--limit", type=_count, help="judge the first pictures only")
    parser.add_argument(
        "--cache", type=Path, help="folder of vectors; runs may share it (default: OUT/vectors)"
    )
    _add_html(parser)
    parser.add_argument("--device", help="a torch device (default: a GPU if there is one)")
    parser.add_argument("--precision", default="auto", choices=get_args(Precision))
    if task.regions is not None:
        parser.add_argument(
            "--mistakes", metavar="NAME", help="make a FiftyOne dataset of the predictions"
        )
    task.add_arguments(parser)
    parser.set_defaults(run=lambda args: _run(task, args))


def _add_html(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--html", type=_file, metavar="FILE", help="plots and mistaken crops as one page, too"
    )


def _run(task: Task, args: argparse.Namespace) -> int:
    try:
        return _evaluate(task, args)
    except ModuleNotFoundError as error:
        raise AlphaClipError(
            f"{error.name} is not installed: pip install 'alphaclip-fiftyone[eval]'"
        ) from error


def _evaluate(task: Task, args: argparse.Namespace) -> int:
    args.cache = args.cache or args.out / CACHE
    entries = task.load(args)
    if not entries:
        raise AlphaClipError("there is nothing to judge: no set fits the options")
    mistakes = _mistakes(task, entries, args)
    remove_partials(args.out, ABANDONED)
    outcomes, failures = _judge_all(task, entries, args)
    if outcomes:
        _write(args.out, args.html, [] if task.regions is None else [*map(task.regions, entries)])
        _make_mistakes(mistakes, outcomes)
    left_out = sum(len(outcome.skipped) for outcome in outcomes)
    print(f"{len(outcomes)} outcomes; {left_out} entries left out (report.json names them)")
    if failures:
        print("not judged:", *failures, sep="\n  ", file=sys.stderr)
    return 1 if failures else 0


def _judge_all(
    task: Task, entries: Sequence[Any], args: argparse.Namespace
) -> tuple[list[Outcome], list[str]]:
    """What every encoder reached, saved as soon as it is there, and which cannot be judged."""
    from alphaclip.encoder.auto import ask_for_model

    outcomes, failures = [], []
    subjects = args.subjects
    if task.subjects == "encoder":  # for auto, where none is here, asks before a download
        subjects = [ask_for_model() if name == "auto" else name for name in subjects]
    for order, subject in enumerate(dict.fromkeys(subjects)):
        try:
            reached = _judge(task, subject, entries, args)
        except AlphaClipError as error:
            failures.append(f"{subject}: {error}")
            continue
        for outcome in reached:
            save_outcome(args.out, outcome, order)
            _tell(outcome)
        outcomes += reached
    return outcomes, failures


def _judge(
    task: Task, subject: str, entries: Sequence[Any], args: argparse.Namespace
) -> list[Outcome]:
    outcomes = []
    for entry in entries:
        with _bar(subject) as progress:
            means = Means(args.cache, progress, args.device, args.precision)
            outcome = task.run(subject, entry, means)
        settings = {**outcome.settings, "limit": args.limit}
        outcomes.append(replace(outcome, settings=settings))
    further = task.summarize(outcomes) if task.summarize is not None else ()
    return [*outcomes, *further]


@contextmanager
def _bar(subject: str) -> Iterator[Any]:
    """Progress in the terminal, where there is one."""
    from tqdm import tqdm

    with tqdm(desc=subject[-40:], unit=" pictures", disable=None, leave=False) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield show


def _tell(outcome: Outcome) -> None:
    value = outcome.metrics.get(outcome.primary, float("nan"))
    where = ", ".join(filter(None, (outcome.set, outcome.setting)))
    left_out = f"; {len(outcome.skipped)} left out" if outcome.skipped else ""
    print(
        f"{outcome.encoder}: {outcome.primary} {value:.2f} on {where} "
        f"({len(outcome.rows)} rows{left_out})",
        flush=True,
    )


def _write(folder: Path, html: Path | None = None, sets: Sequence[RegionSet] | None = None) -> None:
    from alphaclip.training.evaluation.report.report import write_report

    files = write_report(folder, load_outcomes(folder), html, sets)
    print("written:", *files, sep="\n  ")


def _mistakes(task: Task, entries: Sequence[Any], args: argparse.Namespace) -> dict[str, RegionSet]:
    """The datasets of mistakes to make, by name; checked before any work, not after it."""
    if task.regions is None or args.mistakes is None:
        return {}
    from alphaclip.training.evaluation.report.fiftyone_mistakes import check_name

    by_set = {regions.name: regions for regions in map(task.regions, entries)}
    named = {
        args.mistakes if len(by_set) == 1 else f"{args.mistakes}-{name}": regions
        for name, regions in by_set.items()
    }
    for name in named:
        check_name(name, overwrite=True)
    return named


def _make_mistakes(sets: Mapping[str, RegionSet], outcomes: Sequence[Outcome]) -> None:
    from alphaclip.training.evaluation.report.fiftyone_mistakes import make_mistakes

    for name, regions in sets.items():
        fitting = [outcome for outcome in outcomes if outcome.set == regions.name]
        if fitting:
            make_mistakes(name, regions, fitting, overwrite=True)
            print(f"FiftyOne dataset {name!r}: a field for each encoder and setting")


def _report(args: argparse.Namespace) -> int:
    _write(args.folder, args.html)
    return 0


def _file(text: str) -> Path:
    if Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"{text} is a folder: name a file in it")
    return Path(text)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)

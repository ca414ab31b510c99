"""Questions that a describer answers about a set's regions, judged: ``alphaclip eval vqa``."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from alphaclip.language.describer import Answers, Item
from alphaclip.training.evaluation.outcomes import Means, Outcome, Row, percent
from alphaclip.training.evaluation.tasks import Task
from alphaclip.training.language.responses import collect, open_subject
from alphaclip.training.language.sets import add_set_options, read_set
from alphaclip.training.language.vqa_set import WORDING, VqaSet, make_vqa_set
from alphaclip.views.prefetch import OnError

MAJORITY = "majority answer"
"""Stands beside the describers: it gives the most frequent right answer to every question of a
kind."""

_USUAL = tuple(kind for kind in WORDING if kind != "count")


def run(subject: str, entry: VqaSet, means: Means | None = None) -> Outcome:
    """Asks a describer every question that the set knows an answer to.

    Nothing is parsed: its answer is the choice of the highest score, see
    `alphaclip.language.Answers`. A region is asked all questions at once.

    Args:
        subject: its name, see `alphaclip.training.language.responses.open_subject`
        entry: the questions
        means: cache, progress, device

    Returns:
        the accuracy in percent, the mean over kinds of questions, and of each kind; a row an answer

    Raises:
        AlphaClipError: the describer cannot be loaded, or cannot be asked
    """
    means = means or Means()
    opened, skipped = open_subject(subject, means), list(entry.regions.skipped)
    questions = list(entry.questions.values())

    def say(items: Iterable[Item], on_error: OnError) -> Iterator[list[list[list[float]]]]:
        for several in opened.describer.ask_many(items, questions, on_error):
            tables = [np.stack([a.logliks, a.priors], axis=1).tolist() for a in several]
            yield [list(row) for row in zip(*tables, strict=True)]

    asked = f"ask {questions}"
    said = collect(opened, entry.regions, asked, say, entry.attributes, means, skipped)
    return _outcome(
        subject,
        entry,
        list(_rows(entry, said)),
        {"sees": opened.describer.sees, "fingerprint": opened.describer.fingerprint},
        skipped,
    )


def _rows(entry: VqaSet, said: Sequence[list[list[list[float]]] | None]) -> Iterator[Row]:
    labelled = zip(entry.regions.regions, entry.truths, said, strict=True)
    for (example, region), truths, tables in labelled:
        for (kind, question), table in zip(entry.questions.items(), tables or (), strict=False):
            if kind not in truths:
                continue
            logliks, priors = np.array(table, np.float32)[:, None]
            answers = Answers(question.choices, logliks, priors)
            (best,), truth = answers.best, truths[kind]
            score = float(answers.scores.max())
            key = f"{region.id}/{kind}"
            yield Row(key, example.id, float(best == truth), best or "", truth, score, kind)


def _outcome(
    name: str, entry: VqaSet, rows: Sequence[Row], settings: dict[str, str], skipped: Sequence[str]
) -> Outcome:
    return Outcome(
        task="vqa",
        set=entry.regions.name,
        encoder=name,
        metrics=_metrics(rows),
        rows=tuple(rows),
        settings={
            **settings,
            "setting": ", ".join(entry.questions),
            "questions": {kind: question.text for kind, question in entry.questions.items()},
        },
        skipped=tuple(skipped),
        primary="accuracy",
        estimator="group-mean",
    )


def _metrics(rows: Sequence[Row]) -> dict[str, float]:
    correct: dict[str, list[float]] = {}
    for row in rows:
        correct.setdefault(row.group, []).append(row.correct)
    kinds = {kind: percent(values) for kind, values in correct.items()}
    mean = float(np.mean([*kinds.values()])) if kinds else float("nan")
    return {"accuracy": mean, **{f"accuracy {kind}": value for kind, value in kinds.items()}}


def majority(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """What giving the most frequent right answer to each kind of question would reach."""
    return [_majority(outcome) for outcome in outcomes]


def _majority(outcome: Outcome) -> Outcome:
    truths: dict[str, Counter[str]] = {}
    for row in outcome.rows:
        truths.setdefault(row.group, Counter())[row.truth] += 1
    usual = {kind: counts.most_common(1)[0][0] for kind, counts in truths.items()}
    rows = tuple(
        Row(row.id, row.example, float(row.truth == usual[row.group]), usual[row.group], row.truth,
            group=row.group)
        for row in outcome.rows
    )  # fmt: skip
    return replace(
        outcome,
        encoder=MAJORITY,
        rows=rows,
        metrics=_metrics(rows),
        settings={n: v for n, v in outcome.settings.items() if n not in ("sees", "fingerprint")},
        skipped=(),
    )


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_set_options(parser)
    parser.add_argument(
        "--kinds",
        nargs="+",
        choices=tuple(WORDING),
        default=_USUAL,
        metavar="KIND",
        help="of questions: %(choices)s (default: all but count, for which a set has to have every "
        "object of its pictures)",
    )


def _load(args: argparse.Namespace) -> Sequence[VqaSet]:
    return [make_vqa_set(read_set(args), args.kinds)]


VQA = Task(
    name="vqa",
    help="ask language models about regions, and judge the answers by kind of question",
    add_arguments=_add_arguments,
    load=_load,
    run=run,
    subjects="model",
    summarize=majority,
)
"""Describers, not encoders."""

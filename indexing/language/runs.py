"""Asks a language model about the regions of an index, and writes what it says to their labels.

Public: :func:`describing` and :func:`asking`, which prepare a :class:`LanguageRun`.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from alphaclip.arguments import COUNT, checked
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.act.actions import Action
from alphaclip.indexing.act.attribute_writes import last_written, set_attributes
from alphaclip.indexing.dataset.bulk_writes import Row, read_labels
from alphaclip.indexing.dataset.labels import LabelPath, Skipped
from alphaclip.indexing.dataset.schema import check_attribute
from alphaclip.indexing.language.answer_calibration import AnswerCalibration, fit, read_reviews
from alphaclip.indexing.language.selecting import least_sure_first, read_attributes, select_rows
from alphaclip.indexing.language.tasks import Asking, Describing, Task
from alphaclip.indexing.progress import Progress, shown
from alphaclip.indexing.retrieval.hits import Hits
from alphaclip.indexing.retrieval.index import SearchIndex
from alphaclip.indexing.retrieval.region_answers import RegionAnswers, missing
from alphaclip.language.describer import Describer
from alphaclip.language.loading import open_describer
from alphaclip.language.questions import Question, placeholders

if TYPE_CHECKING:
    import fiftyone as fo

Order = Literal["uncertain"]

FIRST = 16
"""Regions of an estimate; of what sees vectors, and is far quicker, 16 times as many."""


@dataclass(frozen=True)
class Estimate:
    """What a run will take.

    Attributes:
        regions: that are meant
        answered: of these, those that need not be asked any more
        rate: regions a second, measured on the first ones, which are answered now; None if none
            was left
    """

    regions: int
    answered: int
    rate: float | None

    @property
    def seconds(self) -> float:
        """Until all are answered."""
        return 0.0 if self.rate is None else (self.regions - self.answered) / self.rate

    def __str__(self) -> str:
        left = self.regions - self.answered
        if not left or self.rate is None:
            return f"{self.regions:,} regions, nothing left to ask"
        minutes = max(1, round(self.seconds / 60))
        return (
            f"{self.regions:,} regions, {left:,} of them to ask: about {minutes:,} minutes at "
            f"{self.rate:,.1f} regions a second"
        )


@dataclass(frozen=True)
class LanguageReport:
    """What a run did.

    Attributes:
        into: the attribute, as ``field.attribute``
        by: the model's name and the fingerprint of its weights and prompts
        asked: regions that the model was asked about now
        answered_before: regions that it had been asked about as they are
        written: labels that were changed
        left: labels that somebody has written something else to, which stays
        skipped: regions that have no answer, and why; the next run asks again
        counts: how many regions have each choice
        calibration: from scores to probabilities; None where there are scores
        action: for :func:`alphaclip.indexing.undo`; None if no label was changed
    """

    into: str
    by: str
    asked: int
    answered_before: int
    written: int
    left: int
    skipped: list[Skipped] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    calibration: AnswerCalibration | None = None
    action: Action | None = None

    def __str__(self) -> str:
        counts = {
            "asked now": self.asked,
            "answered before": self.answered_before,
            f"labels written to {self.into!r}": self.written,
            "left as somebody wrote them": self.left,
            "skipped": len(self.skipped),
            **{repr(choice): count for choice, count in self.counts.items()},
        }
        said = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
        return f"{said or 'nothing to do'}; by {self.by}" + (
            f"; {self.calibration}" if self.calibration else ""
        )


@checked(limit=COUNT)
def describing(
    index: SearchIndex,
    into: str = "caption",
    model: str | Path | Describer = "auto",
    prompt: str | None = None,
    view: fo.SampleCollection | Hits | Sequence[str] | None = None,
    limit: int | None = None,
    overwrite: bool = False,
) -> LanguageRun:
    """Prepares a run of :meth:`alphaclip.indexing.RegionIndex.describe`; see there."""
    return LanguageRun(index, Describing(into, prompt), model, view, limit, overwrite)


@checked(limit=COUNT, order=Order)
def asking(
    index: SearchIndex,
    question: str,
    choices: Sequence[str] = ("yes", "no"),
    into: str = "answer",
    model: str | Path | Describer = "auto",
    view: fo.SampleCollection | Hits | Sequence[str] | None = None,
    limit: int | None = None,
    order: Order | None = None,
    reviews: str | None = None,
    overwrite: bool = False,
) -> LanguageRun:
    """Prepares a run of :meth:`alphaclip.indexing.RegionIndex.ask`; see there."""
    task = Asking(Question(question, tuple(choices)), into)
    return LanguageRun(index, task, model, view, limit, overwrite, order, reviews)


class LanguageRun:
    """A model and what it is asked about which regions, all checked; made by :func:`describing` and
    :func:`asking`.

    What it says is kept beside the index, so a run that was ended at any moment goes on, and of a
    later one only regions that are new or edited, or whose attributes in the question are others.

    Args:
        index: of the regions
        task: what the model is to say
        model: or its name
        view: see :func:`select_rows`
        limit: regions, the first ones
        overwrite: also what somebody else has written
        order (None): of the regions, before they are limited
        reviews (None): the attribute to calibrate by
    """

    def __init__(
        self,
        index: SearchIndex,
        task: Task,
        model: str | Path | Describer,
        view: Any,
        limit: int | None,
        overwrite: bool,
        order: Order | None = None,
        reviews: str | None = None,
    ) -> None:
        self._index, self._task, self._overwrite = index, task, overwrite
        for name, kind in task.kinds.items():
            check_attribute(index.dataset, index.field, name, kind)
        now = index.snapshot()
        rows = select_rows(index, now, view)
        if order is not None:
            rows = least_sure_first(index, now, rows, task.into)
        self._selected = np.sort(rows[:limit])
        self._truths = None
        self._rows = self._selected
        if reviews is not None and isinstance(task, Asking):
            choices, ids = task.question.choices, now.version.ids
            if reviews == f"{index.field}.{task.into}":
                raise AlphaClipError(
                    f"reviews is {reviews!r}, where the model's own answers are written: they "
                    "would always be right. Name one that people fill"
                )
            truths = read_reviews(index.dataset, index.field, reviews, choices, ids)
            self._rows = np.union1d(self._selected, np.flatnonzero(truths >= 0))
            self._truths = truths[self._rows]
        ids = now.version.ids_of(self._rows)
        attributes = read_attributes(index, ids, placeholders(task.text))
        self._model = open_describer(model)
        self._by = f"{self._model.name}@{self._model.fingerprint}"
        self._answers = RegionAnswers(index, now, self._rows, self._model, task, attributes)

    def estimate(self) -> Estimate:
        """How long :meth:`run` will take, by asking about the first regions; that is kept.

        Raises:
            StoreBusyError: if the same run is on its way elsewhere
        """
        with self._answers.stored.writing():
            said = self._answers.read()
            left = missing(said)
            first = left[: FIRST * (16 if self._model.sees == "vectors" else 1)]
            start = time.perf_counter()
            self._answers.ask(first, said, lambda *counts: None, list[Skipped]().append)
            seconds = time.perf_counter() - start
        rate = len(first) / max(seconds, 1e-9) if len(first) else None
        return Estimate(len(said), len(said) - len(left) + len(first), rate)

    def run(self, progress: Progress | None = None) -> LanguageReport:
        """Asks about what has no answer yet, and writes the answers.

        Args:
            progress (None): told how far it is; None shows a bar in the terminal

        Raises:
            StoreBusyError: if the same run is on its way elsewhere
            StoreError: if what is said cannot be kept
        """
        skipped: list[Skipped] = []
        with self._answers.stored.writing(), shown(progress) as show:
            said = self._answers.read()
            asked = missing(said)
            self._answers.ask(asked, said, show, skipped.append)
            task = self._calibrated(said)
            at = np.searchsorted(self._rows, self._selected)
            there = [number for number in at.tolist() if said[number] is not None]
            attributes = task.attributes([said[number] for number in there])
            regions = [self._answers.regions[number] for number in there]
            action, left = self._write(task, dict(zip(regions, attributes, strict=True)))
        is_asking = isinstance(task, Asking)
        return LanguageReport(
            into=f"{self._index.field}.{task.into}",
            by=self._by,
            asked=sum(said[number] is not None for number in asked.tolist()),
            answered_before=len(said) - len(asked),
            written=action.count if action else 0,
            left=left,
            skipped=skipped,
            counts=dict(Counter(one[task.into] for one in attributes)) if is_asking else {},
            calibration=task.calibration if isinstance(task, Asking) else None,
            action=action,
        )

    def _calibrated(self, said: Sequence[Any]) -> Task:
        """The task with what reviews say now, or said before."""
        if not isinstance(self._task, Asking):
            return self._task
        if self._truths is None:
            content = self._answers.stored.calibration
            before = AnswerCalibration.from_dict(content) if content else None
            return replace(self._task, calibration=before)
        pairs = zip(said, self._truths.tolist(), strict=True)
        answered = [(one, truth) for one, truth in pairs if one is not None and truth >= 0]
        gains = np.array([one for one, _ in answered]).reshape(len(answered), -1)
        calibration = fit(gains, np.array([truth for _, truth in answered], int))
        self._answers.stored.calibration = calibration.to_dict()
        return replace(self._task, calibration=calibration)

    def _write(
        self, task: Task, answers: dict[tuple[str, str], dict[str, Any]]
    ) -> tuple[Action | None, int]:
        """Writes attributes where there are others, but for what somebody else has written; counts
        those."""
        dataset, its_field, left = self._index.dataset, self._index.field, 0
        path, into = LabelPath.of(dataset, its_field), f"{its_field}.{task.into}"
        used = {name for one in answers.values() for name in one} | {f"{task.into}_by"}
        # A score that a run without calibration wrote is not to stand beside the probability
        kinds = {
            name: kind
            for name, kind in task.kinds.items()
            if name in used or dataset.has_field(path.declared(name))
        }
        ours, changed = last_written(dataset, into), list[Row]()
        samples = (sample for sample, _ in answers)
        for sample, label in read_labels(dataset, path, samples, list(kinds)):
            region = (sample, str(label["_id"]))
            if region not in answers:
                continue
            new = dict.fromkeys(kinds) | answers[region] | {f"{task.into}_by": self._by}
            old = {name: label.get(name) for name in kinds}
            if new == old:
                continue
            if self._overwrite or old[task.into] in (None, "", ours.get(region)):
                changed.append((*region, new, old))
            else:
                left += 1
        if not changed:
            return None, left
        detail = {"into": into, "model": self._by, "text": task.text}
        return set_attributes(dataset, its_field, kinds, changed, left, detail), left

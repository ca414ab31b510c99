"""Fine-tunes an encoder on a field of a FiftyOne dataset, and measures what it gained."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING, Any

from alphaclip.catalog.choices import GAIN_FILE, TUNED_RUN
from alphaclip.files import write_text
from alphaclip.indexing.progress import Progress
from alphaclip.training.finetune.config import FinetuneConfig, FinetuneError

if TYPE_CHECKING:
    import fiftyone as fo

    from alphaclip.training.finetune.gains import ClassHits, Gain
    from alphaclip.training.pairs.format.reports import PairsReport

logger = logging.getLogger(__name__)

PAIRS = "pairs"
HELD_OUT_SHARE = 0.2
SMALL = 10_000_000
"""Parameters of an image encoder below which the rates are those of small models."""

MOST_BATCH, LEAST_BATCHES = 256, 8
"""Pairs of a batch at most, and batches of an epoch at least, so that steps see different pairs."""

EPOCHS, LEAST_STEPS, MOST_STEPS = 10, 50, 5000
CHECKPOINT_EVERY = 50
"""Steps: a minute or so of a small model on a CPU, which is what a stop may lose."""

SMALL_RATES = {"rate": 1e-4, "alpha_rate": 1e-3}


@dataclass(frozen=True)
class DatasetTraining:
    """What came of a fine-tune on a dataset.

    Attributes:
        model: the folder that `alphaclip.load` takes
        base: the name of the encoder that was trained further
        trained_on: pairs
        held_out: pairs of pictures that were not trained on
        gains: mean average precision of ``text to region`` and ``region to text`` on those
        finished: False where it was stopped; the same call goes on
        skipped: labels and pictures that are no pairs, by reason
        classes: the first hits for each class on the held-out pictures; none where the texts are
            not those of classes
        reviews: what was labelled into, if the pairs are what people reviewed of it
    """

    model: Path
    base: str
    trained_on: int
    held_out: int
    gains: Mapping[str, Gain]
    finished: bool
    skipped: Mapping[str, int]
    classes: Sequence[ClassHits] = ()
    reviews: str | None = None

    def lines(self) -> list[str]:
        """Sentences for people."""
        if not self.finished:
            return ["Stopped. The same again goes on from the last checkpoint."]
        said = [
            f"{direction}: mAP {gain.before:.1f} before, {gain.after:.1f} after, {gain.said}"
            for direction, gain in self.gains.items()
        ]
        left = [f"left out: {count} ({reason})" for reason, count in sorted(self.skipped.items())]
        head = f"trained on {self.trained_on} pairs, measured on {self.held_out} held-out ones"
        if self.reviews is not None:
            head += f", as reviewed into {self.reviews}, without the promise's random sample"
        return [head, *said, *left, f"the model: {self.model}"]

    def class_lines(self) -> list[str]:
        """How many of the first hits for each class are right, a line each."""
        return [found.said for found in self.classes]


def finetune_on_dataset(
    samples: fo.SampleCollection | str,
    field: str,
    folder: Path,
    model: str,
    text: tuple[str, ...] = ("label",),
    held_out: float = HELD_OUT_SHARE,
    changed: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    reviews: str | None = None,
) -> DatasetTraining:
    """Makes pairs of a field, trains on some pictures and measures retrieval on the others.

    The held-out pictures decide nothing: the model is the last checkpoint, not the best one on
    them. Interrupted, the same call goes on. The folder gets ``pairs/``, ``run/`` and
    ``gain.json``.

    With ``reviews``, both are pictures with regions that people reviewed; the promise's random
    sample is in neither.

    Args:
        samples: a dataset, its name, or a view
        field: holds the regions
        folder: of the whole
        model: name of the encoder to start from, as `alphaclip.load` takes it
        text: attributes of a label with its texts, see
            `alphaclip.training.pairs.sources.fiftyone_pairs.pairs_from_dataset`
        held_out: share of the pictures that is measured on, above 0 and below 1
        changed: fields of :class:`FinetuneConfig` in place of :func:`defaults`
        progress: called with what is counted, how many are done and how many there are
        reviews: what was labelled into, in place of ``text``, see there

    Raises:
        FinetuneError: there is too little to train on, a setting does not fit, or another process
            writes into the folder
        AlphaClipError: if the pairs or the model cannot be read
    """
    from alphaclip.training.finetune.run import finetune
    from alphaclip.training.pairs.format.jobs import sole_writer
    from alphaclip.training.pairs.sources.fiftyone_pairs import (
        TRAIN,
        VALIDATION,
        pairs_from_dataset,
    )

    if not 0 < held_out < 1:
        raise FinetuneError(f"held_out is {held_out}: expected a share of the pictures, 0 to 1")
    tell = progress or (lambda what, done, total: None)
    reports = pairs_from_dataset(
        samples,
        field,
        folder / PAIRS,
        text=text,
        validation=held_out,
        progress=lambda done, total: tell("pictures read", done, total),
        reviews=reviews,
    )
    counts = {name: report.regions for name, report in reports.items()}
    if min(counts.values()) < 2:
        rmtree(folder / PAIRS)  # Nothing was trained on them, and there may be more next time.
        raise FinetuneError(_too_few(field, reviews, counts[TRAIN], counts[VALIDATION]))
    with sole_writer(folder, refused=FinetuneError):
        config = make_config(model, folder, counts[TRAIN], changed or {})
        report = finetune(config, progress=lambda done, total: tell("steps trained", done, total))
        training = DatasetTraining(
            model=folder / TUNED_RUN / "last",
            base=model,
            trained_on=counts[TRAIN],
            held_out=counts[VALIDATION],
            gains={},
            finished=report.finished,
            skipped=_skipped(reports, samples, field, reviews),
            reviews=reviews,
        )
        if training.finished:
            training = _measured(training, folder, reviews is not None or text == ("label",), tell)
        name = samples if isinstance(samples, str) else samples._root_dataset.name
        content = asdict(training) | {"model": str(training.model), "dataset": name}
        write_text(folder / GAIN_FILE, json.dumps(content, indent=1) + "\n")
        return training


def make_config(model: str, folder: Path, pairs: int, changed: Mapping[str, Any]) -> FinetuneConfig:
    """The configuration for a dataset's pairs.

    Args:
        model: to start from
        folder: as for :func:`finetune_on_dataset`
        pairs: to train on
        changed: fields in place of :func:`defaults`
    """
    from alphaclip.training.pairs.sources.fiftyone_pairs import TRAIN

    content = {
        "model": model,
        "pairs": [str(folder / PAIRS / TRAIN)],
        "output": str(folder / TUNED_RUN),
        **defaults(model, pairs),
        **changed,
    }
    return FinetuneConfig.from_dict(content, f"the configuration for {model}")


def defaults(model: str, pairs: int) -> dict[str, Any]:
    """What is other than in the paper's recipe, for a model and so many pairs.

    Ten epochs, in batches of at most 256 that leave at least eight to an epoch; regions are shown
    as the encoder shows them when it searches. Small image encoders learn at higher rates.
    """
    from alphaclip.catalog.zoo import resolve
    from alphaclip.network.factory import create_model

    batch = max(2, min(MOST_BATCH, pairs // LEAST_BATCHES))
    steps = min(MOST_STEPS, max(LEAST_STEPS, EPOCHS * pairs // batch))
    changed: dict[str, Any] = {"batch_size": batch, "steps": steps}
    changed["checkpoint_every"] = CHECKPOINT_EVERY
    view = resolve(model).default_view
    if view.is_local:
        # A fifth less and more, so that none is learned by heart; of a box all is shown.
        around, most = view.context, min(0.2 * view.context, view.context - 1)
        changed |= {"geometry": "context", "context": [around - most, around + most]}
    visual = create_model(model).clip.visual
    if sum(parameter.numel() for parameter in visual.parameters()) < SMALL:
        changed |= SMALL_RATES
    return changed


def _too_few(field: str, reviews: str | None, trained: int, held_out: int) -> str:
    from alphaclip.training.pairs.sources.fiftyone_reviews import WHERE

    there = f"{trained} pairs to train on and {held_out} to measure on"
    needed = "at least two of each are needed"
    if reviews is None:
        return f"{field}: {there}: {needed}; take more pictures, or another share"
    return (
        f"{field}, as reviewed into {reviews!r}: {there}: {needed}, of different pictures (the "
        f"promise's sample does not count); review more regions of the queue, {WHERE}, or take "
        "another share"
    )


def _measured(
    training: DatasetTraining, folder: Path, with_classes: bool, tell: Progress
) -> DatasetTraining:
    """The same with what was gained on the held-out pictures."""
    from alphaclip.encoder.load import load
    from alphaclip.training.evaluation.retrieval.retrieval import DIRECTIONS
    from alphaclip.training.finetune.evaluating import read_held_out
    from alphaclip.training.finetune.gains import Compared
    from alphaclip.training.pairs.sources.fiftyone_pairs import VALIDATION

    pictures = folder / TUNED_RUN / "evaluation"
    regions = read_held_out(folder / PAIRS / VALIDATION, VALIDATION, pictures)
    encoders = load(training.base), load(str(training.model))
    compared = Compared(*encoders, regions, pictures / "vectors")
    gains: dict[str, Gain] = {}
    for number, direction in enumerate(DIRECTIONS):
        tell("measurements", number, len(DIRECTIONS))
        gains[direction] = compared.gain(direction)
    return replace(training, gains=gains, classes=compared.class_hits() if with_classes else ())


def _skipped(
    reports: Mapping[str, PairsReport],
    samples: fo.SampleCollection | str,
    field: str,
    reviews: str | None,
) -> dict[str, int]:
    """What is no pair, by reason; reviewed regions may be deleted since, or of other samples."""
    from alphaclip.indexing.dataset.labels import images_of
    from alphaclip.indexing.dataset.samples import open_dataset
    from alphaclip.training.pairs.format.reports import Tally
    from alphaclip.training.pairs.sources.fiftyone_reviews import reviewed_regions

    tallies = (t for report in reports.values() for t in (report.skipped, report.left_out))
    counts = Tally.merged(tallies).counts
    if reviews is None:
        return counts
    pictures = images_of(open_dataset(samples) if isinstance(samples, str) else samples)
    reviewed = reviewed_regions(pictures._root_dataset, reviews)
    count = reviewed.missing(reviewed.pictures(pictures, field), field)
    return counts | ({"reviewed, but not in these samples": count} if count else {})

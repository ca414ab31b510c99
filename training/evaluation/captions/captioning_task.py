"""The task ``captions`` of ``alphaclip eval``: scores of captions that a model made elsewhere."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

from alphaclip.errors import AlphaClipError
from alphaclip.training.evaluation.captions.caption_files import read_predictions, read_references
from alphaclip.training.evaluation.captions.captioning import CaptionScores, score_captions
from alphaclip.training.evaluation.outcomes import Means, Outcome, Row
from alphaclip.training.evaluation.tasks import Task

PRIMARY = "CIDEr"


@dataclass(frozen=True)
class Entry:
    """References, and what is scored against them.

    Attributes:
        name: of the set
        references: captions by picture
        subset: whether pictures without a prediction are left out; else they are an error
        spice: whether SPICE is computed
        skipped: what could not be read, a line each
    """

    name: str
    references: Mapping[str, Sequence[str]]
    subset: bool = False
    spice: bool = False
    skipped: tuple[str, ...] = ()


def run(predictions: str, entry: Entry, means: Means | None = None) -> Outcome:
    """Scores a file of predictions.

    Args:
        predictions: path of COCO's caption results
        entry: what they are scored against
        means: not used

    Returns:
        scores times 100, as papers print CIDEr; a row a picture, whose ``correct`` is its CIDEr,
        0 to 10, with document frequencies from all references

    Raises:
        MissingDataError: if the file is not there
        AlphaClipError: if a picture has no prediction, and ``subset`` is not set; and see
            :func:`~alphaclip.training.evaluation.captions.captioning.score_captions`
    """
    skipped = list(entry.skipped)
    captions = _matching(read_predictions(Path(predictions), skipped), entry, skipped)
    references = {key: entry.references[key] for key in captions}
    scores = score_captions(captions, references, entry.spice)
    left_out = len(entry.references) - len(captions)
    return Outcome(
        task="captions",
        set=entry.name,
        encoder=predictions,
        metrics={**scores.overall, "pictures": float(len(captions))},
        rows=_rows(captions, references, scores),
        settings=_settings(left_out),
        skipped=tuple(skipped),
        primary=PRIMARY,
    )


def _settings(left_out: int) -> dict[str, Any]:
    return {
        "setting": f"{left_out} pictures left out" if left_out else "",
        "tokenizer": "Stanford PTB 3.4.1, lower case, without punctuation",
        "code": f"pycocoevalcap {version('pycocoevalcap')}",
        "CIDEr": "CIDEr-D, sigma 6",
    }


def _matching(found: Mapping[str, str], entry: Entry, skipped: list[str]) -> dict[str, str]:
    """The predictions in the order of the references."""
    unknown = [key for key in found if key not in entry.references]
    if unknown:
        some = ", ".join(unknown[:3])
        skipped.append(f"{len(unknown)} predictions are for pictures without reference: {some}")
    missing = [key for key in entry.references if key not in found]
    if missing and not entry.subset:
        raise AlphaClipError(
            f"{len(missing)} of {len(entry.references)} pictures have no prediction, such as "
            f"{', '.join(missing[:3])}: predict a caption for each, or give --subset to score the "
            "others only"
        )
    return {key: found[key] for key in entry.references if key in found}


def _rows(
    captions: Mapping[str, str], references: Mapping[str, Sequence[str]], scores: CaptionScores
) -> tuple[Row, ...]:
    return tuple(
        Row(
            id=key,
            example=key,
            correct=cider / 100.0,
            predicted=caption,
            truth=" / ".join(references[key]),
        )
        for (key, caption), cider in zip(captions.items(), scores.each[PRIMARY], strict=True)
    )


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--references",
        type=Path,
        required=True,
        metavar="FILE",
        help="COCO's caption annotations, or JSON of lists of captions by picture",
    )
    parser.add_argument(
        "--set",
        metavar="NAME",
        help="name of the set in reports; refcocog and visual-genome have published figures "
        "(default: the file's name)",
    )
    parser.add_argument(
        "--subset", action="store_true", help="leave out pictures without a prediction"
    )
    parser.add_argument(
        "--spice", action="store_true", help="also SPICE; you have to put its files in place"
    )


def _load(args: argparse.Namespace) -> Sequence[Entry]:
    skipped: list[str] = []
    references = read_references(args.references, skipped)
    kept = dict(islice(references.items(), args.limit))
    name = args.set or args.references.stem
    return [Entry(name, kept, args.subset, args.spice, tuple(skipped))]


CAPTIONS = Task(
    name="captions",
    help="score captions of regions or pictures: CIDEr, METEOR, ROUGE-L, BLEU",
    add_arguments=_add_arguments,
    load=_load,
    run=run,
    subjects="predictions",
)
"""Scores of predictions, not of encoders."""

"""Scores of captions that a model made elsewhere: ``alphaclip eval captions``.

Files are as COCO's tools have them: results, and annotations or captions by picture.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

from alphaclip.errors import AlphaClipError
from alphaclip.files import read_json
from alphaclip.training.datasets.files import Entry, each, grouped
from alphaclip.training.datasets.sources import MissingDataError
from alphaclip.training.evaluation.captions.captioning import score_captions
from alphaclip.training.evaluation.outcomes import Means, Outcome, Row
from alphaclip.training.evaluation.tasks import Task

PRIMARY = "CIDEr"


@dataclass(frozen=True)
class CaptionEntry:
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


def run(predictions: str, entry: CaptionEntry, means: Means | None = None) -> Outcome:
    """Scores a file of predictions, COCO's caption results.

    Returns:
        see `caption_outcome`

    Raises:
        AlphaClipError: if a picture has no prediction, and ``subset`` is not set; and see
            `caption_outcome`
    """
    skipped = list(entry.skipped)
    captions = _matching(read_predictions(Path(predictions), skipped), entry, skipped)
    left_out = len(entry.references) - len(captions)
    return caption_outcome(
        "captions",
        entry.name,
        predictions,
        captions,
        {key: entry.references[key] for key in captions},
        {key: key for key in captions},
        {"setting": f"{left_out} pictures left out" if left_out else ""},
        skipped,
        entry.spice,
    )


def caption_outcome(
    task: str,
    set_name: str,
    subject: str,
    captions: Mapping[str, str],
    references: Mapping[str, Sequence[str]],
    examples: Mapping[str, str],
    settings: Mapping[str, Any],
    skipped: Sequence[str],
    spice: bool = False,
) -> Outcome:
    """Scores captions.

    Args:
        task, set_name, subject, skipped: as the outcome has them
        captions: by picture or region
        references: of the same
        examples: the pictures that they are of
        settings: of the protocol; what the scores are is added
        spice: whether SPICE is computed

    Returns:
        scores times 100, as papers print CIDEr; a row a caption, whose ``correct`` is its CIDEr,
        0 to 10, with document frequencies from all references

    Raises:
        AlphaClipError: see
            :func:`~alphaclip.training.evaluation.captions.captioning.score_captions`
    """
    scores = score_captions(captions, references, spice)
    rows = (
        Row(key, examples[key], cider / 100.0, caption, " / ".join(references[key]))
        for (key, caption), cider in zip(captions.items(), scores.each[PRIMARY], strict=True)
    )
    return Outcome(
        task=task,
        set=set_name,
        encoder=subject,
        metrics={**scores.overall, "pictures": float(len(set(examples.values())))},
        rows=tuple(rows),
        settings={
            **settings,
            "tokenizer": "Stanford PTB 3.4.1, lower case, without punctuation",
            "code": f"pycocoevalcap {version('pycocoevalcap')}",
            "CIDEr": "CIDEr-D, sigma 6",
        },
        skipped=tuple(skipped),
        primary=PRIMARY,
    )


def _matching(
    predictions: Mapping[str, str], entry: CaptionEntry, skipped: list[str]
) -> dict[str, str]:
    """The predictions in the order of the references."""
    unknown = [key for key in predictions if key not in entry.references]
    if unknown:
        some = ", ".join(unknown[:3])
        skipped.append(f"{len(unknown)} predictions are for pictures without reference: {some}")
    missing = [key for key in entry.references if key not in predictions]
    if missing and not entry.subset:
        raise AlphaClipError(
            f"{len(missing)} of {len(entry.references)} pictures have no prediction, such as "
            f"{', '.join(missing[:3])}: predict a caption for each, or give --subset to score the "
            "others only"
        )
    return {key: predictions[key] for key in entry.references if key in predictions}


def read_predictions(path: Path, skipped: list[str]) -> dict[str, str]:
    """Captions by picture from COCO's results, ``[{"image_id": 9, "caption": "a cat"}, ...]``.

    ``skipped`` gets a line for each entry that cannot be read, and for a picture's second one.
    """
    content = _read(path, '[{"image_id": ..., "caption": "..."}, ...]')
    if not isinstance(content, list):
        raise AlphaClipError(
            f"{path} holds no predictions: expected COCO's caption results, a list of "
            '{"image_id": ..., "caption": "..."}'
        )
    captions: dict[str, str] = {}

    def predicted(entry: Entry) -> tuple[str, str]:
        key, caption = _key(entry["image_id"]), _text(entry["caption"])
        if key in captions:
            raise AlphaClipError(f"is a second prediction for picture {key}")
        return key, caption

    for key, caption in each(content, predicted, path.name, skipped):
        captions[key] = caption
    return captions


def read_references(path: Path, skipped: list[str]) -> dict[str, tuple[str, ...]]:
    """Captions by picture from COCO's annotations, or ``{"9": ["a cat", "one cat"], ...}``.

    Every picture has at least one; ``skipped`` gets a line for each entry that cannot be read.
    """
    content = _read(path, "COCO's caption annotations, or captions by picture")

    def described(entry: Entry) -> tuple[str, str]:
        key, caption = _key(entry["image_id"]), _text(entry["caption"])
        if not caption:
            raise AlphaClipError(f"has no words for picture {key}")
        return key, caption

    groups = grouped(_reference_entries(content, path), described, path.name, skipped)
    return {key: tuple(captions) for key, captions in groups.items()}


def _reference_entries(content: Any, path: Path) -> list[Any]:
    """Entries of COCO's form, whichever of the two forms the file has."""
    if isinstance(content, Mapping):
        if isinstance(content.get("annotations"), list):
            return content["annotations"]
        if all(isinstance(captions, list) for captions in content.values()):
            return [{"image_id": k, "caption": c} for k, own in content.items() for c in own]
    raise AlphaClipError(
        f"{path} holds no references: expected COCO's caption annotations, an object with "
        '"annotations", or {"ID": ["caption", ...], ...}'
    )


def _read(path: Path, form: str) -> Any:
    if not path.is_file():
        raise MissingDataError(f"{path} is not there: give a JSON file of the form {form}")
    try:
        return read_json(path, largest=None)
    except OSError as error:
        raise AlphaClipError(f"{path} cannot be read as JSON: {error}") from error


def _key(value: Any) -> str:
    """A picture's id: JSON's keys are text, COCO's ids are numbers."""
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise AlphaClipError("has an image_id that is neither a number nor a text")
    return str(value)


def _text(value: Any) -> str:
    """A caption in one line: the tokenizer takes a line for a caption."""
    if not isinstance(value, str):
        raise AlphaClipError("has a caption that is no text")
    return " ".join(value.split())


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


def _load(args: argparse.Namespace) -> Sequence[CaptionEntry]:
    skipped: list[str] = []
    references = read_references(args.references, skipped)
    first = dict(islice(references.items(), args.limit))
    name = args.set or args.references.stem
    return [CaptionEntry(name, first, args.subset, args.spice, tuple(skipped))]


CAPTIONS = Task(
    name="captions",
    help="score captions of regions or pictures: CIDEr, METEOR, ROUGE-L, BLEU",
    add_arguments=_add_arguments,
    load=_load,
    run=run,
    subjects="predictions",
)
"""Scores of predictions, not of encoders."""

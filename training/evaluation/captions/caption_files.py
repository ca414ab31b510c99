"""Captions as COCO's tools have them: results, and annotations or captions by picture."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from alphaclip.errors import AlphaClipError
from alphaclip.training.datasets.errors import MissingDataError
from alphaclip.training.datasets.files import Entry, each


def read_predictions(path: Path, skipped: list[str]) -> dict[str, str]:
    """Reads COCO's caption results, ``[{"image_id": 9, "caption": "a cat"}, ...]``.

    Args:
        path: of the file
        skipped: gets a line for each entry that cannot be read, and for a picture's second one

    Returns:
        captions by picture, in the order of the file

    Raises:
        MissingDataError: if the file is not there
        AlphaClipError: if it has another form
    """
    content = _read(path, '[{"image_id": ..., "caption": "..."}, ...]')
    if not isinstance(content, list):
        raise AlphaClipError(
            f"{path} holds no predictions: expected COCO's caption results, a list of "
            '{"image_id": ..., "caption": "..."}'
        )
    found: dict[str, str] = {}

    def add(entry: Entry) -> None:
        key, caption = _key(entry["image_id"]), _text(entry["caption"])
        if key in found:
            raise AlphaClipError(f"is a second prediction for picture {key}")
        found[key] = caption

    _add_all(content, add, path.name, skipped)
    return found


def read_references(path: Path, skipped: list[str]) -> dict[str, tuple[str, ...]]:
    """Reads COCO's caption annotations, or ``{"9": ["a cat", "one cat"], ...}``.

    Args:
        path: of the file
        skipped: gets a line for each entry that cannot be read

    Returns:
        captions by picture, in the order of the file; every picture has at least one

    Raises:
        MissingDataError: if the file is not there
        AlphaClipError: if it has another form
    """
    content = _read(path, "COCO's caption annotations, or captions by picture")
    found: dict[str, list[str]] = {}

    def add(entry: Entry) -> None:
        key, caption = _key(entry["image_id"]), _text(entry["caption"])
        if not caption:
            raise AlphaClipError(f"has no words for picture {key}")
        found.setdefault(key, []).append(caption)

    _add_all(_reference_entries(content, path), add, path.name, skipped)
    return {key: tuple(captions) for key, captions in found.items()}


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
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise AlphaClipError(f"{path} cannot be read as JSON: {error}") from error


def _add_all(
    entries: Iterable[Any], add: Callable[[Any], None], name: str, skipped: list[str]
) -> None:
    for _ in each(entries, add, name, skipped):
        pass


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

"""Proposals from Segment Anything, made once for each picture and kept in a file.

One line a picture, so that hours of a SAM's work survive a killed run.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from alphaclip.errors import AlphaClipError
from alphaclip.files import parse_json
from alphaclip.regions.rle import encode_rle
from alphaclip.sam.masks import AUTOMATIC_LIMITS, MaskLimits, judge
from alphaclip.sam.sam import SamModel, automatic_masks, masks_for_boxes
from alphaclip.training.datasets.examples import Box, Example
from alphaclip.training.datasets.proposals import Proposal
from alphaclip.training.evaluation.outcomes import Progress
from alphaclip.training.evaluation.vectors import file_stamp

logger = logging.getLogger(__name__)

Make = Callable[[Example], Sequence[Proposal]]


def masks_of_boxes(model: SamModel, example: Example, boxes: Sequence[Box]) -> list[Proposal]:
    """The mask that SAM finds in each box: for each a proposal with that box, in order.

    Boxes without area keep no mask, as do those where SAM finds nothing.

    Raises:
        AlphaClipError: if the picture cannot be opened, or a box is outside it
    """
    shape = example.height, example.width
    usable = [number for number, box in enumerate(boxes) if Proposal(box).has_area]
    relative = [
        [x / shape[1], y / shape[0], w / shape[1], h / shape[0]]
        for x, y, w, h in (boxes[number] for number in usable)
    ]
    masks = dict(zip(usable, masks_for_boxes(model, example.path, relative), strict=True))
    proposals = []
    for number, box in enumerate(boxes):
        mask = masks.get(number)
        if mask is None or not mask.mask.any():
            proposals.append(Proposal(box))
        else:
            proposals.append(Proposal(box, mask.quality, encode_rle(mask.full(*shape))))
    return proposals


def masks_of_everything(
    model: SamModel, example: Example, limits: MaskLimits = AUTOMATIC_LIMITS, points: int = 32
) -> list[Proposal]:
    """SAM's automatic masks of a picture, the surest first; objectness is the IoU that SAM
    predicts.

    Args:
        model: the SAM
        example: the picture
        limits (AUTOMATIC_LIMITS): which masks are kept
        points (32): prompts along a side of the picture
    """
    masks = automatic_masks(model, example.path, limits, points)
    proposals = []
    for mask, verdict in zip(masks, judge(masks, limits), strict=True):
        if verdict == "kept":
            x, y, w, h = mask.relative_box
            box = x * example.width, y * example.height, w * example.width, h * example.height
            rle = encode_rle(mask.full(example.height, example.width))
            proposals.append(Proposal(box, mask.quality, rle))
    return proposals


def kept_in_file(
    examples: Sequence[Example],
    make: Make,
    settings: Mapping[str, Any],
    cache: Path | None,
    progress: Progress | None = None,
) -> tuple[dict[str, Sequence[Proposal]], list[str]]:
    """Makes the proposals of every picture, or finds them in the cache.

    A file belongs to one ``settings``; a line of it to one picture, while its file stays as it is.
    A run that was killed goes on after the last whole line.

    Args:
        examples: the pictures
        make: the proposals of one
        settings: all that decides them, as JSON holds it, with the name of the set
        cache: folder; None keeps nothing
        progress: called with pictures done and pictures in all

    Returns:
        proposals by the picture's id, and a line for each picture that could not be read; such
        pictures have no entry
    """
    path = None if cache is None else cache / f"proposals-{_digest(settings)}.jsonl"
    lines = {} if path is None else dict(_read_lines(path))
    proposals, skipped = {}, []
    for done, example in enumerate(examples, start=1):
        key = _digest([example.id, file_stamp(example.path)])
        try:
            proposals[example.id] = lines[key] if key in lines else make(example)
        except AlphaClipError as error:
            skipped.append(f"picture {example.id}: {error}")
            continue
        if path is not None and key not in lines:
            _append(path, key, proposals[example.id])
        if progress is not None:
            progress(done, len(examples))
    return proposals, skipped


def sam_settings(model: SamModel, limits: MaskLimits | None = None, points: int = 0) -> dict:
    """What decides SAM's masks, for :func:`kept_in_file`."""
    stamp = file_stamp(Path(model.name)) if Path(model.name).is_file() else None
    limits_used = limits and asdict(limits)
    return {"sam": model.name, "file": stamp, "limits": limits_used, "points": points}


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]


def _read_lines(path: Path) -> Iterator[tuple[str, Sequence[Proposal]]]:
    """The whole lines; what follows the last one is cut off, so that new lines can be added."""
    if not path.is_file():
        return
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        with path.open("rb+") as file:
            file.truncate(len(whole))
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            key, rows, *checksum = parse_json(line, path)
            if checksum not in ([], [_digest([key, rows])]):  # earlier versions wrote none
                raise ValueError("its checksum is another")
            yield key, [Proposal(tuple(box), sure, rle) for box, sure, rle in rows]
        except (TypeError, ValueError) as error:
            logger.warning("%s, line %d is damaged (%s): made again", path, number, error)


def _append(path: Path, key: str, proposals: Sequence[Proposal]) -> None:
    rows = [[p.box, p.objectness, p.rle] for p in proposals]
    checksum = _digest([key, rows])
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps([key, rows, checksum], separators=(",", ":")) + "\n")
    except OSError as error:
        raise AlphaClipError(f"{path} cannot be written: {error}") from error

"""Reads a set of pairs from end to end and says what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from alphaclip.errors import AlphaClipError
from alphaclip.training.pairs.format.jobs import Progress, read_report
from alphaclip.training.pairs.format.pictures import decode_picture
from alphaclip.training.pairs.format.reading import shard_names
from alphaclip.training.pairs.format.records import PairError, from_members, read_entry
from alphaclip.training.pairs.format.reports import INDEX, ShardReport
from alphaclip.training.pairs.format.shards import PictureSpans, read_bytes, scan_shard


def check_pairs(folder: Path, progress: Progress | None = None) -> list[str]:
    """Checks every shard against its SHA-256, and every member.

    Pictures are decoded, and every region has to lie in its picture.

    Args:
        folder: of a set
        progress: of shards

    Returns:
        what is wrong, a line each, naming shard and member; empty if all is well

    Raises:
        PairError: if there is no set, or its index is damaged
    """
    problems = []
    if not (folder / INDEX).exists():
        problems.append(f"{folder} has no {INDEX}: the job that writes it is not finished")
    names = shard_names(folder)
    for number, name in enumerate(names, 1):
        problems += _check_shard(folder / name)
        if progress is not None:
            progress(number, len(names))
    return problems


def _check_shard(path: Path) -> Iterator[str]:
    try:
        contents = scan_shard(path)
    except PairError as error:
        yield str(error)
        return
    yield from (f"{path}: {problem}" for problem in contents.problems)
    report = read_report(path, ShardReport.from_dict)
    if report is None:
        yield f"{path} has no report beside it that can be read: its SHA-256 is unknown"
    elif contents.sha256 != report.sha256:
        yield f"{path} has another SHA-256 than was written: get it again, or make it again"
    for spans in contents.pictures:
        try:
            _check_picture(path, spans)
        except AlphaClipError as error:
            yield f"{path}: {spans.key}: {error}"


def _check_picture(path: Path, spans: PictureSpans) -> None:
    image, content = read_bytes(path, spans.image), read_bytes(path, spans.entry)
    picture = from_members(spans.key, spans.suffix, image, content)
    entry = read_entry(content)
    height, width = decode_picture(image, spans.key).shape[:2]
    if (height, width) != (entry["height"], entry["width"]):
        raise PairError(f"is {width} x {height} pixels, its JSON says otherwise")
    for region in picture.regions:
        region.region.bounds(height, width)

"""What is in a shard: found by reading a tar once, and remembered beside it."""

from __future__ import annotations

import tarfile
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from alphaclip.errors import AlphaClipError
from alphaclip.files import CHECKSUM, file_sha256, read_checked, write_checked
from alphaclip.training.datasets.files import MALFORMED
from alphaclip.training.pairs.format.pictures import SUFFIXES
from alphaclip.training.pairs.format.records import KEY, PairError, read_entry

FORMAT = 2
"""Of what is remembered of a shard; 1 had no checksums, and is found again."""

BLOCK = tarfile.BLOCKSIZE
ENTRY = "json"

MAX_ENTRY = 1 << 28
"""The most bytes that a picture or its JSON may have: a header may state anything."""

DAMAGED = "get it again, or make the set again, which makes this shard anew"
"""What to do about a shard."""

Span = tuple[int, int]
"""First byte and number of bytes of a member's content in its tar."""

CheckedSpan = tuple[int, int, int]
"""The same with the CRC-32 of the content."""


@dataclass(frozen=True)
class PictureSpans:
    """Where a picture is in a tar.

    Attributes:
        key: of its members
        suffix: of the picture's member
        image: of the picture
        entry: of its JSON
        regions: how many it has
    """

    key: str
    suffix: str
    image: CheckedSpan
    entry: CheckedSpan
    regions: int


@dataclass(frozen=True)
class Contents:
    """What is in a tar.

    Attributes:
        pictures: that have both their members, in order
        problems: members that are not read, a line each
        sha256: of the tar
    """

    pictures: tuple[PictureSpans, ...]
    problems: tuple[str, ...]
    sha256: str


def shard_contents(path: Path) -> Contents:
    """Finds the pictures of a shard; remembers them in ``<shard>.offsets.json``.

    What is remembered holds as long as the tar has the same size and time of change: the SHA-256
    is that of all bytes when it was read, and each member is compared with its CRC-32 whenever it
    is. Where it cannot be written, the tar is read each time.

    Args:
        path: of the tar

    Raises:
        PairError: if the tar is missing, cut or no tar; names it
    """
    beside = path.with_suffix(".offsets.json")
    try:
        status = path.stat()
    except OSError as error:
        raise PairError(f"{path} cannot be read ({error.strerror or error})") from error
    stamp = [status.st_size, status.st_mtime_ns]
    remembered = _recall(beside, stamp)
    if remembered is not None:
        return remembered
    contents = scan_shard(path)
    rows = [[*vars(picture).values()] for picture in contents.pictures]
    content = {**vars(contents), "format": FORMAT, "stamp": stamp, "pictures": rows}
    with suppress(AlphaClipError):
        write_checked(beside, content, CHECKSUM)
    return contents


def scan_shard(path: Path) -> Contents:
    """Reads a tar from end to end; nothing is ever extracted.

    Raises:
        PairError: if the tar is missing, cut or no tar; names it
    """
    images: dict[str, tuple[str, CheckedSpan]] = {}
    entries: dict[str, tuple[int, CheckedSpan]] = {}
    refused: set[str] = set()
    problems: list[str] = []
    end = 0
    try:
        with path.open("rb") as stream, tarfile.open(fileobj=stream, mode="r:") as tar:
            for member in tar:
                key, _, suffix = member.name.rpartition(".")
                try:
                    _check_member(member, key, suffix)
                    if key in (entries if suffix == ENTRY else images):
                        raise PairError("is there twice")
                    content = _content(stream, member)
                    span = member.offset_data, member.size, zlib.crc32(content)
                    if suffix == ENTRY:
                        entries[key] = len(read_entry(content)["regions"]), span
                    else:
                        images[key] = suffix, span
                except PairError as error:
                    refused.add(key)
                    problems.append(f"member {member.name[:120]!r} {error}")
                end = member.offset_data + -(-member.size // BLOCK) * BLOCK
            # A whole tar ends with empty blocks; tarfile does not mind if they are missing.
            stream.seek(end)
            if stream.read(BLOCK) != bytes(BLOCK):
                raise PairError(f"{path} is cut or damaged at byte {end}: make it again")
    except PairError:
        raise
    except (tarfile.TarError, OSError, *MALFORMED) as error:
        raise PairError(f"{path} cannot be read to its end: {error}") from error
    pictures = tuple(
        PictureSpans(key, suffix, image, entries[key][1], entries[key][0])
        for key, (suffix, image) in images.items()
        if key in entries
    )
    for key in sorted((images.keys() ^ entries.keys()) - refused):
        problems.append(f"{key!r} has no {'JSON' if key in images else 'picture'}")
    return Contents(pictures, tuple(problems), file_sha256(path))


def read_bytes(path: Path, span: Span | CheckedSpan) -> bytes:
    """The content of a member.

    Raises:
        PairError: if the file is missing, ends before, or holds something else by now
    """
    start, size, *checksum = span
    try:
        with path.open("rb") as stream:
            stream.seek(start)
            content = stream.read(size)
    except OSError as error:
        raise PairError(f"{path} cannot be read ({error.strerror or error})") from error
    if len(content) != size:
        raise PairError(f"{path} ends at byte {start + len(content)}: it was cut")
    if checksum not in ([], [zlib.crc32(content)]):
        raise PairError(
            f"{path} is damaged between the bytes {start} and {start + size}: {DAMAGED}"
        )
    return content


def _content(stream: BinaryIO, member: tarfile.TarInfo) -> bytes:
    """What a member holds; the stream is where it was, as tarfile expects."""
    if member.size > MAX_ENTRY:
        raise PairError(f"has {member.size} bytes")
    position = stream.tell()
    stream.seek(member.offset_data)
    content = stream.read(member.size)
    stream.seek(position)
    return content


def _check_member(member: tarfile.TarInfo, key: str, suffix: str) -> None:
    if not member.isreg() or member.issparse():
        raise PairError("is a link, a folder or the like: refused")
    if member.name.startswith("/") or ".." in member.name.split("/"):
        raise PairError("has a name that leads out of the archive: refused")
    if not KEY.fullmatch(key) or suffix not in (*SUFFIXES, ENTRY):
        raise PairError("has no place in a set of pairs")


def _recall(path: Path, stamp: list[int]) -> Contents | None:
    try:
        content = read_checked(path, "it is made again", CHECKSUM) or {}
        if content["format"] != FORMAT or content["stamp"] != stamp:
            return None
        rows = [_picture(*row) for row in content["pictures"]]
        return Contents(tuple(rows), tuple(map(str, content["problems"])), str(content["sha256"]))
    except MALFORMED:
        return None


def _picture(
    key: str, suffix: str, image: list[int], entry: list[int], regions: int
) -> PictureSpans:
    numbers = (*image, *entry, regions)
    if len(numbers) != 7 or not all(isinstance(n, int) and n >= 0 for n in numbers):
        raise ValueError("no spans in a file")
    if not KEY.fullmatch(key) or suffix not in SUFFIXES:
        raise ValueError("no name of a picture")
    first, second = ((start, size, checksum) for start, size, checksum in (image, entry))
    return PictureSpans(key, suffix, first, second, regions)

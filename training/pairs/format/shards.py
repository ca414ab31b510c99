"""What is in a shard: found by reading a tar once, and remembered beside it."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from alphaclip.errors import AlphaClipError
from alphaclip.files import write_text
from alphaclip.training.datasets.files import MALFORMED
from alphaclip.training.pairs.format.errors import PairError
from alphaclip.training.pairs.format.pictures import SUFFIXES
from alphaclip.training.pairs.format.records import KEY, read_entry

FORMAT = 1
BLOCK = tarfile.BLOCKSIZE
ENTRY = "json"

MAX_ENTRY = 1 << 28
"""The most bytes that the JSON of a picture may have."""


@dataclass(frozen=True)
class Place:
    """Where a picture is in a tar.

    Attributes:
        key: of its members
        suffix: of the picture's member
        image: first byte and number of bytes of the picture
        entry: first byte and number of bytes of its JSON
        regions: how many it has
    """

    key: str
    suffix: str
    image: tuple[int, int]
    entry: tuple[int, int]
    regions: int


@dataclass(frozen=True)
class Contents:
    """What is in a tar.

    Attributes:
        places: of the pictures, in order
        problems: members that are not read, a line each
    """

    places: tuple[Place, ...]
    problems: tuple[str, ...]


def shard_contents(path: Path) -> Contents:
    """Finds the pictures of a shard; remembers them in ``<shard>.offsets.json``.

    What is remembered holds as long as the tar has the same size and time of change. Where it
    cannot be written, the tar is read each time.

    Args:
        path: of the tar

    Raises:
        PairError: if the tar is missing, cut or no tar; names it
    """
    beside = path.with_suffix(".offsets.json")
    try:
        found = path.stat()
    except OSError as error:
        raise PairError(f"{path} cannot be read ({error.strerror or error})") from error
    stamp = [found.st_size, found.st_mtime_ns]
    known = _recall(beside, stamp)
    if known is not None:
        return known
    contents = scan_shard(path)
    with suppress(AlphaClipError):
        write_text(beside, json.dumps(_to_json(contents, stamp)) + "\n")
    return contents


def scan_shard(path: Path) -> Contents:
    """Reads the headers and JSON members of a tar; nothing is ever extracted.

    Raises:
        PairError: if the tar is missing, cut or no tar; names it
    """
    try:
        with path.open("rb") as stream, tarfile.open(fileobj=stream, mode="r:") as tar:
            scan = _Scan(stream)
            end = 0
            for member in tar:
                scan.add(member)
                end = member.offset_data + -(-member.size // BLOCK) * BLOCK
            _check_end(path, stream, end)
    except (tarfile.TarError, OSError, *MALFORMED) as error:
        if isinstance(error, PairError):
            raise
        raise PairError(f"{path} cannot be read to its end: {error}") from error
    return scan.contents()


def read_bytes(path: Path, place: tuple[int, int]) -> bytes:
    """A part of a file.

    Args:
        path: of the file
        place: first byte and number of bytes

    Raises:
        PairError: if the file is missing or ends before
    """
    start, size = place
    try:
        with path.open("rb") as stream:
            stream.seek(start)
            content = stream.read(size)
    except OSError as error:
        raise PairError(f"{path} cannot be read ({error.strerror or error})") from error
    if len(content) != size:
        raise PairError(f"{path} ends at byte {start + len(content)}: it was cut")
    return content


class _Scan:
    """Puts the members of a tar together to pictures."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._images: dict[str, tuple[str, tuple[int, int]]] = {}
        self._entries: dict[str, tuple[int, tuple[int, int]]] = {}
        self._refused: set[str] = set()
        self._problems: list[str] = []

    def add(self, member: tarfile.TarInfo) -> None:
        """Takes a member in, or says why not."""
        key, _, suffix = member.name.rpartition(".")
        try:
            _check_member(member, key, suffix)
            self._take(key, suffix, (member.offset_data, member.size))
        except PairError as error:
            self._refused.add(key)
            self._problems.append(f"member {member.name[:120]!r} {error}")

    def contents(self) -> Contents:
        """What was found; a picture needs both its members."""
        places = tuple(self._places())
        for key in sorted((self._images.keys() ^ self._entries.keys()) - self._refused):
            lacking = "JSON" if key in self._images else "picture"
            self._problems.append(f"{key!r} has no {lacking}")
        return Contents(places, tuple(self._problems))

    def _places(self) -> Iterator[Place]:
        for key, (suffix, image) in self._images.items():
            if key in self._entries:
                regions, entry = self._entries[key]
                yield Place(key, suffix, image, entry, regions)

    def _take(self, key: str, suffix: str, place: tuple[int, int]) -> None:
        if key in (self._entries if suffix == ENTRY else self._images):
            raise PairError("is there twice")
        if suffix != ENTRY:
            self._images[key] = suffix, place
            return
        if place[1] > MAX_ENTRY:
            raise PairError(f"has {place[1]} bytes")
        position = self._stream.tell()
        self._stream.seek(place[0])
        entry = read_entry(self._stream.read(place[1]))
        self._stream.seek(position)
        self._entries[key] = len(entry["regions"]), place


def _check_member(member: tarfile.TarInfo, key: str, suffix: str) -> None:
    if not member.isreg() or member.issparse():
        raise PairError("is a link, a folder or the like: refused")
    if member.name.startswith("/") or ".." in member.name.split("/"):
        raise PairError("has a name that leads out of the archive: refused")
    if not KEY.fullmatch(key) or suffix not in (*SUFFIXES, ENTRY):
        raise PairError("has no place in a set of pairs")


def _check_end(path: Path, stream: BinaryIO, end: int) -> None:
    """A whole tar ends with empty blocks; tarfile does not mind if they are missing."""
    stream.seek(end)
    if stream.read(BLOCK) != bytes(BLOCK):
        raise PairError(f"{path} is cut or damaged at byte {end}: make it again")


def _to_json(contents: Contents, stamp: list[int]) -> dict[str, Any]:
    rows = [[*vars(place).values()] for place in contents.places]
    return {"format": FORMAT, "stamp": stamp, "pictures": rows, "problems": contents.problems}


def _recall(path: Path, stamp: list[int]) -> Contents | None:
    try:
        content = json.loads(path.read_bytes())
        if content["format"] != FORMAT or content["stamp"] != stamp:
            return None
        rows = [_place(*row) for row in content["pictures"]]
        return Contents(tuple(rows), tuple(map(str, content["problems"])))
    except (OSError, *MALFORMED):
        return None


def _place(key: str, suffix: str, image: list[int], entry: list[int], regions: int) -> Place:
    numbers = (*image, *entry, regions)
    if len(numbers) != 5 or not all(isinstance(n, int) and n >= 0 for n in numbers):
        raise ValueError("no place in a file")
    if not KEY.fullmatch(key) or suffix not in SUFFIXES:
        raise ValueError("no name of a picture")
    return Place(key, suffix, (image[0], image[1]), (entry[0], entry[1]), regions)

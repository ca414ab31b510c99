"""Shards as img2dataset writes them: tars of ``<key>.jpg``, ``<key>.txt`` and ``<key>.json``.

A picture in a shard has a place as a file has a path: ``00000.tar/000000012``. Nothing is ever
extracted; members that are links, or whose names lead out of the archive, are refused.
"""

from __future__ import annotations

import json
import tarfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from alphaclip.training.datasets.files import inside
from alphaclip.training.pairs.format.errors import PairError
from alphaclip.training.pairs.format.records import Skipped
from alphaclip.training.pairs.format.shards import read_bytes

_PICTURES = ("jpg", "jpeg", "png", "webp")
_OTHERS = ("txt", "json")
_MOST_TEXT = 1 << 24

Span = tuple[int, int]
"""First byte and number of bytes of a member's content in its tar."""


@dataclass(frozen=True, slots=True)
class ShardPicture:
    """A picture in a shard.

    Attributes:
        shard: the tar
        key: of its members
        image: where the picture is; None if the download failed
        text: where its caption is, if it is there
        entry: where its JSON is, if it is there
    """

    shard: Path
    key: str
    image: Span | None = None
    text: Span | None = None
    entry: Span | None = None

    @property
    def place(self) -> str:
        """Of the picture, in the folder of the shard."""
        return f"{self.shard.name}/{self.key}"

    def content(self) -> dict[str, Any]:
        """The JSON member, with the text member as ``caption`` where it has none.

        Raises:
            PairError: if a member is damaged; names it
        """
        content: dict[str, Any] = {}
        if self.entry is not None:
            content = _parse(_read(self.shard, self.entry), f"{self.shard}: {self.key}.json")
        if self.text is not None and not content.get("caption"):
            content["caption"] = _read(self.shard, self.text).decode("utf-8", "replace").strip()
        return content


def find_shards(path: Path) -> list[Path]:
    """The shards in a folder, by name; or the one that is given.

    Raises:
        PairError: if there is none
    """
    found = [path] if path.suffix == ".tar" and path.is_file() else sorted(path.glob("*.tar"))
    if not found:
        raise PairError(f"{path} holds no .tar: expected the shards that img2dataset wrote")
    return found


def scan_shard(path: Path) -> tuple[list[ShardPicture], list[Skipped]]:
    """Finds the pictures of a shard by its headers.

    Args:
        path: of the tar

    Returns:
        the pictures, in order, and what was left out: members that were refused, and the rest of
        a shard from where it is cut or damaged
    """
    found: dict[str, dict[str, Span]] = {}
    left_out: list[Skipped] = []
    try:
        size = path.stat().st_size
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                _take(member, size, found, left_out, path)
    except (OSError, tarfile.TarError, ValueError) as error:
        left_out.append(Skipped("shard cut or damaged", f"{path}: {error}"))
    return [ShardPicture(path, key, **spans) for key, spans in found.items()], left_out


def read_member(root: Path, place: str) -> bytes:
    """A picture by its place.

    Args:
        root: folder that the place is in
        place: such as ``00000.tar/000000012``

    Raises:
        AlphaClipError: if it leads out of the folder, or there is no such picture
    """
    shard, _, key = place.rpartition("/")
    path = inside(root, shard)
    picture = _by_key(path, path.stat().st_mtime_ns if path.is_file() else 0).get(key)
    if picture is None or picture.image is None:
        raise PairError(f"{path} has no picture {key!r}")
    return read_bytes(path, picture.image)


def is_in_shard(place: str) -> bool:
    """Whether a place is in a shard."""
    return place.rpartition("/")[0].endswith(".tar")


@lru_cache(maxsize=16)
def _by_key(path: Path, changed: int) -> dict[str, ShardPicture]:
    return {picture.key: picture for picture in scan_shard(path)[0]}


def _take(
    member: tarfile.TarInfo,
    size: int,
    found: dict[str, dict[str, Span]],
    left_out: list[Skipped],
    path: Path,
) -> None:
    if member.isdir() and ".." not in member.name:
        return
    key, _, suffix = member.name.removeprefix("./").rpartition(".")
    where = f"{path}: {member.name[:120]}"
    if not member.isreg() or member.issparse():
        left_out.append(Skipped("member refused", f"{where} is a link or the like"))
    elif member.name.startswith("/") or set(key.split("/")) & {"..", ""} or "\\" in key:
        left_out.append(Skipped("member refused", f"{where} leads out of the archive"))
    elif member.offset_data + member.size > size:
        left_out.append(Skipped("shard cut or damaged", f"{where} is not whole"))
    elif suffix.lower() in _PICTURES:
        found.setdefault(key, {})["image"] = (member.offset_data, member.size)
    elif suffix.lower() in _OTHERS:
        kind = "text" if suffix.lower() == "txt" else "entry"
        found.setdefault(key, {})[kind] = (member.offset_data, member.size)


def _read(path: Path, span: Span) -> bytes:
    if span[1] > _MOST_TEXT:
        raise PairError(f"{path}: a text member has {span[1]:,} bytes")
    return read_bytes(path, span)


def _parse(content: bytes, where: str) -> dict[str, Any]:
    try:
        parsed = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise PairError(f"{where} is no JSON ({error})") from error
    if not isinstance(parsed, dict):
        raise PairError(f"{where} holds a {type(parsed).__name__}: expected an object")
    return parsed

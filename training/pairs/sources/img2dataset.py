"""Shards as img2dataset writes them: tars of ``<key>.jpg``, ``<key>.txt`` and ``<key>.json``.

A picture in a shard has a location as a file has a path: ``00000.tar/000000012``. Nothing is ever
extracted; members that are links, or whose names lead out of the archive, are refused.
"""

from __future__ import annotations

import json
import shlex
import tarfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from alphaclip.errors import AlphaClipError, ImageError
from alphaclip.training.datasets.files import inside
from alphaclip.training.pairs.format.pictures import decode_picture, picture_suffix, read_picture
from alphaclip.training.pairs.format.records import PairError, Skipped
from alphaclip.training.pairs.format.shards import Span, read_bytes

_PICTURES = ("jpg", "jpeg", "png", "webp")
_TEXTS = {"txt": "text", "json": "entry"}
_MOST_TEXT = 1 << 24
"""Bytes of a text member, as a header may state anything."""


@dataclass(frozen=True)
class PictureFile:
    """A picture as its file was.

    Attributes:
        content: of the file
        suffix: ``jpg``, ``png`` or ``webp``
    """

    content: bytes
    suffix: str


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
    def location(self) -> str:
        """Of the picture, in the folder of the shard."""
        return f"{self.shard.name}/{self.key}"

    def content(self) -> dict[str, Any]:
        """The JSON member, with the text member as ``caption`` where it has none.

        Raises:
            PairError: if a member is damaged; names it
        """
        content: dict[str, Any] = {}
        if self.entry is not None:
            content = _parse(_read_text(self.shard, self.entry), f"{self.shard}: {self.key}.json")
        if self.text is not None and not content.get("caption"):
            text = _read_text(self.shard, self.text)
            content["caption"] = text.decode("utf-8", "replace").strip()
        return content


class PictureFolder:
    """Opens pictures by their location: files in a folder, and members of shards in it.

    Args:
        root: the folder, which locations are relative to and must stay in
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def open(self, location: str) -> PictureFile | Skipped:
        """The picture at a location; nothing is raised for one that is not to be had."""
        name = location[:300]
        if "://" in location:
            return Skipped("an address, not a file", name)
        is_in_shard = location.rpartition("/")[0].endswith(".tar")
        try:
            if is_in_shard:
                content = read_member(self._root, location)
                suffix = picture_suffix(content, location)
            else:
                content, suffix = read_picture(inside(self._root, location))
        except PairError as error:
            return Skipped("missing", str(error))
        except ImageError as error:
            is_there = is_in_shard or inside(self._root, location).is_file()
            return Skipped("not a picture" if is_there else "missing", str(error))
        except AlphaClipError as error:
            return Skipped("path outside the folder", str(error))
        if suffix is None:
            return Skipped("another format", f"{name}: neither JPEG, PNG nor WebP")
        try:
            decode_picture(content, name)
        except ImageError as error:
            return Skipped("damaged picture", str(error))
        return PictureFile(content, suffix)


def to_download(listing: Path, url: str, caption: str, *others: str | None) -> str:
    """What to do with a listing of addresses: the command of img2dataset that makes its shards.

    Pictures keep their size, and JPEGs their bytes. Those whose sites refuse training are left out
    (``X-Robots-Tag``, img2dataset's default).

    Args:
        listing: ``.csv``, ``.tsv`` or ``.parquet``, or a folder of parquet files
        url: the name of its column of addresses
        caption: the name of its column of captions
        others: names of further columns that are read from the shards
    """
    shards = listing.with_name(f"{listing.stem}-shards")
    columns = [name for name in others if name]
    words = ["img2dataset", "--url_list", str(listing)]
    words += ["--input_format", listing.suffix.lower()[1:] or "parquet"]
    words += ["--url_col", url, "--caption_col", caption]
    words += ["--save_additional_columns", json.dumps(columns)] if columns else []
    words += ["--output_format", "webdataset", "--output_folder", str(shards)]
    words += ["--resize_mode", "no", "--skip_reencode", "True"]
    return (
        f"{listing} names pictures by their addresses: img2dataset (`pip install img2dataset`) "
        f"gets them, by\n\n  {shlex.join(words)}\n\nThen run this again on {shards}"
    )


def find_shards(path: Path) -> list[Path]:
    """The shards in a folder, by name; or the one that is given.

    Raises:
        PairError: if there is none
    """
    shards = [path] if path.suffix == ".tar" and path.is_file() else sorted(path.glob("*.tar"))
    if not shards:
        raise PairError(f"{path} holds no .tar: expected the shards that img2dataset wrote")
    return shards


def scan_shard(path: Path) -> tuple[list[ShardPicture], list[Skipped]]:
    """Finds the pictures of a shard by its headers.

    Args:
        path: of the tar

    Returns:
        the pictures, in order, and what was left out: members that were refused, and the rest of
        a shard from where it is cut or damaged
    """
    spans: dict[str, dict[str, Span]] = {}
    left_out: list[Skipped] = []
    try:
        size = path.stat().st_size
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                if member.isdir() and ".." not in member.name:
                    continue
                key, _, suffix = member.name.removeprefix("./").rpartition(".")
                kind = "image" if suffix.lower() in _PICTURES else _TEXTS.get(suffix.lower())
                where = f"{path}: {member.name[:120]}"
                if not member.isreg() or member.issparse():
                    left_out.append(Skipped("member refused", f"{where} is a link or the like"))
                elif member.name.startswith("/") or set(key.split("/")) & {"..", ""} or "\\" in key:
                    left_out.append(Skipped("member refused", f"{where} leads out of the archive"))
                elif member.offset_data + member.size > size:
                    left_out.append(Skipped("shard cut or damaged", f"{where} is not whole"))
                elif kind is not None:
                    spans.setdefault(key, {})[kind] = (member.offset_data, member.size)
    except (OSError, tarfile.TarError, ValueError) as error:
        left_out.append(Skipped("shard cut or damaged", f"{path}: {error}"))
    return [ShardPicture(path, key, **members) for key, members in spans.items()], left_out


def read_member(root: Path, location: str) -> bytes:
    """A picture in a shard.

    Args:
        root: folder that the location is in
        location: such as ``00000.tar/000000012``

    Raises:
        AlphaClipError: if it leads out of the folder, or there is no such picture
    """
    shard, _, key = location.rpartition("/")
    path = inside(root, shard)
    picture = _by_key(path, path.stat().st_mtime_ns if path.is_file() else 0).get(key)
    if picture is None or picture.image is None:
        raise PairError(f"{path} has no picture {key!r}")
    return read_bytes(path, picture.image)


@lru_cache(maxsize=16)
def _by_key(path: Path, changed: int) -> dict[str, ShardPicture]:
    """Scanned once while its time of change is the same; rows come shard by shard."""
    return {picture.key: picture for picture in scan_shard(path)[0]}


def _read_text(path: Path, span: Span) -> bytes:
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

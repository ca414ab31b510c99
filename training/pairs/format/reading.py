"""Reads sets of pairs: any pair at any time, from any process."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from alphaclip.regions.region import Region
from alphaclip.training.datasets.files import MALFORMED
from alphaclip.training.pairs.format.jobs import read_report
from alphaclip.training.pairs.format.pictures import SUFFIXES, decode_picture
from alphaclip.training.pairs.format.records import (
    PairError,
    PairPicture,
    from_members,
    read_entry,
    read_region,
)
from alphaclip.training.pairs.format.reports import INDEX, PLAN, ShardReport
from alphaclip.training.pairs.format.shards import DAMAGED, Contents, read_bytes, shard_contents

logger = logging.getLogger(__name__)

_SUFFIXES = tuple(SUFFIXES)
_SHARD, _SUFFIX, _IMAGE, _ENTRY = 0, 1, slice(2, 5), slice(5, 8)
"""Columns of a picture's row of spans."""


@dataclass(frozen=True)
class Pair:
    """A region, its texts and its picture.

    Attributes:
        image: uint8 (H, W, 3), upright
        region: of the picture
        texts: at least one; each is a positive text of the region
        label: its class, if known
        caption: of the whole picture, else the first texts of its regions, joined
        negatives: hard negative texts
        key: of the picture, a slash, and the number of the region in it
    """

    image: np.ndarray
    region: Region
    texts: tuple[str, ...]
    label: str | None
    caption: str
    negatives: tuple[str, ...]
    key: str


def open_pairs(*folders: Path, strict: bool = False) -> PairSet:
    """Opens one or several sets as one.

    The first time the tars are read once; what was found is kept beside them.

    Args:
        folders: of sets, or of WebDataset tars of the same form
        strict: whether a damaged shard or member is an error; else it is left out

    Raises:
        PairError: if there is no pair that can be read, or, if strict, anything is missing or
            damaged; names shard and member
    """
    opened: list[_Shard] = []
    left_out: list[str] = []
    for folder in folders:
        if (folder / PLAN).exists() and not (folder / INDEX).exists():
            left_out.append(f"{folder} has no {INDEX}: the job that writes it is not finished")
        for name in shard_names(folder):
            try:
                opened.append(_open_shard(folder / name))
            except PairError as error:
                left_out.append(str(error))
            else:
                problems = opened[-1].contents.problems
                left_out += [f"{folder / name}: {problem}" for problem in problems]
    for line in left_out:
        if strict:
            raise PairError(line)
        logger.warning("left out: %s", line)
    if not any(shard.contents.pictures for shard in opened):
        raise PairError(f"no pair can be read in {', '.join(map(str, folders))}")
    return PairSet(opened, left_out)


@dataclass(frozen=True)
class _Shard:
    """A tar, and what is in it."""

    path: Path
    contents: Contents


class PairSet(Sequence[Pair]):
    """Pairs of (picture, region), in the order of their shards; made by :func:`open_pairs`.

    It can be pickled, and be used by several processes and threads at once: files are open only
    while they are read.

    Attributes:
        left_out: what cannot be read, a line each
        fingerprint: 32 hex digits; another one if the content is another
        picture_count: how many pictures there are
    """

    def __init__(self, shards: Sequence[_Shard], left_out: Sequence[str]) -> None:
        spans = [(n, picture) for n, s in enumerate(shards) for picture in s.contents.pictures]
        lines = [f"{shard.contents.sha256} {len(shard.contents.pictures)}" for shard in shards]
        self.left_out = list(left_out)
        self.fingerprint = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:32]
        self.picture_count = len(spans)
        self._shards = [shard.path for shard in shards]
        # Arrays rather than objects, as millions of pictures go to every worker.
        self._keys = np.array([picture.key for _, picture in spans], "S")
        self._spans = np.array(
            [(n, _SUFFIXES.index(p.suffix), *p.image, *p.entry) for n, p in spans], np.int64
        )
        self._starts = np.cumsum([0, *(picture.regions for _, picture in spans)], dtype=np.int64)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, number: Any) -> Any:
        """A pair.

        Args:
            number: in [-len, len)

        Raises:
            IndexError: if there is no such pair
            PairError: if its members are damaged
            ImageError: if its picture is damaged
        """
        picture = self.picture_of(number)
        within = range(len(self))[number] - int(self._starts[picture])
        return self.of(picture, [within])[0]

    def of(self, picture: int, regions: Sequence[int] | None = None) -> list[Pair]:
        """The pairs of a picture, which is decoded once; raises as `__getitem__`.

        Args:
            picture: its number, in [0, picture_count)
            regions (None): their numbers in it; None for all
        """
        key, entry = self._entry(picture)
        image = decode_picture(self._read(picture, _IMAGE), key)
        shape = entry["height"], entry["width"]
        if image.shape[:2] != shape:
            raise PairError(f"{key}: the picture has the shape {image.shape[:2]}, its JSON {shape}")
        firsts = ", ".join(other["texts"][0] for other in entry["regions"])
        pairs = []
        for number in range(len(entry["regions"])) if regions is None else regions:
            one = read_region(entry["regions"][number], shape)
            caption, key_of_pair = entry.get("caption") or firsts, f"{key}/{number}"
            pairs.append(
                Pair(image, one.region, one.texts, one.label, caption, one.negatives, key_of_pair)
            )
        return pairs

    def picture_of(self, number: int) -> int:
        """The number of the picture that a pair belongs to, in [0, picture_count)."""
        return int(np.searchsorted(self._starts, range(len(self))[number], "right")) - 1

    def of_picture(self, picture: int) -> range:
        """The numbers of the pairs of a picture.

        Args:
            picture: its number, in [0, picture_count)
        """
        first = range(self.picture_count)[picture]
        return range(int(self._starts[first]), int(self._starts[first + 1]))

    def pictures(self) -> Iterator[PairPicture]:
        """Every picture with its regions, in order; pictures are not decoded.

        Raises:
            PairError: if a member is damaged
        """
        for picture in range(self.picture_count):
            yield self.picture(picture)

    def picture(self, picture: int) -> PairPicture:
        """A picture with its regions; it is not decoded.

        Args:
            picture: its number, in [0, picture_count)

        Raises:
            PairError: if a member is damaged
        """
        suffix = _SUFFIXES[self._spans[picture, _SUFFIX]]
        image, entry = (self._read(picture, what) for what in (_IMAGE, _ENTRY))
        return from_members(self._key(picture), suffix, image, entry)

    def entries(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Key and JSON of every picture, in order; much faster than :meth:`pictures`.

        Raises:
            PairError: if a member is damaged
        """
        return map(self._entry, range(self.picture_count))

    def _entry(self, picture: int) -> tuple[str, dict[str, Any]]:
        return self._key(picture), read_entry(self._read(picture, _ENTRY))

    def _key(self, picture: int) -> str:
        key: bytes = self._keys[picture]
        return key.decode()

    def _read(self, picture: int, what: slice) -> bytes:
        start, size, checksum = self._spans[picture, what].tolist()
        shard = self._shards[self._spans[picture, _SHARD]]
        try:
            return read_bytes(shard, (start, size, checksum))
        except PairError as error:
            raise PairError(f"{self._key(picture)}: {error}") from error


def shard_names(folder: Path) -> list[str]:
    """The tars of a set: those that are there, and those that its index names.

    Raises:
        PairError: if there is none
    """
    names = {path.name for path in folder.glob("*.tar")}
    try:
        listed = json.loads((folder / INDEX).read_bytes())["shards"]
        names |= {str(shard["name"]) for shard in listed}
    except FileNotFoundError:
        pass
    except (OSError, *MALFORMED) as error:
        raise PairError(f"{folder / INDEX} cannot be read ({error}): make the set again") from error
    if not names:
        inside = ", ".join(sorted({path.parent.name for path in folder.glob("*/*.tar")}))
        hint = f"there are sets in {inside}" if inside else "name the folder that `pairs` wrote"
        raise PairError(f"{folder} has no shards of pairs: {hint}")
    wrong = sorted(name for name in names if Path(name).name != name or "\\" in name)
    if wrong:
        raise PairError(f"{folder / INDEX} names the shard {wrong[0][:120]!r}: it is refused")
    return sorted(names)


def _open_shard(path: Path) -> _Shard:
    contents = shard_contents(path)
    report = read_report(path, ShardReport.from_dict)
    if report is not None and contents.sha256 != report.sha256:
        raise PairError(
            f"{path} is damaged: it is not what {path.with_suffix('.json').name} says was "
            f"written: {DAMAGED}"
        )
    return _Shard(path, contents)

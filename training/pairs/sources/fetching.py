"""Pictures that a table names: fetched or read once, checked, and kept for the next run.

What is kept of an address is the file as it was, or the reason why there is none, so that a run
which goes on, or a second one, asks no server again.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from alphaclip.errors import AlphaClipError, ImageError
from alphaclip.files import write_atomically, write_text
from alphaclip.training.datasets.files import inside
from alphaclip.training.pairs.format.errors import PairError
from alphaclip.training.pairs.format.pictures import decode_picture, picture_suffix, read_picture
from alphaclip.training.pairs.format.records import Skipped
from alphaclip.training.pairs.sources.http_client import TEMPORARY, FetchFailure, FetchSettings, get
from alphaclip.training.pairs.sources.img2dataset import is_in_shard, read_member

_AHEAD = 4
"""Pictures for each thread that are fetched before somebody asks for them."""


@dataclass(frozen=True)
class PictureFile:
    """A picture as its file was.

    Attributes:
        content: of the file
        suffix: ``jpg``, ``png`` or ``webp``
    """

    content: bytes
    suffix: str


class PictureStore:
    """Opens pictures by address or path.

    Args:
        cache: folder where what was fetched is kept
        settings: the limits
        root: folder that paths are relative to and must stay in; None opens addresses only

    Attributes:
        fetched: how many addresses a server was asked for
    """

    def __init__(
        self, cache: Path, settings: FetchSettings | None = None, root: Path | None = None
    ) -> None:
        self.fetched = 0
        self._cache = cache
        self._settings = settings or FetchSettings()
        self._root = root
        self._lock = threading.Lock()

    def open(self, place: str) -> PictureFile | Skipped:
        """The picture at an address or path; nothing is raised for one that is not to be had.

        Args:
            place: an http(s) address, or a path in the root

        Raises:
            AlphaClipError: if the cache cannot be written
        """
        if "://" not in place:
            return self._read_path(place)
        kept = self._kept(place)
        if kept is None:
            kept = self._fetch(place)
            self._keep(place, kept)
        return kept

    def open_all(self, places: Iterable[str]) -> Iterator[PictureFile | Skipped]:
        """Opens pictures in threads, a bounded number ahead of who asks.

        Yields:
            what :meth:`open` returns for each, in order
        """
        waiting: deque[Future[PictureFile | Skipped]] = deque()
        pool = ThreadPoolExecutor(self._settings.threads)
        try:
            for place in places:
                waiting.append(pool.submit(self.open, place))
                if len(waiting) >= self._settings.threads * _AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

    def _read_path(self, place: str) -> PictureFile | Skipped:
        if self._root is None:
            return Skipped("not an http(s) address", place[:300])
        try:
            content, suffix = _read(self._root, place)
        except PairError as error:
            return Skipped("missing", str(error))
        except ImageError as error:
            is_there = is_in_shard(place) or inside(self._root, place).is_file()
            return Skipped("not a picture" if is_there else "missing", str(error))
        except AlphaClipError as error:
            return Skipped("path outside the folder", str(error))
        return self._checked(place, content, suffix)

    def _fetch(self, url: str) -> PictureFile | Skipped:
        with self._lock:
            self.fetched += 1
        try:
            content = get(url, self._settings)
            return self._checked(url, content, picture_suffix(content, url))
        except FetchFailure as failure:
            return Skipped(failure.reason, _named(url, failure.detail))
        except ImageError as error:
            return Skipped("not a picture", str(error)[:500])

    def _checked(self, place: str, content: bytes, suffix: str | None) -> PictureFile | Skipped:
        if suffix is None:
            return Skipped("another format", f"{place[:300]}: neither JPEG, PNG nor WebP")
        if (pixels := _pixels(content)) > self._settings.most_pixels:
            detail = f"{pixels:,} pixels, the limit is {self._settings.most_pixels:,}"
            return Skipped("too large", _named(place, detail))
        try:
            decode_picture(content, place[:300])
        except ImageError as error:
            return Skipped("damaged picture", str(error))
        return PictureFile(content, suffix)

    def _kept(self, url: str) -> PictureFile | Skipped | None:
        path = self._path(url)
        for suffix in ("jpg", "png", "webp"):
            if (found := path.with_suffix(f".{suffix}")).is_file():
                return PictureFile(found.read_bytes(), suffix)
        try:
            entry = json.loads(path.with_suffix(".json").read_text("utf-8"))
            failure = Skipped(str(entry["reason"]), str(entry["detail"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return None if self._settings.retry and failure.reason in TEMPORARY else failure

    def _keep(self, url: str, found: PictureFile | Skipped) -> None:
        path = self._path(url)
        if isinstance(found, PictureFile):
            write_atomically(path.with_suffix(f".{found.suffix}"), lambda f: f.write(found.content))
        else:
            write_text(path.with_suffix(".json"), json.dumps(vars(found)))

    def _path(self, url: str) -> Path:
        digest = hashlib.sha256(url.encode("utf-8", "surrogatepass")).hexdigest()
        return self._cache / digest[:2] / digest


def _read(root: Path, place: str) -> tuple[bytes, str | None]:
    if not is_in_shard(place):
        return read_picture(inside(root, place))
    content = read_member(root, place)
    return content, picture_suffix(content, place)


def _pixels(content: bytes) -> int:
    """Pixels that a picture has by its header; its format is known to be a good one."""
    from PIL import Image

    with Image.open(BytesIO(content)) as image:
        return image.width * image.height


def _named(place: str, detail: str) -> str:
    return f"{place[:300]}: {detail}" if detail else place[:300]

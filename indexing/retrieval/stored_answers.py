"""What a language model has said of regions, beside the vectors, so that a run may be killed.

::

    language/<run>/part-000000.json    some regions, and what was said of them
    language/<run>/calibration.json    from scores to probabilities, once reviews were given
    language/<run>/writer.lock         locked while a run is on its way

A run is told by the model and what it is asked. Of a region that is in several parts, as it was
edited, the last one counts.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alphaclip.files import (
    DamagedError,
    StoreError,
    malformed,
    read_checked,
    refuse_link,
    remove_partials,
    write_checked,
    writer_lock,
)
from alphaclip.indexing.store.entries import check_kinds
from alphaclip.indexing.store.manifests import has_store

logger = logging.getLogger(__name__)

_PARTS = "part-" + 6 * "[0-9]" + ".json"

Said = tuple[str, str, str, Any]
"""Sample id and label id; what it was made of: picture, region, and what was put into the question;
and what was said, JSON."""


class StoredAnswers:
    """The parts of one run; who adds to them does it inside of :meth:`writing`.

    Args:
        store: the folder of the index's store
        about: the model and what it is asked, JSON

    Attributes:
        folder: of the run
    """

    def __init__(self, store: Path, about: Sequence[Any]) -> None:
        digest = hashlib.sha256(json.dumps(list(about)).encode()).hexdigest()[:24]
        self._store = store
        self._next = 0
        self.folder = refuse_link(refuse_link(store / "language") / digest)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Makes this process the one that adds to them.

        Raises:
            StoreBusyError: if the same run is on its way elsewhere
            StoreError: if the index was deleted meanwhile
        """
        self._check_store()
        with writer_lock(self.folder):
            remove_partials(self.folder)
            yield

    def read(self) -> dict[tuple[str, str], tuple[str, Any]]:
        """Sample id and label id to what was said, and what that was made of."""
        answers = {}
        for path in sorted(self.folder.glob(_PARTS)):
            self._next = int(path.stem.removeprefix("part-")) + 1
            try:
                content = read_checked(path, "its regions are asked again", check=_check)
            except DamagedError as error:
                logger.warning("%s", error)
                continue
            for sample, label, made_of, said in (content or {}).get("regions", ()):
                answers[sample, label] = (made_of, said)
        return answers

    def add(self, said: Sequence[Said]) -> None:
        """Adds a part behind those that were read.

        Raises:
            StoreError: if it cannot be written, or the index was deleted meanwhile
        """
        self._check_store()
        write_checked(self.folder / f"part-{self._next:06d}.json", {"regions": list(said)})
        self._next += 1

    @property
    def calibration(self) -> dict[str, Any] | None:
        """What was last set as such; None if nothing was."""
        return read_checked(self._calibration, "delete it, and give the reviews again")

    @calibration.setter
    def calibration(self, content: dict[str, Any]) -> None:
        write_checked(self._calibration, content)

    def _check_store(self) -> None:
        if not has_store(self._store):
            raise StoreError(f"{self._store} is gone: the index was deleted while it was described")

    @property
    def _calibration(self) -> Path:
        return self.folder / "calibration.json"


def _check(content: dict[str, Any], path: Path) -> None:
    check_kinds(content, {"regions": list}, path)
    for row in content["regions"]:
        is_row = isinstance(row, list) and len(row) == 4
        if not is_row or not all(isinstance(one, str) for one in row[:3]):
            raise malformed(path, "a region", row)

"""Which store a Brain run reads and writes, looked up again at each call."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any

from alphaclip.indexing.brain.arguments import BrainArgumentError
from alphaclip.indexing.brain.vectors import Vectors, open_vectors
from alphaclip.indexing.dataset.locations import (
    named_store,
    own_folder,
    owns,
    remove_index,
    store_folder,
    store_id,
)

if TYPE_CHECKING:
    import fiftyone as fo


class RunStore:
    """The store of one run, or, for an index without a key, a temporary folder.

    Attributes:
        known: what was opened last
    """

    def __init__(self, dataset: fo.Dataset, config: Any, key: str | None) -> None:
        """Nothing is read yet.

        Args:
            dataset: that the run belongs to
            config: of the run
            key: of the run; None makes a folder that goes when this object does
        """
        self.known: Vectors | None = None
        self._dataset, self._config = dataset, config
        self._holds, self._lock = 0, RLock()
        self._temporary: Path | None = None
        if key is None:
            self._temporary = Path(tempfile.mkdtemp(prefix="alphaclip-"))
            weakref.finalize(self, shutil.rmtree, self._temporary, ignore_errors=True)

    def look(self, key: str | None) -> Vectors:
        """The current version; the same as before while it is held.

        Raises:
            StoreError: if the store is damaged, or its format is newer
        """
        with self._lock:
            if self.known is None or not self._holds:
                self.known = open_vectors(self._folder(key), self._config.metric, self.known)
            return self.known

    @contextmanager
    def held(self, key: str | None) -> Iterator[Vectors]:
        """Lets one version answer all that is asked inside; other threads wait."""
        with self._lock:
            current = self.look(key)
            self._holds += 1
            try:
                yield current
            finally:
                self._holds -= 1

    def to_write(self, key: str | None) -> Path:
        """The folder to write to; a clone of a dataset gets its own copy now.

        Raises:
            BrainArgumentError: if the run was deleted
            StoreError: if the store cannot be copied
        """
        if self._temporary is not None:
            return self._temporary
        if key is None or named_store(self._dataset, key) is None:
            raise BrainArgumentError("the Brain run of this index was deleted: make it again")
        folder = own_folder(self._dataset, key)
        self._config.store = store_id(self._dataset, key)
        return folder

    def delete(self, key: str | None) -> None:
        """Deletes the vectors, where nobody else uses them; safe to repeat."""
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)
        elif key is not None:
            remove_index(self._dataset, key)

    def _folder(self, key: str | None) -> Path:
        if self._temporary is not None:
            return self._temporary
        store = self._config.store
        if key is not None and (store is None or not owns(self._dataset, store)):
            # Whoever writes to a clone first gives its run another store.
            store = named_store(self._dataset, key) or store or store_id(self._dataset, key)
            self._config.store = store
        return store_folder(store)

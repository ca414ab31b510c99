"""Small records that are kept with a dataset, in FiftyOne's execution store.

Each record has a key of its own, so several processes that add at once lose nothing. FiftyOne
deletes the records with the dataset; a clone of the dataset starts without any.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import fiftyone as fo


class Records:
    """The records of one kind.

    Values are kept as JSON text: no key or character in them means anything to the database.

    Args:
        dataset: or a view of it, whose records
        name: of the kind
    """

    def __init__(self, dataset: fo.SampleCollection, name: str) -> None:
        from fiftyone.operators import ExecutionStore

        dataset_id = dataset._root_dataset._doc.id
        self._store = ExecutionStore.create(f"alphaclip_{name}", dataset_id)

    def get(self, key: str) -> Any:
        """A record; None if there is none of this key."""
        text = self._store.get(key)
        return None if text is None else json.loads(text)

    def set(self, key: str, value: Any) -> None:
        """Keeps a JSON value under a key; at most 16 MB."""
        self._store.set(key, json.dumps(value))

    def delete(self, key: str) -> None:
        """Forgets a record, if there is one."""
        self._store.delete(key)

    def keys(self, prefix: str = "") -> list[str]:
        """The keys that begin so, in order."""
        return sorted(key for key in self._store.list_keys() if key.startswith(prefix))

    def newest(self) -> Iterator[tuple[str, Any]]:
        """Key and value of each record whose key is of :func:`new_key`, the newest first."""
        for key in self.keys()[::-1]:
            value = self.get(key)
            if value is not None:
                yield key, value


def new_key() -> str:
    """A key that nobody else makes; keys sort by the time at which they were made."""
    return f"{time.time_ns():020d}-{uuid.uuid4().hex[:12]}"

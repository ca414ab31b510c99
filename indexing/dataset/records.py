"""Small records that are kept with a dataset, in FiftyOne's execution store.

Each record has a key of its own, so several processes that add at once lose nothing. FiftyOne
deletes the records with the dataset; a clone of the dataset starts without any.
"""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from alphaclip.errors import AlphaClipError

if TYPE_CHECKING:
    import fiftyone as fo


T = TypeVar("T")

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")


class RecordError(AlphaClipError):
    """A record is damaged, or too large to be kept."""


class Records:
    """The records of one kind.

    Values are kept as JSON text: no key or character in them means anything to the database.

    Args:
        dataset: or a view of it, whose records
        name: of the kind
    """

    def __init__(self, dataset: fo.SampleCollection, name: str) -> None:
        from fiftyone.operators import ExecutionStore

        self._dataset_id = dataset._root_dataset._doc.id
        self._store = ExecutionStore.create(f"alphaclip_{name}", self._dataset_id)

    def get(self, key: str) -> Any:
        """A record; None if there is none of this key.

        Raises:
            RecordError: if it is not what was written
        """
        with self.reading(key) as value:
            return value

    @contextmanager
    def reading(self, key: str) -> Iterator[Any]:
        """Gives a record, to be taken apart inside; None if there is none of this key.

        Raises:
            RecordError: if it is not what was written, which may show only inside
        """
        with self._checking(key):
            text = self._store.get(key)
            yield None if text is None else json.loads(text)

    def read_all(self, prefix: str, read: Callable[[Any], T]) -> list[T]:
        """Reads the records whose keys begin so, in order of the keys, all at once.

        Args:
            prefix: of the keys
            read: takes a record apart, as is done inside of :meth:`reading`

        Raises:
            RecordError: if one is not what was written
        """
        import fiftyone.core.odm as foo
        from fiftyone.factory.repos.execution_store import MongoExecutionStoreRepo

        # FiftyOne's store has no way to read several.
        collection = foo.get_db_conn()[MongoExecutionStoreRepo.COLLECTION_NAME]
        query = {
            "store_name": self._store.store_name,
            "dataset_id": self._dataset_id,
            "key": {"$regex": f"^{re.escape(prefix)}"},
        }
        records = []
        for one in collection.find(query, {"key": 1, "value": 1}).sort("key", 1):
            with self._checking(one["key"]):
                records.append(read(json.loads(one["value"])))
        return records

    @contextmanager
    def _checking(self, key: str) -> Iterator[None]:
        """Says which record it is that is not what was written."""
        try:
            yield
        except AlphaClipError:
            raise
        except (AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
            name = self._store.store_name
            forget = f"fiftyone.operators.ExecutionStore.create({name!r}, dataset._doc.id)"
            raise RecordError(
                f"record {key!r} of {name!r} is damaged; to go on without it: "
                f"{forget}.delete({key!r})"
            ) from error

    def set(self, key: str, value: Any) -> None:
        """Keeps a JSON value under a key.

        Raises:
            RecordError: if it takes more than 16 MB
        """
        from pymongo.errors import DocumentTooLarge

        text = json.dumps(value)
        try:
            self._store.set(key, text)
        except DocumentTooLarge as error:
            raise RecordError(
                f"record {key!r} of {self._store.store_name!r} has {len(text) / 1e6:.0f} MB, and "
                "the database holds 16 MB at most: do it in smaller parts"
            ) from error

    def delete(self, key: str) -> None:
        """Forgets a record, if there is one."""
        self._store.delete(key)

    def keys(self, prefix: str = "") -> list[str]:
        """The keys that begin so, in order."""
        return sorted(key for key in self._store.list_keys() if key.startswith(prefix))


def check_record_name(what: str, name: str) -> None:
    """Checks the name that somebody gives to what is kept.

    Args:
        what: it is of, as "a class set"
        name: a lowercase letter, then lowercase letters, digits and underscores

    Raises:
        AlphaClipError: if it is none
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise AlphaClipError(
            f"{what} has the name {name!r:.80}: expected a lowercase letter, then at most 63 "
            "lowercase letters, digits and underscores"
        )


def new_key() -> str:
    """A key that nobody else makes; keys sort by the time at which they were made."""
    return f"{time.time_ns():020d}-{uuid.uuid4().hex[:12]}"

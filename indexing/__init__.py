"""Region vectors at rest, and search over them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alphaclip.indexing.building import build
    from alphaclip.indexing.region_index import RegionIndex, load

__all__ = ["RegionIndex", "build", "load"]

_HOMES = {
    "RegionIndex": "alphaclip.indexing.region_index",
    "build": "alphaclip.indexing.building",
    "load": "alphaclip.indexing.region_index",
}


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)

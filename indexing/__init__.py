"""Region vectors at rest, and search over them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alphaclip.indexing.building import build, embed_part, merge_plan, plan
    from alphaclip.indexing.exporting import export
    from alphaclip.indexing.joint import search
    from alphaclip.indexing.queries import Example
    from alphaclip.indexing.region_index import RegionIndex, load
    from alphaclip.indexing.similarity import register_backend

__all__ = [
    "Example",
    "RegionIndex",
    "build",
    "embed_part",
    "export",
    "load",
    "merge_plan",
    "plan",
    "register_backend",
    "search",
]

_HOMES = {
    "Example": "queries",
    "RegionIndex": "region_index",
    "build": "building",
    "embed_part": "building",
    "export": "exporting",
    "load": "region_index",
    "merge_plan": "building",
    "plan": "building",
    "register_backend": "similarity",
    "search": "joint",
}


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"alphaclip.indexing.{_HOMES[name]}"), name)

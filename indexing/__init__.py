"""Region vectors at rest, and search over them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alphaclip.indexing.acting import (
        export_ids,
        history,
        label,
        save_view,
        tag,
        tag_samples,
        undo,
    )
    from alphaclip.indexing.building import build, embed_part, merge_plan, plan
    from alphaclip.indexing.explaining import explain_region
    from alphaclip.indexing.exporting import export
    from alphaclip.indexing.feedback import refine
    from alphaclip.indexing.joint import search
    from alphaclip.indexing.label_errors import find_label_errors
    from alphaclip.indexing.labelling.classes import LabelClass
    from alphaclip.indexing.materializing import materialize
    from alphaclip.indexing.outliers import find_outliers
    from alphaclip.indexing.pictures import find_pictures
    from alphaclip.indexing.queries import Example
    from alphaclip.indexing.region_index import RegionIndex, load
    from alphaclip.indexing.scores import count_above, distribution
    from alphaclip.indexing.searches import Search, recent, remember
    from alphaclip.indexing.segmenting import segment
    from alphaclip.indexing.similarity import register_backend
    from alphaclip.indexing.unlabelled import find_unlabelled

__all__ = [
    "Example",
    "LabelClass",
    "RegionIndex",
    "Search",
    "build",
    "count_above",
    "distribution",
    "embed_part",
    "explain_region",
    "export",
    "export_ids",
    "find_label_errors",
    "find_outliers",
    "find_pictures",
    "find_unlabelled",
    "history",
    "label",
    "load",
    "materialize",
    "merge_plan",
    "plan",
    "recent",
    "refine",
    "register_backend",
    "remember",
    "save_view",
    "search",
    "segment",
    "tag",
    "tag_samples",
    "undo",
]

_HOMES = {
    "Example": "queries",
    "LabelClass": "labelling.classes",
    "RegionIndex": "region_index",
    "Search": "searches",
    "build": "building",
    "count_above": "scores",
    "distribution": "scores",
    "embed_part": "building",
    "explain_region": "explaining",
    "export": "exporting",
    "export_ids": "acting",
    "find_label_errors": "label_errors",
    "find_outliers": "outliers",
    "find_pictures": "pictures",
    "find_unlabelled": "unlabelled",
    "history": "acting",
    "label": "acting",
    "load": "region_index",
    "materialize": "materializing",
    "merge_plan": "building",
    "plan": "building",
    "recent": "searches",
    "refine": "feedback",
    "register_backend": "similarity",
    "remember": "searches",
    "save_view": "acting",
    "search": "joint",
    "segment": "segmenting",
    "tag": "acting",
    "tag_samples": "acting",
    "undo": "acting",
}


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"alphaclip.indexing.{_HOMES[name]}"), name)

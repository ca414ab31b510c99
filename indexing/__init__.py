"""Region vectors at rest, and search over them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alphaclip.indexing.act.acting import (
        export_ids,
        history,
        label,
        save_view,
        tag,
        tag_samples,
        undo,
    )
    from alphaclip.indexing.brain.exporting import export
    from alphaclip.indexing.embedding.building import embed_part, plan
    from alphaclip.indexing.embedding.unfinished import unfinished
    from alphaclip.indexing.explore.explaining import explain_region
    from alphaclip.indexing.explore.feedback import refine
    from alphaclip.indexing.explore.label_errors import find_label_errors
    from alphaclip.indexing.explore.outliers import find_outliers
    from alphaclip.indexing.explore.picture_search import find_pictures
    from alphaclip.indexing.explore.scores import count_above, distribution
    from alphaclip.indexing.explore.searches import Search, recent, remember
    from alphaclip.indexing.explore.several_indexes import search
    from alphaclip.indexing.explore.unlabelled import find_unlabelled
    from alphaclip.indexing.labelling.scoring.classes import LabelClass
    from alphaclip.indexing.masks.materializing import materialize
    from alphaclip.indexing.masks.segmenting import segment, segment_one
    from alphaclip.indexing.region_index import RegionIndex, build, load, merge_plan, resume
    from alphaclip.indexing.retrieval.queries import Example
    from alphaclip.indexing.similarity import register_backend

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
    "resume",
    "save_view",
    "search",
    "segment",
    "segment_one",
    "tag",
    "tag_samples",
    "undo",
    "unfinished",
]

_HOMES = {
    "Example": "retrieval.queries",
    "LabelClass": "labelling.scoring.classes",
    "RegionIndex": "region_index",
    "Search": "explore.searches",
    "build": "region_index",
    "count_above": "explore.scores",
    "distribution": "explore.scores",
    "embed_part": "embedding.building",
    "explain_region": "explore.explaining",
    "export": "brain.exporting",
    "export_ids": "act.acting",
    "find_label_errors": "explore.label_errors",
    "find_outliers": "explore.outliers",
    "find_pictures": "explore.picture_search",
    "find_unlabelled": "explore.unlabelled",
    "history": "act.acting",
    "label": "act.acting",
    "load": "region_index",
    "materialize": "masks.materializing",
    "merge_plan": "region_index",
    "plan": "embedding.building",
    "recent": "explore.searches",
    "refine": "explore.feedback",
    "register_backend": "similarity",
    "remember": "explore.searches",
    "resume": "region_index",
    "save_view": "act.acting",
    "search": "explore.several_indexes",
    "segment": "masks.segmenting",
    "segment_one": "masks.segmenting",
    "tag": "act.acting",
    "tag_samples": "act.acting",
    "undo": "act.acting",
    "unfinished": "embedding.unfinished",
}


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"alphaclip.indexing.{_HOMES[name]}"), name)

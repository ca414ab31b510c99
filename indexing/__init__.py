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
    from alphaclip.indexing.brain.duplicates import find_duplicates
    from alphaclip.indexing.brain.exporting import export
    from alphaclip.indexing.brain.syncing import sync
    from alphaclip.indexing.dataset.decisions import decide, decisions, undecide
    from alphaclip.indexing.embedding.building import embed_part, plan
    from alphaclip.indexing.embedding.engines.running import run, status
    from alphaclip.indexing.embedding.engines.worker import work
    from alphaclip.indexing.embedding.unfinished import unfinished
    from alphaclip.indexing.explore.concepts import (
        Concept,
        concepts,
        delete_concept,
        dismiss,
        keep_concept,
        undismiss,
        waiting,
    )
    from alphaclip.indexing.explore.drawn_labels import (
        find_badly_drawn_labels,
        find_doubled_labels,
    )
    from alphaclip.indexing.explore.error_neighbors import error_neighbors
    from alphaclip.indexing.explore.example_pictures import keep_picture
    from alphaclip.indexing.explore.explaining import explain_region
    from alphaclip.indexing.explore.feedback import refine
    from alphaclip.indexing.explore.findings import Finding
    from alphaclip.indexing.explore.label_errors import find_label_errors
    from alphaclip.indexing.explore.missing_labels import find_missing_labels
    from alphaclip.indexing.explore.outliers import find_outliers
    from alphaclip.indexing.explore.picture_search import find_pictures
    from alphaclip.indexing.explore.scores import count_above, distribution
    from alphaclip.indexing.explore.searches import (
        Search,
        entries,
        find_entry,
        recent,
        remember,
    )
    from alphaclip.indexing.explore.several_indexes import search
    from alphaclip.indexing.explore.thresholds import suggest_threshold
    from alphaclip.indexing.explore.unlabelled import find_unlabelled, is_of_proposals
    from alphaclip.indexing.explore.verification import verify
    from alphaclip.indexing.labelling.scoring.classes import LabelClass
    from alphaclip.indexing.masks.materializing import materialize
    from alphaclip.indexing.masks.segmenting import segment, segment_one
    from alphaclip.indexing.oddities import find_odd
    from alphaclip.indexing.region_index import RegionIndex, build, load, merge_plan, resume
    from alphaclip.indexing.retrieval.queries import Example
    from alphaclip.indexing.similarity import register_backend

__all__ = [
    "Concept",
    "Example",
    "Finding",
    "LabelClass",
    "RegionIndex",
    "Search",
    "build",
    "concepts",
    "count_above",
    "decide",
    "decisions",
    "delete_concept",
    "dismiss",
    "distribution",
    "embed_part",
    "entries",
    "error_neighbors",
    "explain_region",
    "export",
    "export_ids",
    "find_badly_drawn_labels",
    "find_doubled_labels",
    "find_duplicates",
    "find_entry",
    "find_label_errors",
    "find_missing_labels",
    "find_odd",
    "find_outliers",
    "find_pictures",
    "find_unlabelled",
    "history",
    "is_of_proposals",
    "keep_concept",
    "keep_picture",
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
    "run",
    "save_view",
    "search",
    "segment",
    "segment_one",
    "status",
    "suggest_threshold",
    "sync",
    "tag",
    "tag_samples",
    "undecide",
    "undismiss",
    "undo",
    "unfinished",
    "verify",
    "waiting",
    "work",
]

_HOMES = {
    "Concept": "explore.concepts",
    "Example": "retrieval.queries",
    "Finding": "explore.findings",
    "LabelClass": "labelling.scoring.classes",
    "RegionIndex": "region_index",
    "Search": "explore.searches",
    "build": "region_index",
    "concepts": "explore.concepts",
    "count_above": "explore.scores",
    "decide": "dataset.decisions",
    "decisions": "dataset.decisions",
    "delete_concept": "explore.concepts",
    "dismiss": "explore.concepts",
    "distribution": "explore.scores",
    "embed_part": "embedding.building",
    "entries": "explore.searches",
    "error_neighbors": "explore.error_neighbors",
    "explain_region": "explore.explaining",
    "export": "brain.exporting",
    "export_ids": "act.acting",
    "find_badly_drawn_labels": "explore.drawn_labels",
    "find_doubled_labels": "explore.drawn_labels",
    "find_duplicates": "brain.duplicates",
    "find_entry": "explore.searches",
    "find_label_errors": "explore.label_errors",
    "find_missing_labels": "explore.missing_labels",
    "find_odd": "oddities",
    "find_outliers": "explore.outliers",
    "find_pictures": "explore.picture_search",
    "find_unlabelled": "explore.unlabelled",
    "history": "act.acting",
    "is_of_proposals": "explore.unlabelled",
    "keep_concept": "explore.concepts",
    "keep_picture": "explore.example_pictures",
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
    "run": "embedding.engines.running",
    "save_view": "act.acting",
    "search": "explore.several_indexes",
    "segment": "masks.segmenting",
    "segment_one": "masks.segmenting",
    "status": "embedding.engines.running",
    "suggest_threshold": "explore.thresholds",
    "sync": "brain.syncing",
    "tag": "act.acting",
    "tag_samples": "act.acting",
    "undecide": "dataset.decisions",
    "undismiss": "explore.concepts",
    "undo": "act.acting",
    "unfinished": "embedding.unfinished",
    "verify": "explore.verification",
    "waiting": "explore.concepts",
    "work": "embedding.engines.worker",
}


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"alphaclip.indexing.{_HOMES[name]}"), name)

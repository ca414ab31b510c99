"""Tags on whatever matches a query; run again, it goes on with what is new."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from alphaclip.arguments import COSINE, checked
from alphaclip.indexing.act.acting import tag, tag_samples
from alphaclip.indexing.act.actions import Action, check_text
from alphaclip.indexing.labelling.seen import Seen, described
from alphaclip.indexing.retrieval.queries import Query

if TYPE_CHECKING:
    from alphaclip.indexing.retrieval.index import SearchIndex


@checked(min_score=COSINE)
def tag_matching(
    index: SearchIndex,
    query: Query,
    name: str,
    min_score: float,
    negative: Query | None = None,
    samples: bool = False,
    new_only: bool = False,
) -> Action:
    """Tags whatever matches a query; see :meth:`RegionIndex.tag`.

    Raises:
        AlphaClipError: if the tag or the query is empty
    """
    check_text("tag", name)
    ranking = index.ranking(query, negative)
    now = index.snapshot()
    settings = (described(query), described(negative), min_score, samples)
    encoder = now.version.info.get("fingerprint", "")
    seen = Seen(index.dataset, ("tag", index.key, name), repr((*settings, encoder)))
    ids = now.version.ids
    only = np.flatnonzero(seen.is_new(ids)) if new_only else None
    hits = index.matching(now, ranking, min_score, only)
    action = tag_samples(hits, name) if samples else tag(hits, name)
    seen.add(ids if only is None else ids.take(only), action.id, forget=only is None)
    return action

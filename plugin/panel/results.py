"""The hits of a question: their scores, how they are spread, their crops, and where to see them."""

import base64
import json

from bson import json_util

from alphaclip.arguments import check
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.retrieval.index import names_in
from alphaclip.indexing.retrieval.queries import CAPTION

from ..common.grid import pictures_in, show_view
from ..common.panels import event
from ..common.tiles import data_uri, draw_crops
from .history import remember
from .questions import (
    PICTURES,
    REGIONS,
    completed,
    find,
    find_these,
    indexes_of,
    measure,
    names_of,
    without_lost_regions,
)

K = 10_000
"""Hits that the page lists, of a large index as many as are found without a look at all vectors;
what lies above a threshold is counted and acted on in full."""

BARS, STEPS = 60, 300
MAX_TILES, MIN_SIDE, MAX_SIDE = 200, 32, 640


class ResultEvents:
    """Events of searching and looking."""

    @event
    def search(self, ctx):
        question = dict(ctx.params["question"])
        if ctx.params.get("inside") and ctx.view is not None:
            stages = json_util.dumps(ctx.view._serialize(include_uuids=False))
            question["stages"] = json.loads(stages) or None

        question = completed(ctx.dataset, question)
        if question["k"] is None:
            question["k"] = _most_listed(ctx.dataset, question)

        question, lost = without_lost_regions(ctx.dataset, question)
        answer = _answer(ctx.dataset, question)
        if ctx.params.get("remember"):
            remember(ctx.dataset, question)

        return {"question": question, "lost": lost, **answer}

    @event
    def tiles(self, ctx):
        """The regions at some ranks, with their crops where ``side`` is a number of pixels."""
        question = completed(ctx.dataset, ctx.params["question"])
        ranks = check("ranks", ctx.params["ranks"], "Sequence[int]")
        if len(ranks) > MAX_TILES:
            raise AlphaClipError("%d tiles at once: %d at most" % (len(ranks), MAX_TILES))

        return {"tiles": _tiles(ctx.dataset, question, ranks, _side(ctx.params.get("side")))}

    @event
    def ids(self, ctx):
        """The ids of the hits at some ranks."""
        question = completed(ctx.dataset, ctx.params["question"])
        ranks = check("ranks", ctx.params["ranks"], "Sequence[int]")
        _, hits = _at(ctx.dataset, question, ranks)
        return {"ids": names_of(ctx.dataset, question, hits)}

    @event
    def show_in_grid(self, ctx):
        """Shows hits in the grid, as patches or as whole pictures."""
        question = completed(ctx.dataset, ctx.params["question"])
        ids = ctx.params.get("ids")
        hits = find_these(ctx.dataset, question, ids) if ids else find(ctx.dataset, question)
        if not ids and ctx.params.get("min_score") is not None:
            hits = hits.take(hits.scores >= ctx.params["min_score"])

        if ctx.params.get("as_pictures") or question["mode"] == PICTURES:
            samples = list(dict.fromkeys(hits.sample_ids.tolist()))
            field = next(iter(getattr(hits, "fields", ())), None)
            show_view(ctx, pictures_in(ctx.dataset, field, samples))
        else:
            show_view(ctx, hits.take(slice(K)).view())


def _most_listed(dataset, question):
    from alphaclip.indexing.explore.scores import BEST, COUNTED

    return K if sum(map(len, indexes_of(dataset, question))) <= COUNTED else BEST


def _answer(dataset, question):
    import numpy as np

    from alphaclip.indexing.explore.scores import Distribution
    from alphaclip.indexing.explore.thresholds import suggest_threshold

    hits = find(dataset, question)
    is_of_regions = (
        question["mode"] == REGIONS and not question["concept"] and not question["prompt"]
    )
    spread = measure(dataset, question) if is_of_regions else Distribution.of([hits.scores])
    scores = base64.b64encode(hits.scores.astype("<f4").tobytes()).decode()
    if not len(spread):
        nothing = {"scores": "", "total": 0, "low": 0.0, "high": 0.0, "bars": [], "above": []}
        return {**nothing, "off_by": 0}

    low, high = spread.lowest, spread.highest
    bars, _ = spread.histogram(BARS)
    above = [spread.above(least) for least in np.linspace(low, high, STEPS + 1)]
    suggestion = suggest_threshold(spread) if is_of_regions else None
    return {
        "scores": scores, "total": len(spread), "low": low, "high": high,
        "bars": bars.tolist(), "above": above, "off_by": spread.error,
        "suggestion": suggestion
        and {"min_score": suggestion.min_score, "said": suggestion.reason},
    }  # fmt: skip


def _at(dataset, question, ranks):
    """The hits at some ranks, and the ranks of those that are there; the first has the rank 0."""
    import numpy as np

    hits = find(dataset, question)
    there = [rank for rank in ranks if 0 <= rank < len(hits)]
    return there, hits.take(np.array(there, np.int64))


def _tiles(dataset, question, ranks, side):
    there, hits = _at(dataset, question, ranks)
    listed = _pictures(hits) if question["mode"] == PICTURES else _regions(dataset, question, hits)
    sources = [(tile.pop("path"), tile.pop("region")) for tile in listed]
    if side:
        for tile, crop in zip(listed, draw_crops(sources, side), strict=True):
            tile["crop"] = data_uri(crop)

    return [{**tile, "rank": there[tile["rank"]]} for tile in listed]


def _regions(dataset, question, hits):
    from alphaclip.indexing.retrieval.hit_listing import list_hits

    listed = list_hits(hits)
    names = names_in(
        indexes_of(dataset, question), [(hit.sample_id, hit.label_id) for hit in listed]
    )
    fields = hits.fields.tolist()
    return [
        {
            "rank": hit.rank - 1, "id": name, "sample": hit.sample_id, "label_id": hit.label_id,
            "field": fields[hit.rank - 1], "label": hit.label, "tags": list(hit.tags),
            "caption": hit.attributes.get(CAPTION), "score": hit.score, "path": hit.image,
            "region": hit.region,
        }
        for name, hit in zip(names, listed, strict=True)
    ]  # fmt: skip


def _pictures(hits):
    paths = dict(zip(*hits.view().values(["id", "filepath"]), strict=True))
    return [
        {
            "rank": rank, "id": id_, "sample": id_, "label_id": None, "field": None,
            "label": paths[id_].rpartition("/")[2], "tags": [],
            "score": round(float(score), 4), "path": paths[id_], "region": None,
        }
        for rank, (id_, score) in enumerate(zip(hits.sample_ids.tolist(), hits.scores, strict=True))
        if id_ in paths
    ]  # fmt: skip


def _side(value):
    if value is None:
        return None

    side = check("side", value, "int")
    return min(max(side, MIN_SIDE), MAX_SIDE)

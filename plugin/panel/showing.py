"""From a question to what the panel shows of its hits: the spread of scores, a page of crops."""

from alphaclip.indexing.retrieval.index import names_in

from ..common.tiles import PAGE, data_uri, draw_crops
from .asking import find, indexes_of, measure
from .state import PICTURES, REGIONS, RESULT, move_threshold, threshold

BINS = 60
BARS = "#5b7fa6"


def search(ctx, asked):
    """Searches, and shows the first page."""
    ctx.panel.state.set(RESULT)
    hits = find(ctx.dataset, asked)
    least = asked["min_score"]
    if least is None:
        least = _rounded_down(hits.scores.min()) if len(hits) else 0.0

    ctx.panel.state.set("asked", asked)
    ctx.panel.state.set("found", _spread(ctx, asked, hits))
    move_threshold(ctx, least)
    try:
        show_above(ctx)
    except Exception:
        ctx.panel.state.set(RESULT)
        raise


def show_above(ctx):
    """Shows the first page of what lies at or above the threshold."""
    asked = ctx.panel.get_state("asked")
    if asked["mode"] == REGIONS:
        above = measure(ctx.dataset, asked).above(threshold(ctx))
        ctx.panel.state.set("found.above", above)

    show_page(ctx, 0)
    if asked["mode"] != REGIONS:
        ctx.panel.state.set("found.above", ctx.panel.get_state("found.shown"))


def show_page(ctx, page):
    """Draws a page of what was found.

    Args:
        page: its number, from 0
    """
    asked = {**ctx.panel.get_state("asked"), "min_score": threshold(ctx)}
    hits = find(ctx.dataset, asked)
    page = min(max(page, 0), max(len(hits) - 1, 0) // PAGE)
    some = hits.take(slice(page * PAGE, (page + 1) * PAGE))
    if asked["mode"] == PICTURES:
        listed = _list_pictures(some)
    else:
        listed = _list_regions(indexes_of(ctx.dataset, asked), some)

    crops = draw_crops([(path, region) for *_, path, region in listed])
    tiles = [{"id": id_, "caption": caption, "score": score} for id_, caption, score, *_ in listed]
    for number, tile in enumerate(tiles, page * PAGE + 1):
        tile["rank"] = number

    ctx.panel.state.set({"page": page, "tiles": tiles, "found.shown": len(hits)})
    data = {"gallery.t%d.crop" % number: data_uri(crop) for number, crop in enumerate(crops)}
    if data:
        ctx.panel.data.set(data)


def _spread(ctx, asked, hits):
    """How many scores there are and how they are spread; the bars go to the browser as data."""
    import numpy as np

    if asked["mode"] == REGIONS:
        spread = measure(ctx.dataset, asked)
        total, low, high = len(spread), spread.lowest, spread.highest
        counts, edges = spread.histogram(BINS)
    else:
        total = len(hits)
        counts, edges = np.histogram(hits.scores if total else [0.0], BINS)
        low, high = edges[0], edges[-1]

    if total:
        middles = (edges[:-1] + edges[1:]) / 2
        bars = {"type": "bar", "x": middles.round(4).tolist(), "y": counts.tolist()}
        bars.update(width=float(edges[1] - edges[0]), marker={"color": BARS}, name="regions")
        ctx.panel.data.set("spread", [bars])
        low, high = _rounded_down(low), _rounded_down(high) + 0.001

    return {"total": int(total), "low": float(low), "high": float(high), "shown": 0, "above": 0}


def _list_regions(indexes, hits):
    from alphaclip.indexing.retrieval.hit_listing import list_hits

    listed = list_hits(hits)
    names = names_in(indexes, [(hit.sample_id, hit.label_id) for hit in listed])
    return [
        (name, hit.label or "", hit.score, hit.image, hit.region)
        for name, hit in zip(names, listed, strict=True)
    ]


def _list_pictures(hits):
    paths = dict(zip(*hits.view().values(["id", "filepath"]), strict=True))
    return [
        (id_, paths[id_].rpartition("/")[2], round(float(score), 4), paths[id_], None)
        for id_, score in zip(hits.sample_ids.tolist(), hits.scores, strict=True)
        if id_ in paths
    ]


def _rounded_down(score):
    return float(int((float(score) + 1) * 1000) / 1000 - 1)

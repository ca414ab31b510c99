"""
The outcome of a search: how the scores are spread, the threshold, and the ways to show the hits.
"""

import fiftyone.operators.types as types

from ..common.forms import count, text
from ..common.tiles import add_button, fit
from . import marks
from .asking import REGIONS, find, measure
from .gallery import add_gallery, show_page
from .state import RESULT, guarded, move_threshold, shows_pictures, threshold, threshold_name

BINS = 60
BARS, LINE = "#5b7fa6", "#ff6d04"
MAX_IN_GRID = 10_000


class ResultEvents:
    """Events of what was found."""

    @guarded
    def on_threshold(self, ctx):
        show_above(ctx)

    @guarded
    def on_bar(self, ctx):
        low, _ = ctx.params.get("range") or (ctx.params["x"], None)
        move_threshold(ctx, round(float(low), 3))
        show_above(ctx)

    @guarded
    def on_show_grid(self, ctx):
        ctx.ops.set_view(_shown(ctx).view())

    @guarded
    def on_show_pictures(self, ctx):
        samples = list(dict.fromkeys(_shown(ctx).sample_ids.tolist()))
        ctx.ops.set_view(ctx.dataset.select(samples, ordered=True))

    @guarded
    def on_search_again(self, ctx):
        marked = {name: list(ctx.panel.get_state(name)) for name in ("right", "wrong")}
        search(ctx, {**ctx.panel.get_state("asked"), **marked, "min_score": None})
        marks.put(ctx, **marked)

    @guarded
    def on_forget_marks(self, ctx):
        marks.put(ctx, right=[], wrong=[])
        asked = ctx.panel.get_state("asked")
        if asked["right"] or asked["wrong"]:
            search(ctx, {**asked, "right": [], "wrong": [], "min_score": None})


def search(ctx, asked):
    """Searches, and shows the first page.

    Args:
        ctx: the :class:`fiftyone.operators.ExecutionContext`
        asked: see :mod:`asking`
    """
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
    """Shows the first page of what lies at or above the threshold.

    Args:
        ctx: the :class:`fiftyone.operators.ExecutionContext`
    """
    asked = ctx.panel.get_state("asked")
    if asked["mode"] == REGIONS:
        above = measure(ctx.dataset, asked).above(threshold(ctx))
        ctx.panel.state.set("found.above", above)

    show_page(ctx, 0)
    if asked["mode"] != REGIONS:
        ctx.panel.state.set("found.above", ctx.panel.get_state("found.shown"))


def add_results(ctx, root, panel):
    """Lays out what was found.

    Args:
        ctx: the :class:`fiftyone.operators.ExecutionContext`
        root: the :class:`fiftyone.operators.types.Object` to add to
        panel: whose events
    """
    if not ctx.panel.get_state("asked"):
        return

    found = ctx.panel.get_state("found") or {}
    root.view("summary", text(_summary(ctx, found), bold=True))
    if not found.get("total"):
        return

    _add_scores(ctx, root, panel, found)
    panel.add_why(ctx, root)
    _add_buttons(ctx, root, panel)
    add_gallery(ctx, root, panel)


def describe(asked):
    """Says what was asked, in a few words.

    Args:
        asked: see :mod:`asking`

    Returns:
        a text
    """
    said = ["“%s”" % asked["words"]] if asked["words"] else []
    said += [count(len(asked["like"]), "example")] if asked["like"] else []
    said += ["a picture"] if asked["picture"] else []
    without = ["“%s”" % asked["avoid"]] if asked["avoid"] else []
    without += [count(len(asked["unlike"]), "example")] if asked["unlike"] else []
    text = " and ".join(said) + (", but not " + " and ".join(without) if without else "")
    marked = len(asked["right"]) + len(asked["wrong"])
    return text + (", with %s" % count(marked, "mark") if marked else "")


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


def _summary(ctx, found):
    asked = ctx.panel.get_state("asked")
    what = "pictures" if shows_pictures(ctx) else "regions"
    if not found.get("total"):
        return "No %s here for %s" % (what, describe(asked))

    text = "%d of %d %s have a cosine of at least %.3f to %s"
    text %= found["above"], found["total"], what, threshold(ctx), describe(asked)
    if found["shown"] < found["above"]:
        text += "; the best %d are shown" % found["shown"]

    return text


def _add_scores(ctx, root, panel, found):
    least = threshold(ctx)
    layout = {
        "height": 130,
        "margin": {"t": 4, "b": 22, "l": 40, "r": 8},
        "bargap": 0,
        "showlegend": False,
        "yaxis": {"type": "log", "title": {"text": "how many", "font": {"size": 10}}},
        "shapes": [
            {
                "type": "line", "xref": "x", "yref": "paper",
                "x0": least, "x1": least, "y0": 0, "y1": 1,
                "line": {"color": LINE, "width": 3},
            }
        ],
    }  # fmt: skip
    root.plot(
        "spread",
        layout=layout,
        config={"displayModeBar": False},
        height="130px",
        width="100%",
        on_click=panel.on_bar,
    )
    step = max(round((found["high"] - found["low"]) / 200, 4), 0.0005)
    slider = types.SliderView(label="Threshold", view_multiple_of=step, value_precision=3)
    root.v_stack("cut", columns=1).float(
        threshold_name(ctx).rpartition(".")[2],
        min=found["low"],
        max=found["high"],
        view=slider,
        on_change=panel.on_threshold,
    )


def _add_buttons(ctx, root, panel):
    pictures = shows_pictures(ctx)
    show = root.grid("show", orientation="2d", gap=1, align_y="center")
    if not pictures:
        add_button(show, "grid", "Show in grid", panel.on_show_grid, icon="grid_view")

    add_button(show, "pictures", "Show pictures", panel.on_show_pictures, icon="image")
    if not pictures:
        panel.add_actions(ctx, show)
        _add_refine(ctx, root, panel)


def _add_refine(ctx, root, panel):
    bar = root.grid("refine", orientation="2d", gap=1, align_y="center")
    right, wrong = ctx.panel.get_state("right") or [], ctx.panel.get_state("wrong") or []
    if not right and not wrong:
        title = (
            "Mark crops ✓ right or ✗ wrong to search again with that; click crops to select them"
        )
        fit(bar, "hint", text(title, color="text.secondary"))
        return

    title = "%d right, %d wrong" % (len(right), len(wrong))
    fit(bar, "marked", text(title))
    add_button(bar, "again", "Search again with these", panel.on_search_again, variant="contained")
    add_button(bar, "forget", "Forget the marks", panel.on_forget_marks)


def _shown(ctx):
    asked = {**ctx.panel.get_state("asked"), "min_score": threshold(ctx)}
    return find(ctx.dataset, asked).take(slice(MAX_IN_GRID))


def _rounded_down(score):
    return float(int((float(score) + 1) * 1000) / 1000 - 1)

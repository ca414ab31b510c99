"""The hits of a search: how the scores are spread, the threshold, and the ways to show them."""

import fiftyone.operators.types as types

from ..common.forms import text
from ..common.tiles import add_button, fit
from . import marks
from .asking import find
from .history import describe
from .showing import search, show_above
from .state import guarded, move_threshold, shows_pictures, threshold, threshold_name

LINE = "#ff6d04"
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


def add_results(ctx, root, panel):
    """Lays out what was found."""
    if not ctx.panel.get_state("asked"):
        return

    found = ctx.panel.get_state("found") or {}
    root.view("summary", text(_summary(ctx, found), bold=True))
    if not found.get("total"):
        return

    _add_scores(ctx, root, panel, found)
    panel.add_why(ctx, root)
    _add_buttons(ctx, root, panel)


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

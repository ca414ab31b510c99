"""The panel's form: words, examples and a picture to look for, and where."""

import fiftyone.operators.types as types

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.dataset.locations import index_keys

from ..common.forms import text
from ..common.indexes import selected_names
from ..common.panels import dataset_id
from ..common.tiles import add_button, fit
from . import marks
from .asking import begin, is_ready
from .history import SHOWN, as_asked, remember
from .pictures import keep_picture, preview
from .showing import search
from .state import (
    FORM,
    NUMBERS,
    PICTURES,
    REGIONS,
    RESULT,
    UNLABELLED,
    ask,
    guarded,
    read_picture,
    timed,
)

MODES = {
    REGIONS: "Regions",
    UNLABELLED: "Objects nobody labelled",
    PICTURES: "Pictures with A, B but not C",
}
BEGIN_MS = 100
PICTURE_TYPES = ".jpg,.jpeg,.png,.webp,.bmp"


class FormEvents:
    """Events of the form."""

    @guarded
    def on_search(self, ctx):
        asked = ask(ctx)
        ctx.panel.state.set("outcome", None)
        if is_ready(ctx.dataset, asked):
            _search(ctx, asked)
        else:
            ctx.panel.state.set("pending", asked)

    @guarded
    def on_pending(self, ctx):
        ctx.panel.state.set("pending", None)
        asked = ctx.params["asked"]
        if begin(asked):
            _search(ctx, asked)

    @guarded
    def on_clear(self, ctx):
        ctx.panel.state.set({**FORM, **RESULT, "like": [], "unlike": [], "token": None})
        ctx.panel.state.set({"picture.box.%s" % name: None for name in NUMBERS})

    @guarded
    def on_again(self, ctx):
        from alphaclip.indexing.explore.searches import recent

        asked = {
            **as_asked(recent(ctx.dataset, SHOWN)[ctx.params["row"]]),
            "dataset": dataset_id(ctx),
        }
        ctx.panel.state.set(
            {
                "words.query": asked["words"],
                "words.avoid": asked["avoid"],
                "where.mode": asked["mode"],
                "where.keys": asked["keys"],
                "where.k": asked["k"],
                "where.min_score": asked["min_score"],
                "where.inside": False,
                "like": asked["like"],
                "unlike": asked["unlike"],
                "token": None,
            }
        )
        search(ctx, asked)

    @guarded
    def on_more_like(self, ctx):
        _add_examples(ctx, "like", "unlike")

    @guarded
    def on_less_like(self, ctx):
        _add_examples(ctx, "unlike", "like")

    @guarded
    def on_no_examples(self, ctx):
        ctx.panel.state.set({"like": [], "unlike": []})

    @timed
    def on_upload(self, ctx):
        # The App also calls this, without a file, whenever it has built the panel.
        uploaded = ctx.params.get("value")
        if uploaded:
            ctx.panel.state.set("error", None)
            ctx.panel.state.set("picture.file", None)
            ctx.panel.state.set("token", keep_picture(ctx.dataset, uploaded["content"]))
            _show_picture(ctx)

    @guarded
    def on_box(self, ctx):
        name = ctx.params["path"].rpartition(".")[2]
        ctx.panel.state.set("picture.box.%s" % name, ctx.params["value"])
        _show_picture(ctx)

    @guarded
    def on_no_picture(self, ctx):
        ctx.panel.state.set("token", None)


def add_form(ctx, root, panel):
    """Lays the form out."""
    words = root.h_stack("words", columns=2, gap=1)
    example = types.TextFieldView(placeholder="a red apple")
    words.str("query", label="Search for", view=example)
    avoid = types.TextFieldView(placeholder="with commas: a leaf, a bag")
    words.str("avoid", label="But not", view=avoid)
    _add_where(ctx, root, panel)
    _add_examples_bar(ctx, root, panel)
    _add_picture(ctx, root, panel)
    bar = root.grid("go", orientation="2d", gap=1)
    add_button(bar, "search", "Search", panel.on_search, variant="contained", icon="search")
    add_button(bar, "clear", "Clear", panel.on_clear)


def add_pending(ctx, root, panel):
    """Says why the first search takes longer, and has it begin."""
    asked = ctx.panel.get_state("pending")
    if not asked:
        return

    label = "Loading the encoder: the first search takes some seconds"
    root.view("loading", types.LoadingView(text=label))
    timer = types.TimerView(timeout=BEGIN_MS, on_timeout=panel.on_pending, params={"asked": asked})
    root.view("begin", timer)


def _search(ctx, asked):
    search(ctx, asked)
    remember(ctx.dataset, asked)


def _add_where(ctx, root, panel):
    keys = index_keys(ctx.dataset)
    where = root.h_stack("where", columns=4 if len(keys) < 2 else 5, gap=1, align_y="end")
    mode = types.DropdownView()
    for value, label in MODES.items():
        mode.add_choice(value, label=label)

    where.enum("mode", mode.values(), label="Find", view=mode)
    if len(keys) > 1:
        chosen = types.AutocompleteView(allow_user_input=False, allow_duplicates=False)
        for key in keys:
            chosen.add_choice(key, label=key)

        where.list("keys", types.String(), label="Indexes", view=chosen)

    where.int("k", label="At most", min=1, view=types.FieldView())
    where.float("min_score", label="Minimum score", min=-1, max=1, view=types.FieldView())
    where.bool("inside", label="Only in the current view", view=types.CheckboxView())


def _add_examples_bar(ctx, root, panel):
    bar = root.grid("examples", orientation="2d", gap=1, align_y="center")
    add_button(bar, "like", "More like the selected", panel.on_more_like, icon="add")
    add_button(bar, "unlike", "Less like the selected", panel.on_less_like, icon="remove")
    like, unlike = ctx.panel.get_state("like") or [], ctx.panel.get_state("unlike") or []
    if like or unlike:
        title = "%d to be like, %d not to be like" % (len(like), len(unlike))
        fit(bar, "chosen", text(title, "6px"))
        add_button(bar, "none", "Forget them", panel.on_no_examples)


def _add_picture(ctx, root, panel):
    shown = types.ObjectView(label="A picture to search with", collapsible=True)
    picture = types.Object()
    root.define_property("picture", picture, view=shown)
    picture.uploaded_file(
        "file",
        label="Drop a picture, or click to choose one",
        view=types.FileView(types=PICTURE_TYPES, max_size=20 * 1024 * 1024),
        on_change=panel.on_upload,
    )
    if not ctx.panel.get_state("token"):
        return

    box = picture.h_stack("box", columns=4, gap=1)
    for name in NUMBERS:
        box.float(
            name,
            label="Box: %s (0 to 1)" % name,
            min=0,
            max=1,
            view=types.FieldView(),
            on_change=panel.on_box,
        )

    picture.img("preview", height="200px")
    picture.btn("none", label="Search without it", on_click=panel.on_no_picture, variant="outlined")


def _show_picture(ctx):
    if ctx.panel.get_state("token"):
        ctx.panel.data.set("picture.preview", preview(ctx.dataset, read_picture(ctx)))


def _add_examples(ctx, name, other):
    chosen = _chosen(ctx)
    if not chosen:
        raise AlphaClipError(
            "Nothing is selected: click crops in this panel, patches in the grid, or labels of a "
            "picture"
        )

    kept = [label for label in ctx.panel.get_state(other) or [] if label not in chosen]
    known = ctx.panel.get_state(name) or []
    ctx.panel.state.set({name: list(dict.fromkeys([*known, *chosen])), other: kept})
    marks.put(ctx, selected=[])


def _chosen(ctx):
    keys = ctx.panel.get_state("where.keys") or []
    named = selected_names(ctx, [keys] if isinstance(keys, str) else keys)
    return list(dict.fromkeys([*(ctx.panel.get_state("selected") or []), *named]))

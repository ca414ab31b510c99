"""The first step: the classes, as text, as examples, and kept under a name."""

from dataclasses import replace

import fiftyone.operators.types as types

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.dataset.locations import index_keys
from alphaclip.indexing.labelling.scoring.class_sets import (
    class_set_names,
    classes_from_text,
    classes_to_text,
    save_classes,
    saved_classes,
)
from alphaclip.indexing.labelling.scoring.classes import ClassSet

from ..common.forms import alert, count, dropdown, shorten, text
from ..common.indexes import selected_names
from ..common.tiles import add_button, fit
from .state import guarded, text_field

EXAMPLE = "apple\ntree: an oak, a pine; not: a bush\npear: a green pear; also: conference pear"
HINT = (
    "One class a line. “name: prompt, prompt; not: what it is mistaken for; kind of: another "
    "class; also: another name”; all but the name may be left out."
)
MOST_CHARACTERS, MOST_LINES, MOST_CHOICES = 60_000, 1_000, 200
ROWS = 7


class ClassEvents:
    """Events of the form for classes."""

    @guarded
    def on_open_set(self, ctx):
        open_set(ctx, ctx.panel.get_state("sets.chosen"))

    @guarded
    def on_save_set(self, ctx):
        name = str(ctx.panel.get_state("sets.name") or "").strip()
        classes = read_classes(ctx)
        save_classes(ctx.dataset, name, classes)
        ctx.panel.state.set("sets.chosen", name)
        message = "%s kept as “%s”" % (count(len(classes), "class", "classes"), name)
        ctx.ops.notify(message, variant="success")

    @guarded
    def on_add_examples(self, ctx):
        chosen = selected_names(ctx, [ctx.panel.get_state("where.key")])
        name = ctx.panel.get_state("of.name")
        if not chosen:
            raise AlphaClipError("Nothing is selected: select patches, or labels of a picture")

        if name not in [one.name for one in read_classes(ctx)]:
            said = "%r is none of the classes" % shorten(name, 80) if name else "No class is chosen"
            raise AlphaClipError("%s: choose one beside the button" % said)

        ctx.panel.state.set("examples", _with_examples(ctx, name, chosen))

    @guarded
    def on_no_examples(self, ctx):
        ctx.panel.state.set("examples", {})


def open_set(ctx, name):
    """Fills the form in with classes that are kept under a name.

    Args:
        name: of the set

    Raises:
        AlphaClipError: if there is none
    """
    if not name:
        raise AlphaClipError("Choose one of the saved sets first")

    fill_in(ctx, saved_classes(ctx.dataset, name), name)


def fill_in(ctx, classes, name=None):
    """Fills the form in.

    Args:
        classes: a list of ``LabelClass``
        name (None): that they are kept under
    """
    shown = classes_to_text(classes) if len(classes) <= MOST_LINES else ""
    is_large = not 0 < len(shown) <= MOST_CHARACTERS
    if is_large and name is None:
        return

    ctx.panel.state.set("edition", (ctx.panel.get_state("edition") or 1) + 1)
    ctx.panel.state.set(text_field(ctx), "" if is_large else shown)
    ctx.panel.state.set("opened", name if is_large else None)
    examples = {one.name: list(one.examples) for one in classes if one.examples}
    ctx.panel.state.set("examples", {} if is_large else examples)


def read_classes(ctx):
    """Reads the classes.

    Raises:
        AlphaClipError: if there is none, a line is malformed, or they contradict each other
    """
    typed = str(ctx.panel.get_state(text_field(ctx)) or "")
    if len(typed) > MOST_CHARACTERS:
        raise AlphaClipError(
            "The classes have %d characters, %d at most can be typed here: save them under a name "
            "in Python, by save_classes, and open them here" % (len(typed), MOST_CHARACTERS)
        )

    if not typed.strip():
        opened = ctx.panel.get_state("opened")
        if opened:
            return saved_classes(ctx.dataset, opened)

        raise AlphaClipError("There are no classes: type one a line, or open a saved set")

    examples = ctx.panel.get_state("examples") or {}
    classes = [_shown_by(one, examples.get(one.name)) for one in classes_from_text(typed)]
    return list(ClassSet(classes))


def add_classes(ctx, root, panel):
    """Lays the form out."""
    where = root.h_stack("where", columns=2, gap=1)
    keys = index_keys(ctx.dataset)
    dropdown(where, "key", {key: key for key in keys}, label="Index of the regions")
    into = types.TextFieldView(placeholder="auto")
    where.str("into", label="Write to a field, or to field.attribute", view=into)
    _add_text(ctx, root, panel)
    _add_sets(ctx, root, panel)
    _add_examples(ctx, root, panel)


def _add_text(ctx, root, panel):
    box = root.v_stack("classes", gap=0)
    box.view("hint", text(HINT, "0 0 4px", color="text.secondary", font_size="0.85rem"))
    view = types.TextFieldView(multiline=True, rows=ROWS, placeholder=EXAMPLE)
    name = text_field(ctx).rpartition(".")[2]
    box.str(name, label="Classes", view=view)
    opened = ctx.panel.get_state("opened")
    if opened and not str(ctx.panel.get_state(text_field(ctx)) or "").strip():
        said = "The set “%s” is open. It is too large to be edited here." % opened
        box.view("opened", text(said))

    error = ctx.panel.get_state("class_error")
    if error:
        box.view("error", alert("error", "The classes cannot be used", error))


def _add_sets(ctx, root, panel):
    names = class_set_names(ctx.dataset)
    sets = root.grid("sets", orientation="2d", gap=1, align_y="end")
    narrow = {"item": {"sx": {"width": "200px"}}}
    sets.str(
        "name", view=types.TextFieldView(placeholder="name of the set", componentsProps=narrow)
    )
    add_button(sets, "save", "Save the classes", panel.on_save_set, icon="save")
    if names:
        chosen = types.DropdownView(placeholder="saved sets", componentsProps=narrow)
        for name in names:
            chosen.add_choice(name, label=name)

        sets.enum("chosen", chosen.values(), view=chosen)
        add_button(sets, "open", "Open", panel.on_open_set, icon="folder_open")


def _add_examples(ctx, root, panel):
    names = _names(ctx)
    if not names:
        return

    bar = root.grid("of", orientation="2d", gap=1, align_y="center")
    add_button(bar, "add", "Selected are examples of", panel.on_add_examples, icon="add")
    narrow = {"item": {"sx": {"width": "200px"}}}
    chosen = types.DropdownView(placeholder="class", componentsProps=narrow)
    for name in names[:MOST_CHOICES]:
        chosen.add_choice(name, label=shorten(name, 40))

    bar.enum("name", chosen.values(), view=chosen)
    told = ctx.panel.get_state("examples") or {}
    said = [
        "%s: %s" % (shorten(name, 30), count(len(ids), "example")) for name, ids in told.items()
    ]
    if said:
        fit(bar, "told", text(shorten("; ".join(said), 200), "6px"))
        add_button(bar, "none", "Forget them", panel.on_no_examples)


def _names(ctx):
    """The names in the text as it is now; none while it cannot be read."""
    typed = str(ctx.panel.get_state(text_field(ctx)) or "")
    try:
        return [one.name for one in classes_from_text(typed[:MOST_CHARACTERS])]
    except AlphaClipError:
        return []


def _with_examples(ctx, name, chosen):
    """The examples, these being of this class and of no other."""
    known = ctx.panel.get_state("examples") or {}
    kept = {other: [one for one in ids if one not in chosen] for other, ids in known.items()}
    kept[name] = [*kept.get(name, []), *chosen]
    return {other: ids for other, ids in kept.items() if ids}


def _shown_by(one, examples):
    """A class with examples; the name stays a prompt, as it is without them."""
    if not examples:
        return one

    return replace(one, examples=tuple(map(str, examples)), prompts=one.prompts or (one.name,))

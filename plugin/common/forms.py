"""What the forms of several operators have in common."""

import math
import re

import fiftyone.operators.types as types

from alphaclip.arguments import check
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.dataset.locations import index_keys, lost_keys, no_index

SHOWN_CHARACTERS = 120
MESSAGE_CHARACTERS = 600
"""Of what a person typed and of a message: names of fields and classes may be of any length."""

QUERY_CHARACTERS = 2_000
"""Of what is searched for, at most."""

LINK_START = re.compile(r"://|www(?=\.)|@", re.IGNORECASE)
"""Where the App would begin a link, escaped or not; an invisible character keeps it from that."""


def form_button(config, where=types.Places.SAMPLES_GRID_SECONDARY_ACTIONS, prompt=True):
    """Makes a button that opens an operator's form: its icon, which has room where words have none.

    Args:
        where (SAMPLES_GRID_SECONDARY_ACTIONS): the button stands
        prompt (True): whether it opens the form, or runs the operator
    """
    return types.Placement(where, types.Button(label=config.label, icon=config.icon, prompt=prompt))


def add_background(inputs):
    """Adds a field that has a job work in the background."""
    inputs.bool(
        "background",
        label="Work in the background",
        description="“Region search” shows how far it is, with a button to stop it",
        default=False,
    )


def refuse(inputs, label, description):
    """Makes a form say why its operator cannot run here.

    Args:
        label: what is missing, Markdown
        description: what to do about it, Markdown
    """
    inputs.view(
        "refusal",
        types.Error(label=label, description=description),
        invalid=True,
        error_message="%s: %s" % (label, description),
    )


def refuse_other_media(ctx, inputs, what):
    """Says why an operator on images cannot run on this dataset, if it cannot.

    Args:
        what: is made of images, as "Masks are made"

    Returns:
        True/False, whether it cannot
    """
    media = None if ctx.dataset is None else ctx.dataset.media_type
    if ctx.dataset is None:
        refuse(inputs, "No dataset is open", "Open one first.")
    elif media is None:
        refuse(inputs, "This dataset is empty", "Add images first.")
    elif media == "video":
        frames = "dataset.to_frames(sample_frames=True).clone() makes a dataset of the frames."
        refuse(inputs, "This dataset holds videos", "%s of images: in Python, %s" % (what, frames))
    elif media not in ("image", "group"):
        about = "Its media type is %s. %s of images." % (media, what)
        refuse(inputs, "This dataset holds no images", about)
    else:
        return False

    return True


def add_images(ctx, inputs, action):
    """Adds a field with the images that are meant.

    Args:
        action: what is done to them, as "Train on"
    """
    inputs.view_target(
        ctx,
        action_description=action,
        allow_dataset_view=ctx.view._is_generated,
        current_view_description="The images shown",
    )


def target_images(ctx):
    """Gives the images that were chosen; see :func:`add_images`.

    Returns:
        a :class:`fiftyone.core.collections.SampleCollection` without patches
    """
    view = ctx.target_view()
    return ctx.dataset.select(view.distinct("sample_id")) if view._is_generated else view


def reject(prop, message):
    """Marks a field of a form as wrong, which keeps the operator from running.

    Args:
        prop: the :class:`fiftyone.operators.types.Property`
        message: what is wrong and what to do; any text
    """
    prop.invalid = True
    prop.error_message = shorten(message, MESSAGE_CHARACTERS)


def read_types(ctx, inputs):
    """Converts what was sent to what a form's fields are of, where it is clear what is meant, and
    says of anything else what is expected: FiftyOne only says "Invalid value type".

    Args:
        inputs: the form, a :class:`fiftyone.operators.types.Object`, laid out
    """
    for name, prop in inputs.properties.items():
        kind, limits = _kind_of(prop.type)
        if kind is not None and not prop.invalid and ctx.params.get(name) is not None:
            try:
                ctx.params[name] = check(name, ctx.params[name], kind, limits)
            except AlphaClipError as error:
                reject(prop, str(error))


def _kind_of(kind):
    """A type of FiftyOne's as :func:`alphaclip.arguments.check` takes it."""
    if isinstance(kind, types.Number):
        least = -math.inf if kind.min is None else kind.min
        most = math.inf if kind.max is None else kind.max
        return "int" if kind.int else "float", (least, most)

    if isinstance(kind, types.String):
        return "str", None

    return ("bool", None) if isinstance(kind, types.Boolean) else (None, None)


def split(text):
    """Splits a text at its commas, as "a tree, a red car"; empty parts are left out."""
    return [part for part in map(str.strip, text.split(",")) if part]


def dropdown(inputs, name, choices, chosen=None, **kwargs):
    """Adds a field with one of some values, the first preselected, and returns its property.

    Args:
        name: of the field
        choices: a dict of values and their labels
        chosen (None): what was sent, which is refused if it is no choice
        **kwargs: of the :class:`fiftyone.operators.types.Property`
    """
    view = types.DropdownView()
    for value, label in choices.items():
        view.add_choice(value, label=label)

    first = next(iter(choices), None)
    prop = inputs.enum(name, view.values(), view=view, default=first, **kwargs)
    if chosen is not None and chosen not in view.values():
        expected = ", ".join(map(str, choices)) or "nothing"
        reject(prop, "There is no %r here: expected one of %s" % (shorten(chosen, 80), expected))

    return prop


def check_run_name(ctx, prop, goes_on=None):
    """Looks whether a new Brain run may have the name that was typed.

    Args:
        prop: the :class:`fiftyone.operators.types.Property` of the name
        goes_on (None): says of a dataset and the name of its run whether that one may be replaced
    """
    name = ctx.params.get("brain_key")
    if not name:
        return

    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,63}", name):
        reject(prop, "A letter, then at most 63 letters, digits and underscores.")
    elif ctx.dataset.has_brain_run(name) and not (goes_on and goes_on(ctx.dataset, name)):
        reject(prop, "There is a Brain run of this name: choose another one.")


def plain(text, limit=SHOWN_CHARACTERS):
    """Makes what a person typed safe where the App would read it as Markdown.

    Args:
        text: any text
        limit: characters that are shown

    Returns:
        one line of Markdown that reads as the text
    """
    line = LINK_START.sub("\\g<0>\u2060", shorten(text, limit))
    return re.sub(r"([\\`*_{}\[\]()#+!|<>&~$:.-])", r"\\\1", line)


def shorten(text, limit=SHOWN_CHARACTERS):
    """Cuts a text to one line of limited length.

    Args:
        text: any text
        limit: characters that are shown

    Returns:
        the text, with an ellipsis where some of it is left out
    """
    line = " ".join(str(text).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def choose_index(ctx, inputs, others=()):
    """Adds a field with the indexes of the dataset, or says that there is none.

    Args:
        others (()): the keys of what may be chosen beside them

    Returns:
        the key that is chosen, or None if there is none, or none of this name
    """
    if not others and refuse_without_index(ctx, inputs):
        return None

    keys, key = sorted([*index_keys(ctx.dataset), *others]), ctx.params.get("key")
    choices = {key: key for key in keys}
    prop = dropdown(inputs, "key", choices, key, label="Index", required=True)
    return None if prop.invalid else key or keys[0]


def refuse_without_index(ctx, inputs):
    """Says why no index can be worked on here, if none can.

    Returns:
        True/False, whether none can
    """
    if ctx.dataset is None:
        refuse(inputs, "No dataset is open", "Open one first.")
    elif not index_keys(ctx.dataset):
        lost = lost_keys(ctx.dataset)
        about = plain(no_index(ctx.dataset, lost[0]), MESSAGE_CHARACTERS) if lost else ""
        about = about or "Run “Embed regions” first."
        refuse(inputs, "No regions of this dataset are embedded", about)
    else:
        return False

    return True


def text(title, padding="6px 0", color="text.primary", **kwargs):
    """Makes a line of text that is shown as it is, whatever is in it.

    Args:
        title: the text
        padding: as in CSS
        color: of FiftyOne's theme
        **kwargs: of the :class:`fiftyone.operators.types.TextView`
    """
    return types.TextView(title=title, padding=padding, color=color, **kwargs)


def count(number, what="region", several=None):
    """Says how many there are, as "1 region" or "2 regions".

    Args:
        number: how many
        what: of what, in the singular
        several (None): the plural, where it is not made with an s
    """
    return "%d %s" % (number, what if number == 1 else several or "%ss" % what)


def alert(severity, label, description):
    """Makes a box that says what happened.

    Args:
        severity: "success", "info", "warning" or "error"
        label: what happened, in a few words
        description: more of it; any text
    """
    kinds = {"success": types.Success, "info": types.Notice, "error": types.Error}
    kind = kinds.get(severity, types.Warning)
    return kind(label=plain(label), description=plain(description, MESSAGE_CHARACTERS))


def add_table(outputs, name, columns, **kwargs):
    """Adds a table of results.

    Args:
        outputs: a :class:`fiftyone.operators.types.Object`
        name: of the result with its rows, a list of dicts
        columns: a dict of the names in a row and their headings
        **kwargs: of the :class:`fiftyone.operators.types.Property`
    """
    table = types.TableView()
    for column, heading in columns.items():
        table.add_column(column, label=heading)

    outputs.list(name, types.Object(), view=table, **kwargs)

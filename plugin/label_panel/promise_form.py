"""
The second step: what is to be promised, and the run itself.
"""

import threading

import fiftyone.operators.types as types

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.labelling.report_words import summary_lines

from ..common import jobs
from ..common.forms import text
from ..common.indexes import open_index
from ..common.job_list import watch
from ..common.panels import Screens
from ..common.tiles import add_button
from .class_form import read_classes
from .state import LABEL, REPORT, REVIEW, chosen_into, chosen_key, guarded, screen, timed

MODES = {
    "promise": "A promise: with the confidence, at least so many are right",
    "ranking": "None: write every answer",
}
EXPLAINED = (
    "“Label” scores all regions of the index. The first run draws a random sample for you to "
    "review, %sand writes nothing. Once all of the sample is reviewed, “Label” tests it, writes "
    "the labels that can be promised, and puts the rest in a queue."
)


class RunEvents:
    """Events of the labelling itself."""

    @guarded
    def on_label(self, ctx):
        key, settings = chosen_key(ctx), read_settings(ctx)
        start_run(ctx, key, read_classes(ctx), settings)

    @timed
    def on_goal(self, ctx):
        """Has the panel say anew how large the sample is."""

    @guarded
    def on_stop(self, ctx):
        jobs.stop(ctx.dataset, ctx.params["id"])

    @timed
    def on_tick(self, ctx):
        watched = ctx.panel.get_state("watched")
        watch(ctx)
        if watched and not ctx.panel.get_state("watched"):
            _show_outcome(self, ctx)


def read_settings(ctx):
    """Reads what is to be promised, and checks it.

    Args:
        ctx: the :class:`fiftyone.operators.ExecutionContext`

    Returns:
        a dict, as ``LabelSettings`` takes it

    Raises:
        AlphaClipError: if a value cannot be used
    """
    from alphaclip.indexing.labelling.settings import LabelSettings

    values = {name.rpartition(".")[2]: ctx.panel.get_state(name) for name in _NAMES}
    is_ranking = values["mode"] == "ranking"
    settings = {
        "into": chosen_into(ctx),
        "mode": values["mode"],
        "precision": None if is_ranking else _share(values["precision"]),
        "per_class": bool(values["per_class"]) and values["mode"] == "promise",
        "sample": _whole(values["sample"]),
        "retrain": bool(values["retrain"]),
        "overwrite": bool(values["overwrite"]),
    }
    if not is_ranking:
        settings["confidence"] = _share(values["confidence"])

    LabelSettings(**settings)
    return settings


def start_run(ctx, key, classes, settings):
    """Labels in the background.

    Args:
        ctx: the :class:`fiftyone.operators.ExecutionContext`
        key: of the index
        classes: a list of ``LabelClass``, or their JSON values
        settings: see :func:`read_settings`

    Raises:
        AlphaClipError: if the settings cannot be used, a job works on the index, or labels cannot
            be written there
    """
    from alphaclip.indexing.labelling.settings import LabelSettings
    from alphaclip.indexing.labelling.writing import check_into

    LabelSettings(**settings)
    dataset, into = ctx.dataset, settings["into"]
    check_into(dataset, open_index(dataset, key).field, into)
    busy = next((job for job in jobs.running(dataset) if job["key"] == key), None)
    if busy is not None:
        raise AlphaClipError("“%s” is running: wait until it is done, or stop it" % busy["title"])

    def work(progress):
        index = open_index(dataset, key)
        report = index.label(classes, progress=progress, **settings)
        return summary_lines(report.to_dict())[0]

    jobs.start(dataset, key, "Labelling into %s" % into, work)
    ctx.panel.state.set({"watched": key, "outcome": None, "running_into": into})


def step_after(queue):
    """Says which step comes after a run.

    Args:
        queue: an ``alphaclip.indexing.labelling.review.queueing.ReviewQueue``

    Returns:
        a step
    """
    return REVIEW if queue.reviewed < queue.sample else REPORT


def add_promise(ctx, root, panel):
    """Lays the form out.

    Args:
        ctx: the :class:`fiftyone.operators.ExecutionContext`
        root: the :class:`fiftyone.operators.types.Object` to add to
        panel: whose events
    """
    box = root.v_stack("promise", gap=1)
    modes = types.DropdownView()
    for value, label in MODES.items():
        modes.add_choice(value, label=label)

    box.enum("mode", modes.values(), label="What is promised", view=modes)
    numbers = root.h_stack("goal", columns=3, gap=1)
    changed = {"on_change": panel.on_goal}
    precision, confidence = types.FieldView(), types.FieldView()
    numbers.float("precision", label="Share of right labels", view=precision, **changed)
    numbers.float("confidence", label="Confidence", view=confidence, **changed)
    sample = types.FieldView(placeholder="as many as needed")
    numbers.int("sample", label="Sample to review", view=sample, **changed)
    choices = root.v_stack("choices", gap=0)
    for name, label in _CHOICES.items():
        choices.bool(name, label=label, view=types.CheckboxView())

    root.view("explained", text(EXPLAINED % _needed(ctx), color="text.secondary"))
    bar = root.grid("go", orientation="2d", gap=1)
    add_button(bar, LABEL, "Label", panel.on_label, variant="contained", icon="label")


def add_new_sample(bar, panel, into, answers, is_main):
    """Adds the button that learns from a sample that was not enough, and draws another.

    Args:
        bar: a grid
        panel: whose event it is
        into: what is labelled into
        answers: how many the new sample takes
        is_main: whether it is what to do next
    """
    add_button(
        bar, "new_sample", "Learn from these answers and draw a new sample (%d answers)" % answers,
        panel.on_label_again, params={"into": into, "retrain": True},
        variant="contained" if is_main else "outlined", icon="model_training",
    )  # fmt: skip


_CHOICES = {
    "per_class": "Promise it of each class for itself",
    "overwrite": "Also replace what people wrote",
    "retrain": "Learn again from all reviews, and draw a new sample",
}
_NAMES = (
    "promise.mode",
    "goal.precision",
    "goal.confidence",
    "goal.sample",
    *("choices.%s" % name for name in _CHOICES),
)
_over, _lock = Screens(), threading.Lock()


def _show_outcome(panel, ctx):
    """Where the server is busy, the timer goes off several times before it is answered: all of them
    show the same."""
    over = ctx.panel.get_state("outcome")["at"]
    with _lock:
        shown = _over.get(over)
        if shown is None:
            panel.on_run_over(ctx)
            _over.keep(over, {**screen(ctx), "outcome": ctx.panel.get_state("outcome")})
        else:
            ctx.panel.state.set(shown)


def _needed(ctx):
    """How large the sample will be, as far as that can be told."""
    from alphaclip.indexing.labelling.settings import LabelSettings

    try:
        settings = LabelSettings(**read_settings(ctx))
    except AlphaClipError:
        return ""

    if settings.mode == "ranking":
        return ""

    each = " of each class" if settings.per_class else ""
    return "%d regions%s with these figures, " % (settings.sample_size, each)


def _share(value):
    return None if value != value else value


def _whole(value):
    if value is None or value != value:
        return None

    return int(value) if int(value) == value else value

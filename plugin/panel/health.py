"""
How the indexes are: what they hold, how they are searched, and bringing them up to date.
"""

import fiftyone.operators.types as types
from alphaclip.indexing.places import index_folder, index_keys
from alphaclip.indexing.store import StoreError, read_manifest

from .. import jobs
from ..forms import alert, text
from ..tiles import add_button, fit
from ..update_index import check_in_words, update_in_words
from .state import guarded, timed

TICK_MS = 1000


class HealthEvents:
    """Events of the indexes and their jobs."""

    @guarded
    def on_update(self, ctx):
        _start(ctx, "Updating %s", update_in_words)

    @guarded
    def on_check(self, ctx):
        _start(ctx, "Checking %s", check_in_words)

    @guarded
    def on_stop(self, ctx):
        jobs.stop(ctx.dataset, ctx.params["id"])

    @timed
    def on_tick(self, ctx):
        watch(ctx)


def watch(ctx):
    """Shows what came of a job once none runs any more: of the one that was started here, else of
    the last one that has ended since the panel was opened, however short it was.

    Args:
        ctx: the :class:`fiftyone.operators.ExecutionContext`
    """
    if jobs.running(ctx.dataset):
        return

    key = ctx.panel.get_state("watched")
    if key:
        told = jobs.outcome(ctx.dataset, key)
    else:
        told = jobs.last_outcome(ctx.dataset, ctx.panel.get_state("looked") or 0)

    if told is not None:
        ctx.panel.state.set({"watched": None, "outcome": told, "looked": told["at"]})
        if told["severity"] == "success":
            ctx.ops.reload_dataset()


def add_health(ctx, root, panel):
    """Lays out what the indexes are like.

    Args:
        ctx: the :class:`fiftyone.operators.ExecutionContext`
        root: the :class:`fiftyone.operators.types.Object` to add to
        panel: whose events
    """
    section = types.Object()
    shown = types.ObjectView(label="Indexes", collapsible=True)
    root.define_property("health", section, view=shown)
    for key in index_keys(ctx.dataset):
        bar = section.grid("index_%s" % key, orientation="2d", gap=1, align_y="center")
        fit(bar, "about", text(_describe(ctx, key)))
        add_button(bar, "check", "Check", panel.on_check, params={"key": key}, icon="rule")
        add_button(bar, "update", "Update", panel.on_update, params={"key": key}, icon="refresh")


def add_jobs(ctx, root, panel):
    """Lays out the jobs that run, with their Stop buttons, and what came of the last one.

    Args:
        ctx: the :class:`fiftyone.operators.ExecutionContext`
        root: the :class:`fiftyone.operators.types.Object` to add to
        panel: whose events
    """
    found = jobs.running(ctx.dataset)
    for place, job in enumerate(found):
        bar = root.grid("job_%d" % place, orientation="2d", gap=1, align_y="center")
        said = "%s: %s (%d %%)" % (job["title"], job["label"], 100 * job["progress"])
        fit(bar, "about", text(said, bold=True))
        label = "Stopping …" if job["stopping"] else "Stop"
        add_button(
            bar, "stop", label, panel.on_stop,
            params={"id": job["id"]}, disabled=job["stopping"], icon="stop",
        )  # fmt: skip

    if found or ctx.panel.get_state("watched"):
        root.view("timer", types.TimerView(interval=TICK_MS, on_interval=panel.on_tick))

    told = ctx.panel.get_state("outcome")
    if told and not found:
        view = alert(told["severity"], told["title"], told["text"])
        root.view("outcome", view)


def _start(ctx, title, work):
    key, dataset = ctx.params["key"], ctx.dataset
    if not any(job["key"] == key for job in jobs.running(dataset)):
        jobs.start(dataset, key, title % key, lambda tell: work(dataset, key, tell))

    ctx.panel.state.set({"watched": key, "outcome": None})


def _describe(ctx, key):
    try:
        manifest = read_manifest(index_folder(ctx.dataset, key))
    except StoreError as error:
        return "%s: %s" % (key, error)

    info = manifest["info"]
    text = "%s: %d regions of %s, %s" % (key, manifest["count"], info["field"], info["encoder"])
    skipped = len(info["report"]["skipped"])
    if skipped:
        text += ", %d skipped" % skipped

    return text

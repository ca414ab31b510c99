"""How the indexes are: what they hold, how they are searched, and bringing them up to date."""

import fiftyone.operators.types as types

from alphaclip.indexing.dataset.locations import index_keys
from alphaclip.indexing.store.store import StoreError

from ..common import jobs
from ..common.forms import text
from ..common.indexes import check_in_words, describe_index, update_in_words
from ..common.job_list import watch
from ..common.tiles import add_button, fit
from .state import guarded, timed


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


def add_health(ctx, root, panel):
    """Lays out what the indexes are like."""
    section = types.Object()
    shown = types.ObjectView(label="Indexes", collapsible=True)
    root.define_property("health", section, view=shown)
    for key in index_keys(ctx.dataset):
        bar = section.grid("index_%s" % key, orientation="2d", gap=1, align_y="center")
        fit(bar, "about", text(_describe(ctx, key)))
        add_button(bar, "check", "Check", panel.on_check, params={"key": key}, icon="rule")
        add_button(bar, "update", "Update", panel.on_update, params={"key": key}, icon="refresh")


def _start(ctx, title, work):
    key, dataset = ctx.params["key"], ctx.dataset
    if not any(job["key"] == key for job in jobs.running(dataset)):
        jobs.start(dataset, key, title % key, lambda tell: work(dataset, key, tell))

    ctx.panel.state.set({"watched": key, "outcome": None})


def _describe(ctx, key):
    try:
        return describe_index(ctx.dataset, key, with_skipped=True)
    except StoreError as error:
        return "%s: %s" % (key, error)

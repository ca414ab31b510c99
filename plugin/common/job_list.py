"""The jobs of a dataset, as a panel shows them: those that run, and what came of the last one."""

import fiftyone.operators.types as types

from . import jobs
from .forms import alert, text
from .panels import dataset_id
from .tiles import add_button, fit

TICK_MS = 1000


def watch(ctx):
    """Shows what came of a job once none runs any more: of the one that was started here, else of
    the last one that has ended since the panel was opened, however short it was.
    """
    if jobs.running(ctx.dataset):
        return

    key = ctx.panel.get_state("watched")
    if key:
        told = jobs.outcome(ctx.dataset, key)
    else:
        told = jobs.last_outcome(ctx.dataset, ctx.panel.get_state("looked") or 0)

    if told is not None:
        told = {**told, "dataset": dataset_id(ctx), "again": None}
        ctx.panel.state.set({"watched": None, "outcome": told, "looked": told["at"]})
        if told["severity"] == "success":
            ctx.ops.reload_dataset() if told.get("reshaped", True) else ctx.ops.reload_samples()


def add_jobs(ctx, root, panel):
    """Lays out the jobs that run, with their Stop buttons, and what came of the last one."""
    running = jobs.running(ctx.dataset)
    for number, job in enumerate(running):
        bar = root.grid("job_%d" % number, orientation="2d", gap=1, align_y="center")
        said = "%s: %s (%d %%)" % (job["title"], job["label"], 100 * job["progress"])
        fit(bar, "about", text(said, bold=True))
        label = "Stopping …" if job["stopping"] else "Stop"
        add_button(
            bar, "stop", label, panel.on_stop,
            params={"id": job["id"]}, disabled=job["stopping"], icon="stop",
        )  # fmt: skip

    if running or ctx.panel.get_state("watched"):
        root.view("timer", types.TimerView(interval=TICK_MS, on_interval=panel.on_tick))

    told = ctx.panel.get_state("outcome")
    # The App keeps a panel's state when another dataset is opened
    if told and not running and told.get("dataset", dataset_id(ctx)) == dataset_id(ctx):
        view = alert(told["severity"], told["title"], told["text"])
        root.view("outcome", view)

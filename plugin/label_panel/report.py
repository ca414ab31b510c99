"""The last step: what the last run did, and what to do next."""

import fiftyone as fo
import fiftyone.operators.types as types

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.dataset.labels import PATCHABLE, check_field, label_values
from alphaclip.indexing.labelling.report_words import summary_lines
from alphaclip.indexing.labelling.review.runs import book_of, labelling_of, report_of

from ..common.forms import count, text
from ..common.grid import reload, remake_patches, show_view, state
from ..common.indexes import open_index
from ..common.label_reports import CLASS_COLUMNS, class_rows, figures
from ..common.tiles import add_button
from .promise_form import add_new_sample
from .state import guarded

FINETUNE = "@alphaclip/regions/finetune_encoder"
PLOTS = ("reliability", "classes")
CUT_OFF = "The last run was cut off while it wrote labels: label again to go on, or undo it"
TAKEN_BACK = "The last run was taken back: label again to write labels"
FITTING = {"minWidth": 0, "& td, & th": {"overflowWrap": "anywhere", "p": "6px 8px"}}
"""A table is never wider than the panel, which would else be cut off."""


class ReportEvents:
    """Events of the report."""

    @guarded
    def on_undo_run(self, ctx):
        from alphaclip.indexing.act.acting import undo

        before = state(ctx.dataset)
        undone = undo(ctx.dataset, _run(ctx))
        reload(ctx, before)
        remake_patches(ctx)
        message = "Taken back: %s are as they were before" % count(undone.restored, "label")
        if undone.left:
            message += "; %d were edited or deleted since and stay as they are" % undone.left

        ctx.ops.notify(message, variant="success")
        show_report(ctx, _into(ctx))

    @guarded
    def on_show_written(self, ctx):
        show_view(ctx, _written_view(ctx, _into(ctx), _run(ctx)))

    @guarded
    def on_train(self, ctx):
        labelling = labelling_of(ctx.dataset, _into(ctx))
        field = open_index(ctx.dataset, labelling.key).field
        params = {"field": field, "reviews": labelling.into, "background": True}
        params["key"] = "%s_reviewed" % labelling.key[:40]
        ctx.prompt(FINETUNE, params=params)


def show_report(ctx, into):
    """Shows what the last run did.

    Args:
        into: what was labelled into; None shows nothing
    """
    labelling = labelling_of(ctx.dataset, into) if into else None
    run = _last_written(ctx, labelling) if labelling else None
    if labelling is None or not (labelling.report or run):
        ctx.panel.state.set("report", None)
        return

    reported = labelling.report["run"]["run"] if labelling.report else ""
    report = report_of(ctx.dataset, labelling)
    lines = summary_lines(report) if report else [TAKEN_BACK] if reported else []
    if run and run > reported:
        lines = [CUT_OFF, *lines]

    shown = {"into": into, "lines": lines, "rows": class_rows(report) if report else []}
    shown.update(run=run or reported, is_last=run == reported, written=bool(run), layouts={})
    promises = [one for one in (report.get("promise"), *report.get("by_class", {}).values()) if one]
    missed = [one for one in promises if one["threshold"] is None]
    if missed and not report["counts"]["sample to review"]:
        # Runs of earlier versions do not say how many it would take
        shown["next"] = {"answers": report.get("next_sample", 0), "failed": missed == promises}

    shown["learnt"] = len(book_of(ctx.dataset, labelling).examples())
    shown["notes"] = list(report["assumptions"]) if report else []
    drawn = figures(report) if report else {}
    for name in PLOTS:
        if name in drawn:
            shown["layouts"][name] = drawn[name]["layout"]
            ctx.panel.data.set(_plot(name), drawn[name]["data"])

    ctx.panel.state.set("report", shown)


def add_report(ctx, root, panel):
    """Lays the report out."""
    report = ctx.panel.get_state("report")
    if not report:
        root.view("nothing", types.Notice(label="Nothing was labelled yet"))
        return

    for place, line in enumerate(report["lines"]):
        root.view("line_%d" % place, text(line, "2px 0", bold=not place))

    _add_buttons(root, panel, report)
    for name in PLOTS:
        layout = report["layouts"].get(name)
        if layout:
            root.plot(
                _plot(name), layout=layout, config={"displayModeBar": False}, width="100%",
                height="%dpx" % layout["height"],
            )  # fmt: skip

    _add_notes(root, report["notes"])
    _add_table(root, report["rows"])


def _add_buttons(root, panel, report):
    params = {"into": report["into"], "run": report["run"]}
    bar = root.grid("after", orientation="2d", gap=1)
    after = report.get("next")
    if after and after["answers"]:
        add_new_sample(bar, panel, report["into"], after["answers"], after["failed"])

    if report["written"]:
        add_button(
            bar, "show", "Show what was written", panel.on_show_written,
            params=params, icon="grid_view",
        )  # fmt: skip
        label = "Undo this run" if report["is_last"] else "Undo the run before"
        label = "Undo what it wrote" if report["lines"][0] == CUT_OFF else label
        add_button(bar, "undo", label, panel.on_undo_run, params=params, icon="undo")

    if report["learnt"]:
        label = "Train on these reviews (%d)" % report["learnt"]
        add_button(bar, "train", label, panel.on_train, params=params, icon="model_training")


def _add_table(root, rows):
    if rows:
        table = types.TableView(componentsProps={"table": {"sx": FITTING}})
        for name, label in CLASS_COLUMNS.items():
            if any(row[name] != "" for row in rows):
                table.add_column(name, label=label)

        root.list("rows", types.Object(), view=table, default=rows)


def _add_notes(root, notes):
    section = types.Object()
    shown = types.ObjectView(label="What these figures rest on", collapsible=True)
    root.define_property("notes", section, view=shown)
    for place, note in enumerate(notes):
        section.view("note_%d" % place, text(note, "2px 0", color="text.secondary"))


def _written_view(ctx, into, run):
    """The labels that a run wrote, as patches where FiftyOne makes them: not of labels whose ids
    several samples have."""
    field, _, attribute = into.partition(".")
    name = "%s_run" % attribute if attribute else "run"
    view = ctx.dataset.filter_labels(field, fo.ViewField(name) == run)
    if check_field(ctx.dataset, field) not in PATCHABLE:
        return view

    ids, _ = label_values(view, field)
    return view.to_patches(field) if len(set(ids.label_ids.tolist())) == len(ids) else view


def _last_written(ctx, labelling):
    """The newest run that wrote anything that can be taken back, also one that was cut off."""
    runs = reversed(labelling.runs)
    return next((run for run in runs if _is_there(ctx, run)), None)


def _is_there(ctx, run):
    from alphaclip.indexing.act.actions import find_action

    try:
        action = find_action(ctx.dataset, run)
    except AlphaClipError:
        return False

    return bool(action.count) and not action.undone


def _into(ctx):
    into = ctx.params.get("into")
    if not isinstance(into, str) or labelling_of(ctx.dataset, into) is None:
        raise AlphaClipError("Nothing was labelled into that: label first")

    return into


def _run(ctx):
    """The run that the button was shown for."""
    run, labelling = ctx.params.get("run"), labelling_of(ctx.dataset, _into(ctx))
    if run not in (*labelling.runs, labelling.report.get("run", {}).get("run")):
        raise AlphaClipError("This run is not known here: open “Report” again")

    return run


def _plot(name):
    return "reliability" if name == "reliability" else "by_class"

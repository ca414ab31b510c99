"""What the last run did, and what to do next."""

import fiftyone as fo

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.dataset.labels import (
    PATCHABLE,
    check_field,
    frames_of,
    is_of_frames,
    label_ids,
    own_name,
    split_attribute,
)
from alphaclip.indexing.labelling.report_page import report_content
from alphaclip.indexing.labelling.review.runs import book_of, labelling_of, report_of

from ..common.forms import count
from ..common.grid import reload, remake_patches, show_view, state
from ..common.indexes import open_index
from ..common.label_reports import CLASS_COLUMNS, class_rows
from ..common.panels import event
from .labelled import labelling_in

FINETUNE = "@alphaclip/regions/finetune_encoder"
CUT_OFF = "The last run was cut off while it wrote labels: label again to go on, or undo it"
TAKEN_BACK = "The last run was taken back: label again to write labels"


class ReportEvents:
    """Events of the report. Each says what is labelled into."""

    @event
    def report(self, ctx):
        into = ctx.params.get("into")
        labelling = labelling_of(ctx.dataset, into) if isinstance(into, str) else None
        run = _last_written(ctx, labelling) if labelling else None
        if labelling is None or not (labelling.report or run):
            return {"into": None}

        return {
            "into": into,
            "run": run,
            "learnt": len(book_of(ctx.dataset, labelling).examples()),
            **_content(ctx.dataset, labelling, run),
        }

    @event
    def undo_run(self, ctx):
        from alphaclip.indexing.act.acting import undo

        before = state(ctx.dataset)
        undone = undo(ctx.dataset, _run(ctx))
        reload(ctx, before)
        remake_patches(ctx)
        said = "Taken back: %s are as they were before" % count(undone.restored, "label")
        if undone.left:
            said += "; %d were edited or deleted since and stay as they are" % undone.left

        return {"said": said}

    @event
    def show_written(self, ctx):
        show_view(ctx, _written_view(ctx, ctx.params["into"], _run(ctx)))

    @event
    def train(self, ctx):
        labelling = labelling_in(ctx.dataset, ctx.params.get("into"))
        field = open_index(ctx.dataset, labelling.key).field
        params = {"field": field, "reviews": labelling.into, "background": True}
        params["key"] = "%s_reviewed" % labelling.key[:40]
        ctx.prompt(FINETUNE, params=params)


def _content(dataset, labelling, run):
    """What the page draws of a report; none of a run that was cut off before it had one, or that
    was taken back."""
    report = report_of(dataset, labelling)
    if not report:
        said = TAKEN_BACK if labelling.report else CUT_OFF
        return {"sentence": said, "lines": [], "is_last": False, "next_sample": 0}

    content, reported = report_content(report), report["run"]["run"]
    lines = content["lines"]
    if run and run > reported:
        lines, content["sentence"] = [content["sentence"], *lines], CUT_OFF

    promises = [one for one in (report.get("promise"), *report.get("by_class", {}).values()) if one]
    missed = [one for one in promises if one["threshold"] is None]
    may_go_on = missed and not report["counts"]["sample to review"]
    reliability = report["reliability"]
    return {
        **content,
        "lines": lines,
        "is_last": run == reported,
        # Runs of earlier versions do not say how many it would take
        "next_sample": report.get("next_sample", 0) if may_go_on else 0,
        "has_failed": bool(missed) and missed == promises,
        "columns": CLASS_COLUMNS,
        "rows": class_rows(report),
        "bins": reliability["bins"] if reliability else [],
        "notes": list(report["assumptions"]),
    }


def _written_view(ctx, into, run):
    """The labels that a run wrote, as patches where FiftyOne makes them: not of labels whose ids
    several samples have."""
    field, attribute = split_attribute(into)
    name = "%s_run" % attribute if attribute else "run"
    view = ctx.dataset.filter_labels(field, fo.ViewField(name) == run)
    if check_field(ctx.dataset, field) not in PATCHABLE:
        return view

    if is_of_frames(field):
        return frames_of(view).to_patches(own_name(field))

    ids = label_ids(view, field)
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


def _run(ctx):
    """The run that the button was shown for."""
    run, labelling = ctx.params.get("run"), labelling_in(ctx.dataset, ctx.params.get("into"))
    if run not in (*labelling.runs, labelling.report.get("run", {}).get("run")):
        raise AlphaClipError("This run is not known here: open “Report” again")

    return run

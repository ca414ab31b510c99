"""The runs: what is to be promised, and jobs that label."""

import threading

from alphaclip.arguments import check
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.labelling.report_words import summary_lines
from alphaclip.indexing.labelling.review.queueing import review_queue
from alphaclip.indexing.labelling.review.runs import add_reviews, labelled_fields

from ..common import jobs
from ..common.indexes import open_index
from ..common.panels import event
from .classes import read_classes
from .labelled import labelling_in, reviewer_of

SETTINGS = ("into", "mode", "precision", "confidence", "per_class", "sample", "overwrite")


class RunEvents:
    """Events of the labelling itself."""

    @event
    def sample_size(self, ctx):
        """How many regions the first sample takes, and 0 where nothing is promised."""
        settings = checked_settings(ctx.params["settings"])
        size = 0 if settings.chosen_mode == "ranking" else settings.sample_size
        return {"size": size, "each": settings.per_class}

    @event
    def label_regions(self, ctx):
        """Labels in the background; ``wrong`` are ids of regions that are none of the classes."""
        settings = checked_settings(ctx.params["settings"])
        classes = read_classes(ctx.dataset, ctx.params["classes"])
        wrong = check("wrong", ctx.params.get("wrong") or [], "Sequence[str]")
        return start_run(ctx, ctx.params["key"], classes, vars(settings), wrong)

    @event
    def label_again(self, ctx):
        """Labels with what was answered; ``retrain`` learns from all of it and draws anew."""
        labelling = labelling_in(ctx.dataset, ctx.params.get("into"))
        if not labelling.class_set:
            raise AlphaClipError("The classes of this run are too many to be kept: label in Python")

        settings = {**labelling.settings, "retrain": ctx.params.get("retrain") is True}
        return start_run(ctx, labelling.key, list(labelling.class_set), settings)

    @event
    def run_over(self, ctx):
        """Has the grid show what a run has written, and says what to look at next."""
        into = str(ctx.params["into"])
        if into not in labelled_fields(ctx.dataset):
            return {"step": "classes"}

        if _count_fields(ctx.dataset) == ctx.params.get("fields"):
            ctx.ops.reload_samples()
        else:
            ctx.ops.reload_dataset()

        queue = review_queue(ctx.dataset, into)
        return {"step": "review" if queue.reviewed < queue.sample else "report"}


def checked_settings(settings):
    """Reads what is to be promised.

    Args:
        settings: a dict of some of ``SETTINGS``

    Returns:
        a ``LabelSettings``

    Raises:
        AlphaClipError: if a value cannot be used
    """
    from alphaclip.indexing.labelling.settings import LabelSettings

    values = dict(check("settings", settings, "Mapping[str, Any]"))
    values = {name: values[name] for name in SETTINGS if values.get(name) is not None}
    values["into"] = check("into", values.get("into") or "auto", "str").strip()
    if values.get("mode") == "ranking":
        values = {name: values[name] for name in ("into", "mode", "overwrite") if name in values}

    return LabelSettings(**values)


def start_run(ctx, key, classes, settings, wrong=()):
    """Labels in the background.

    Args:
        key: of the index
        classes: a list of ``LabelClass``, or their JSON values
        settings: a dict, as ``LabelSettings`` takes it
        wrong (()): ids of regions that are none of the classes

    Returns:
        a dict for the page: ``into``, the ``title`` of the job, and how many ``fields`` the
        dataset has before it

    Raises:
        AlphaClipError: if the settings cannot be used, a job works on the index, or labels cannot
            be written there
    """
    from alphaclip.indexing.labelling.settings import LabelSettings
    from alphaclip.indexing.labelling.writing import check_into

    LabelSettings(**settings)
    dataset, into = ctx.dataset, settings["into"]
    check_into(dataset, open_index(dataset, key).field, into)
    title, fields = "Labelling into %s" % into, _count_fields(dataset)

    def work(progress):
        index = open_index(dataset, key)
        report = index.label(classes, progress=progress, **settings)
        return summary_lines(report.to_dict())[0]

    with _lock:
        busy = next((job for job in jobs.running(dataset) if job["key"] == key), None)
        if busy is not None:
            said = "“%s” is running: wait until it is done, or stop it"
            raise AlphaClipError(said % busy["title"])

        if wrong:
            add_reviews(dataset, into, dict.fromkeys(wrong), reviewer=reviewer_of(ctx))

        jobs.start(dataset, key, title, work)

    return {"into": into, "title": title, "fields": fields}


_lock = threading.Lock()


def _count_fields(dataset):
    return len(dataset.get_field_schema(flat=True))

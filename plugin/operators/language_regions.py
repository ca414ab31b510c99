"""The operators by which a language model describes regions, and answers a question about each."""

import dataclasses
from pathlib import Path

import fiftyone.operators.types as types

from alphaclip.indexing.dataset.labels import FieldError
from alphaclip.indexing.dataset.schema import check_attribute

from ..common.forms import (
    MESSAGE_CHARACTERS,
    add_background,
    add_images,
    add_table,
    alert,
    choose_index,
    dropdown,
    plain,
    reject,
    shorten,
    split,
)
from ..common.indexes import open_index
from ..common.operators import JobOperator, configure
from ..common.region_forms import text_attributes
from ..common.reports import SHOWN_SKIPPED, add_counts, add_skipped

AUTO = "auto"
COUNTS = {
    "answered": "Regions asked about now",
    "answered_before": "Asked about before",
    "written": "Labels written",
    "left": "Left as somebody wrote them",
}


class LanguageOperator(JobOperator):
    """Has a language model say something of each region, and writes it to the labels."""

    begins = "Loading the language model"
    action = None
    """What is done to the regions, as the form says it."""

    default_into = None

    def add_task(self, ctx, inputs, index):
        """Lays out what the model is to say."""
        raise NotImplementedError

    def prepare(self, ctx, index):
        """Makes an ``alphaclip.indexing.language.runs.LanguageRun``."""
        raise NotImplementedError

    def add_form(self, ctx, inputs):
        key = choose_index(ctx, inputs)
        if key is None:
            return

        index = open_index(ctx.dataset, key)
        add_images(ctx, inputs, self.action)
        self.add_task(ctx, inputs, index)
        _add_into(ctx, inputs, index, self.default_into)
        _add_model(ctx, inputs)
        inputs.int("limit", label="At most so many regions", description="Empty: all", min=1)
        inputs.bool(
            "try_first",
            label="Only say how long it takes",
            description="Asks about the first regions, which need not be asked again, and writes "
            "nothing",
            default=False,
        )
        inputs.bool("overwrite", label="Also where somebody else wrote", default=False)
        add_background(inputs)

    def resolve_run_name(self, ctx):
        return "%s of %s" % (self.config.label, ctx.params.get("key"))

    def describe_job(self, ctx):
        key = ctx.params["key"]
        return "language:%s" % key, "%s of %s" % (self.action, key)

    def work(self, ctx, job):
        run = self.prepare(ctx, open_index(ctx.dataset, ctx.params["key"]))
        if ctx.params.get("try_first"):
            job.said = str(run.estimate())
            return {"about": job.said}

        report = run.run(job.progress)
        job.said = str(report)
        skipped = [dataclasses.asdict(one) for one in report.skipped[:SHOWN_SKIPPED]]
        return {
            "into": report.into,
            "by": report.by,
            "answered": report.asked,
            "answered_before": report.answered_before,
            "written": report.written,
            "left": report.left,
            "counts": [{"choice": shorten(one), "regions": n} for one, n in report.counts.items()],
            "calibration": str(report.calibration) if report.calibration else None,
            "action": report.action and report.action.id,
            "skipped": len(report.skipped),
            "skipped_items": skipped,
        }

    def lay_out(self, results, outputs):
        if "about" in results:
            outputs.view("about_note", alert("info", "Nothing was written", results["about"]))
            return

        outputs.str("into", label="Written to")
        outputs.str("by", label="By")
        add_counts(outputs, results, COUNTS)
        if results["counts"]:
            columns = {"choice": "Answer", "regions": "Regions"}
            add_table(outputs, "counts", columns, label="Answers")

        if results["calibration"]:
            told = plain(results["calibration"], MESSAGE_CHARACTERS)
            outputs.view("calibration_note", types.Notice(label="Probabilities", description=told))

        add_skipped(outputs, results)


class DescribeRegions(LanguageOperator):
    """Writes a text about each region."""

    config = configure(
        name="describe_regions",
        label="Describe regions",
        description="Has a language model write a caption on every region",
        icon="notes",
        allow_delegated_execution=True,
        risk_level=types.RiskLevel.MEDIUM,
    )
    results_label = "Regions described"
    action = "Describe the regions"
    default_into = "caption"

    def add_task(self, ctx, inputs, index):
        inputs.str(
            "prompt",
            label="What to say",
            description="Empty: a short sentence. {label} stands for each region's own",
        )

    def prepare(self, ctx, index):
        from alphaclip.indexing.language.runs import describing

        prompt = (ctx.params.get("prompt") or "").strip() or None
        return describing(index, prompt=prompt, **_shared(ctx, self.default_into))


class AskRegions(LanguageOperator):
    """Asks a question about each region, and writes which of some answers is likeliest."""

    config = configure(
        name="ask_regions",
        label="Ask about regions",
        description="Has a language model answer a question about every region",
        icon="contact_support",
        allow_delegated_execution=True,
        risk_level=types.RiskLevel.MEDIUM,
    )
    results_label = "Regions asked about"
    action = "Ask about the regions"
    default_into = "answer"

    def add_task(self, ctx, inputs, index):
        inputs.str(
            "question",
            label="Question",
            description="As: is this a {label}? {label} stands for each region's own",
            required=True,
        )
        prop = inputs.str(
            "choices",
            label="What may be answered",
            description="Separated by commas; each is scored by how likely it is",
            default="yes, no",
        )
        if len(_choices(ctx)) < 2:
            reject(prop, "Give two or more, separated by commas: yes, no")

        _add_reviews(ctx, inputs, index)
        inputs.bool("uncertain", label="What it was least sure of first", default=False)

    def prepare(self, ctx, index):
        from alphaclip.indexing.language.runs import asking

        return asking(
            index,
            ctx.params["question"],
            _choices(ctx),
            order="uncertain" if ctx.params.get("uncertain") else None,
            reviews=ctx.params.get("reviews") or None,
            **_shared(ctx, self.default_into),
        )


def _add_into(ctx, inputs, index, default):
    prop = inputs.str(
        "into",
        label="Attribute of the labels",
        description="That it is written to; who wrote it goes beside it",
        default=default,
    )
    try:
        check_attribute(ctx.dataset, index.field, _into(ctx, default), "StringField")
    except FieldError as error:
        reject(prop, str(error))


def _add_model(ctx, inputs):
    from alphaclip.language.loading import NANO_CAPTIONER, find_auto

    # A model that the server has: the browser names no folder, and nothing is downloaded unasked
    choices = {AUTO: "%s (auto)" % Path(find_auto()).name, NANO_CAPTIONER: NANO_CAPTIONER}
    about = "Another is taken where the server's ALPHACLIP_LANGUAGE_MODEL names it"
    chosen = ctx.params.get("model")
    dropdown(inputs, "model", choices, chosen, label="Language model", description=about)


def _add_reviews(ctx, inputs, index):
    names = text_attributes(ctx.dataset, index.field)
    choices = {"": "none", **{"%s.%s" % (index.field, name): name for name in names}}
    dropdown(
        inputs,
        "reviews",
        choices,
        ctx.params.get("reviews"),
        label="Reviews",
        description="The attribute with the right answer of at least 50 regions, by which scores "
        "become probabilities",
    )


def _into(ctx, default):
    into = ctx.params.get("into") or default
    return into.strip() if isinstance(into, str) else default


def _choices(ctx):
    return split(ctx.params.get("choices") or "yes, no")


def _shared(ctx, default_into):
    view = ctx.target_view()
    return {
        "into": _into(ctx, default_into),
        "model": ctx.params.get("model") or AUTO,
        "view": None if view == ctx.dataset else view,
        "limit": ctx.params.get("limit"),
        "overwrite": ctx.params.get("overwrite", False),
    }

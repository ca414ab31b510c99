"""
The operator that brings an index up to date.
"""

import dataclasses

import fiftyone.operators as foo
import fiftyone.operators.types as types

from .forms import add_background, choose_index, count
from .indexes import open_index
from .jobs import stoppable
from .progress import follow, go_on_in_background, show_errors
from .reports import describe_search, in_words, outputs, summarize


class UpdateIndex(foo.Operator):
    """Embeds what is new or edited, and drops what is gone."""

    @property
    def config(self):
        return foo.OperatorConfig(
            name="update_index",
            label="Update region index",
            description="Embeds regions that are new or edited, and drops those that are gone",
            light_icon="/assets/embed-light.svg",
            dark_icon="/assets/embed-dark.svg",
            dynamic=True,
            execute_as_generator=True,
            allow_delegated_execution=True,
            view_target=False,
            risk_level=types.RiskLevel.MEDIUM,
        )

    def resolve_input(self, ctx):
        inputs = types.Object()
        if choose_index(ctx, inputs) is not None:
            add_background(inputs)

        view = types.PromptView(label=self.config.label, submit_button_label="Update")
        return types.Property(inputs, view=view)

    def resolve_run_name(self, ctx):
        return "Update %s" % ctx.params.get("key")

    def execute(self, ctx):
        if ctx.delegated:
            return _update(ctx, lambda report: ctx.set_progress(**report))

        return show_errors(ctx, _update_in_app(ctx))

    def resolve_output(self, ctx):
        return outputs(ctx.results)


def update_in_words(dataset, key, progress):
    """Brings an index up to date.

    Args:
        dataset: a :class:`fiftyone.core.dataset.Dataset`
        key: of the index
        progress: a function of what is counted, how many are done and how many there are

    Returns:
        one sentence that says what was done
    """
    return in_words(key, dataclasses.asdict(open_index(dataset, key).update(progress)))


def check_in_words(dataset, key, progress):
    """Compares an index with its dataset.

    Args:
        dataset: a :class:`fiftyone.core.dataset.Dataset`
        key: of the index
        progress: a function of what is counted, how many are done and how many there are

    Returns:
        a sentence that says what is out of date, and one on how the index is searched
    """
    index = open_index(dataset, key)
    fresh = index.freshness(progress)
    found = ["%s hold" % count(fresh.held)]
    found += ["%d edited" % fresh.edited] if fresh.edited else []
    found += ["%d not embedded" % fresh.missing] if fresh.missing else []
    found += ["%d gone" % fresh.gone] if fresh.gone else []
    found += ["%d out of reach" % fresh.unreachable] if fresh.unreachable else []
    advice = "Nothing to update." if fresh.is_fresh else "Update the index."
    return "%s. %s Searched by %s." % (", ".join(found), advice, describe_search(index.info()))


def _update_in_app(ctx):
    if ctx.params.get("background"):
        yield from go_on_in_background(ctx, lambda report: _update(ctx, report))
        return

    results = yield from follow(
        lambda report: _update(ctx, report),
        lambda report: ctx.ops.set_progress(**report),
    )
    yield ctx.ops.reload_dataset()
    yield ctx.ops.show_output(outputs(results).to_json(), results)


def _update(ctx, report):
    key = ctx.params["key"]
    report({"progress": 0.0, "label": "Reading the labels"})
    with stoppable(ctx.dataset, key, "Updating %s" % key, report) as job:
        index = open_index(ctx.dataset, key)
        job.said = in_words(key, dataclasses.asdict(index.update(job.progress)))

    return summarize(index.info())

"""
The operator that copies an index to another backend of FiftyOne's Brain.
"""

import fiftyone.operators as foo
import fiftyone.operators.types as types

from ..common.forms import check_run_name, choose_index, dropdown
from ..common.jobs import stoppable
from ..common.progress import follow, show_errors


class ExportIndex(foo.Operator):
    """Copies the vectors of an index to another vector engine."""

    @property
    def config(self):
        return foo.OperatorConfig(
            name="export_index",
            label="Export region index",
            description="Copies an index to another backend of FiftyOne's Brain",
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
            _add_target(ctx, inputs)

        view = types.PromptView(label=self.config.label, submit_button_label="Export")
        return types.Property(inputs, view=view)

    def resolve_run_name(self, ctx):
        return "Export %s" % ctx.params.get("key")

    def execute(self, ctx):
        if ctx.delegated:
            return _export(ctx, lambda report: ctx.set_progress(**report))

        return show_errors(ctx, _export_in_app(ctx))

    def resolve_output(self, ctx):
        shown = types.Object()
        shown.int("vectors", label="Vectors copied")
        shown.str("brain_key", label="Brain run")
        return types.Property(shown, view=types.View(label="Index exported"))


def _add_target(ctx, inputs):
    backends = _backends()
    chosen, about = ctx.params.get("backend"), "As FiftyOne is set up for"
    dropdown(inputs, "backend", backends, chosen, label="Backend", description=about)
    prop = inputs.str(
        "brain_key",
        label="Name of the copy",
        description="Letters, digits and underscores",
        required=True,
    )
    check_run_name(ctx, prop)


def _backends():
    import fiftyone.brain as fob

    names = [name for name in fob.brain_config.similarity_backends if name != "alphaclip"]
    return {name: name for name in sorted(names, key=lambda name: (name != "sklearn", name))}


def _export_in_app(ctx):
    results = yield from follow(
        lambda report: _export(ctx, report),
        lambda report: ctx.ops.set_progress(**report),
    )
    yield ctx.ops.reload_dataset()
    message = "%d vectors are in %s" % (results["vectors"], results["brain_key"])
    yield ctx.ops.notify(message, variant="success")


def _export(ctx, report):
    from alphaclip import indexing

    key, brain_key = ctx.params["key"], ctx.params["brain_key"]
    report({"progress": 0.0, "label": "Copying the vectors"})
    with stoppable(ctx.dataset, key, "Exporting %s" % key, report):
        results = ctx.dataset.load_brain_results(key)
        copy = indexing.export(results, ctx.params["backend"], brain_key)

    return {"vectors": int(copy.total_index_size), "brain_key": brain_key}

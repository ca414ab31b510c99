"""The operator that downloads a model."""

import fiftyone.operators.types as types

from ..common.forms import add_background, refuse
from ..common.models import add_model, downloads_of, fetch
from ..common.operators import JobOperator, configure


class DownloadModel(JobOperator):
    """Downloads an encoder, a segmenter or a detector; what was cut off goes on."""

    config = configure(
        name="download_model",
        label="Download a model",
        description="Downloads an encoder, a segmenter or a detector of words, and says before how "
        "large it is and what it may be used for",
        icon="download",
        allow_delegated_execution=True,
        view_target=False,
        risk_level=types.RiskLevel.MEDIUM,
    )
    button = "Download"
    begins = "Asking for the model"
    results_label = "Model downloaded"

    def add_form(self, ctx, inputs):
        if ctx.dataset is None:
            refuse(inputs, "No dataset is open", "Open one first.")
            return

        models = downloads_of(ctx.dataset)
        if not models:
            refuse(inputs, "Nothing is left to download", "All models that are offered are here.")
            return

        add_model(ctx, inputs, "model", models, label="Model", required=True)
        add_background(inputs)

    def resolve_run_name(self, ctx):
        return "Download %s" % ctx.params.get("model")

    def describe_job(self, ctx):
        return "download:%s" % ctx.params["model"], "Downloading %s" % ctx.params["model"]

    def work(self, ctx, job):
        name = ctx.params["model"]
        fetch(name, job.progress)
        job.said = "%s is here" % name
        return {"model": name}

    def lay_out(self, results, outputs):
        outputs.str("model", label="Model")

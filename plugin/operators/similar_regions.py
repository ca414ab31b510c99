"""The operator that shows the regions that are most like those that are selected."""

import fiftyone.operators.types as types

from alphaclip.errors import AlphaClipError

from ..common.forms import choose_index, count, form_button, refuse
from ..common.grid import show_view
from ..common.indexes import open_index, selected_names, selected_regions
from ..common.reports import ids_and_scores
from .base import FormOperator, configure, show_in_panel

DEFAULT_K = 50


class FindSimilarRegions(FormOperator):
    """Searches an index by the selected patches, or by the labels selected in a picture."""

    config = configure(
        name="find_similar_regions",
        label="Find similar regions",
        description="Shows the regions that are most like the selected patches or labels",
        icon="compare",
        allow_delegated_execution=True,
        view_target=False,
        risk_level=types.RiskLevel.LOW,
    )
    button = "Find"

    def resolve_placement(self, ctx):
        if ctx.view is not None and ctx.view._is_patches:
            return form_button(self.config)

        return form_button(self.config, types.Places.SAMPLES_VIEWER_ACTIONS)

    def resolve_run_name(self, ctx):
        return "Find similar regions in %s" % ctx.params.get("key")

    def title(self, ctx):
        return "Find regions like the %s selected" % len(selected_regions(ctx))

    def add_form(self, ctx, inputs):
        if not selected_regions(ctx):
            refuse(
                inputs,
                "Nothing is selected",
                "Select patches in the grid, or click labels in a picture.",
            )
        elif choose_index(ctx, inputs) is not None:
            inputs.int("k", label="How many regions", default=DEFAULT_K, min=1, max=10000)

    def steps(self, ctx):
        from alphaclip import indexing

        index = open_index(ctx.dataset, ctx.params["key"])
        names = selected_names(ctx, [index.key])
        examples = [indexing.Example(name) for name in names]
        if not examples:
            raise AlphaClipError("Nothing is selected: select patches, or labels in a picture")

        hits = index.search(examples, k=ctx.params.get("k") or DEFAULT_K)
        yield from show_view(ctx, hits.view())
        search = indexing.Search(examples=names, keys=[index.key], k=None)
        yield from show_in_panel(ctx, indexing.remember(ctx.dataset, search))
        message = "%s like the %d selected, cosine %.3f to %.3f"
        message %= (count(len(hits)), len(examples), hits.scores[0], hits.scores[-1])
        yield ctx.ops.notify(message, variant="success")
        return {"index": index.key, **ids_and_scores(hits)}

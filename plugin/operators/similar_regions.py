"""The operator that shows the regions that are most like those selected, and its button."""

from contextlib import suppress

import fiftyone.operators as foo
import fiftyone.operators.types as types

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.dataset.locations import index_keys

from ..common.forms import choose_index, count, form_button, refuse
from ..common.grid import show_view
from ..common.indexes import named_hits, open_index, selected_names, selected_regions
from ..common.operators import FormOperator, configure, show_in_panel
from ..common.reports import ids_and_scores

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


class SimilarRegionsButton(foo.Operator):
    """The button of :class:`FindSimilarRegions`: finds at once where one index holds what is
    selected, else opens the form, which the list of operators opens at any time."""

    config = configure(
        name="similar_regions_button",
        label=FindSimilarRegions.config.label,
        description=FindSimilarRegions.config.description,
        icon=FindSimilarRegions.config.icon,
        dynamic=False,
        execute_as_generator=False,
        unlisted=True,
        view_target=False,
        risk_level=types.RiskLevel.LOW,
    )

    def resolve_placement(self, ctx):
        is_of_grid = ctx.view is not None and ctx.view._is_patches and not ctx.current_sample
        where = types.Places.SAMPLES_GRID_SECONDARY_ACTIONS
        where = where if is_of_grid else types.Places.SAMPLES_VIEWER_ACTIONS
        return form_button(self.config, where, prompt=False)

    def execute(self, ctx):
        keys = _keys_with_all(ctx, selected_regions(ctx))
        params = {"key": keys[0]} if len(keys) == 1 else {}
        ctx.prompt("@alphaclip/regions/find_similar_regions", params, skip_prompt=bool(params))


def _keys_with_all(ctx, regions):
    """The indexes that hold all of some regions; none where there are no regions."""
    keys = []
    for key in index_keys(ctx.dataset) if regions else ():
        # One that cannot be read is no choice
        with suppress(AlphaClipError):
            held = named_hits(open_index(ctx.dataset, key), selected_names(ctx, [key]))
            keys += [key] if len(held) == len(regions) else []

    return keys

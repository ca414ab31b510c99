"""
The operator that shows the regions that match some words best.
"""

import fiftyone.operators as foo
import fiftyone.operators.types as types

from alphaclip.indexing.dataset.locations import index_folder, index_keys
from alphaclip.indexing.store.store import StoreError, read_manifest

from ..common.forms import MESSAGE_CHARACTERS, alert, dropdown, plain, refuse, reject, shorten
from ..common.indexes import open_index
from ..common.progress import show_errors
from ..common.reports import describe_search
from ..panel.state import MAX_CHARACTERS

DEFAULT_K = 50


class SearchRegions(foo.Operator):
    """Searches an index by text and shows the hits as patches in rank order."""

    @property
    def config(self):
        return foo.OperatorConfig(
            name="search_regions",
            label="Search regions",
            description="Shows the boxes, masks and polygons that match some words best",
            light_icon="/assets/search-light.svg",
            dark_icon="/assets/search-dark.svg",
            dynamic=True,
            execute_as_generator=True,
            risk_level=types.RiskLevel.LOW,
        )

    def resolve_input(self, ctx):
        inputs = types.Object()
        if ctx.dataset is None:
            refuse(inputs, "No dataset is open", "Open one first.")
        elif not index_keys(ctx.dataset):
            refuse(inputs, "No regions of this dataset are embedded", "Run “Embed regions” first.")
        else:
            indexes, damaged = _describe_all(ctx.dataset)
            if damaged:
                inputs.view("damaged", alert("warning", "Left out", damaged))
            if indexes:
                _add_fields(ctx, inputs, indexes)
            else:
                refuse(inputs, "No index can be read", plain(damaged, MESSAGE_CHARACTERS))

        view = types.PromptView(label=self.config.label, submit_button_label="Search")
        return types.Property(inputs, view=view)

    def execute(self, ctx):
        return show_errors(ctx, _search(ctx))


def _add_fields(ctx, inputs, indexes):
    prop = inputs.str(
        "query",
        label="Search for",
        description="A few words, such as “a red apple”",
        required=True,
    )
    query = str(ctx.params.get("query") or "")
    if "query" in ctx.params and not query.strip():
        reject(prop, "Type what to look for.")
    elif len(query) > MAX_CHARACTERS:
        reject(prop, "A few words are enough: at most %d characters." % MAX_CHARACTERS)

    dropdown(inputs, "key", indexes, ctx.params.get("key"), label="Index", required=True)
    inputs.int("k", label="How many regions", default=DEFAULT_K, min=1, max=10000)
    inputs.view_target(
        ctx,
        action_description="Search",
        allow_dataset_view=ctx.view._is_generated,
        dataset_view_description="All embedded regions",
        default_target="DATASET_VIEW" if ctx.view._is_generated else None,
    )


def _describe_all(dataset):
    described, damaged = {}, []
    for key in index_keys(dataset):
        try:
            described[key] = _describe(dataset, key)
        except StoreError as error:
            damaged.append(str(error))

    return described, "; ".join(damaged)


def _describe(dataset, key):
    manifest = read_manifest(index_folder(dataset, key))
    return "%s: %d regions of %s, %s" % (
        key,
        manifest["count"],
        manifest["info"]["field"],
        manifest["info"]["encoder"],
    )


def _search(ctx):
    query = ctx.params["query"].strip()
    index = open_index(ctx.dataset, ctx.params["key"])
    hits = index.search(query, k=ctx.params.get("k") or DEFAULT_K, view=_restriction(ctx))
    if not len(hits):
        yield ctx.ops.notify("No region of index %r is in this view" % index.key, variant="warning")
        return

    view = hits.view()
    yield ctx.ops.set_view(view)
    message = "%d regions for “%s”, cosine %.3f to %.3f, %s"
    said, scores = shorten(query), hits.scores
    message %= (len(hits), said, scores[0], scores[-1], describe_search(index.info()))
    yield ctx.ops.notify(message, variant="success")
    gone = len(hits) - len(view) if view._is_patches else 0
    if gone:
        message = "%d of them are no labels of this dataset any more: update the index"
        yield ctx.ops.notify(message % gone, variant="warning")


def _restriction(ctx):
    view = ctx.target_view()
    return None if view in (ctx.dataset, ctx.dataset.view()) else view

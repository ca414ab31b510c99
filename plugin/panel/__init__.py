"""The panel "Region search"."""

import fiftyone.operators.types as types
from fiftyone.operators.categories import Categories
from fiftyone.operators.panel import Panel, PanelConfig

from alphaclip.indexing.dataset.labels import region_fields
from alphaclip.indexing.dataset.locations import index_keys

from ..common.forms import alert
from ..common.job_list import add_jobs, watch
from ..common.panels import stamp
from .actions import ActionEvents, show_last_action
from .form import FormEvents, add_form, add_pending
from .gallery import GalleryEvents, add_gallery
from .health import HealthEvents, add_health
from .history import add_history
from .keys import KEYS_HELP
from .results import ResultEvents, add_results
from .showing import show_page
from .state import prepare, timed
from .tabs import search_of
from .why import WhyEvents

EMBED = "@alphaclip/regions/embed_regions"
SEGMENT = "@alphaclip/regions/segment_regions"
BACKGROUND = {"background": True}
LOOK_MS = 2000
HELP = (
    "Finds boxes, masks and polygons by words, by examples or by a picture. A score is the cosine "
    "between the query and the region, from -1 to 1. “Embed regions” makes an index first."
    + KEYS_HELP
)


class RegionSearchPanel(
    FormEvents,
    ResultEvents,
    GalleryEvents,
    ActionEvents,
    HealthEvents,
    WhyEvents,
    Panel,
):
    """Searches the regions of a dataset, and acts on what was found."""

    @property
    def config(self):
        return PanelConfig(
            name="region_search",
            label="Region search",
            help_markdown=HELP,
            category=Categories.CURATE,
            light_icon="/assets/search-light.svg",
            dark_icon="/assets/search-dark.svg",
            surfaces="grid",
        )

    @timed
    def on_load(self, ctx):
        prepare(ctx)
        if ctx.dataset is None:
            return

        show_last_action(ctx)
        if ctx.panel.get_state("asked"):
            show_page(ctx, ctx.panel.get_state("page") or 0)

    def on_embed(self, ctx):
        ctx.prompt(EMBED, params=BACKGROUND, on_success=self.on_load)

    def on_segment(self, ctx):
        ctx.prompt(SEGMENT, params=BACKGROUND, on_success=self.on_load)

    @timed
    def on_look(self, ctx):
        prepare(ctx)
        watch(ctx)

    def render(self, ctx):
        root = types.Object()
        error = ctx.panel.get_state("error")
        if ctx.dataset is None:
            root.view("empty", types.Notice(label="Open a dataset first"))
        else:
            if index_keys(ctx.dataset):
                self._add_all(ctx, root, error)
            else:
                self._add_first_step(ctx, root)

            stamp(root, search_of(ctx))

        return types.Property(
            root, view=types.GridView(orientation="vertical", columns=1, gap=1, pad=2)
        )

    def _add_all(self, ctx, root, error):
        add_form(ctx, root, self)
        if error:
            root.view("error", alert("error", "It did not work", error))

        add_pending(ctx, root, self)
        add_results(ctx, root, self)
        add_gallery(ctx, root, self)
        add_history(ctx, root, self)
        add_jobs(ctx, root, self)
        add_health(ctx, root, self)

    def _add_first_step(self, ctx, root):
        has_regions = bool(region_fields(ctx.dataset))
        if has_regions:
            label = "Embed regions first"
            text = "No regions of this dataset are embedded yet, so there is nothing to search."
        else:
            label = "Segment regions first"
            text = (
                "No boxes, masks or polygons are in this dataset yet. “Segment regions” finds what "
                "is in its pictures; “Embed regions” then makes it searchable."
            )

        root.view("empty", types.Notice(label=label, description=text))
        add_jobs(ctx, root, self)
        # In place of the jobs' own timer: jobs and indexes may come from elsewhere at any time
        root.view("timer", types.TimerView(interval=LOOK_MS, on_interval=self.on_look))
        if has_regions:
            root.btn("embed", label="Embed regions", on_click=self.on_embed, variant="contained")

        variant = "outlined" if has_regions else "contained"
        root.btn("segment", label="Segment regions", on_click=self.on_segment, variant=variant)

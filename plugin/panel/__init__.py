"""The panel "Region search": what its page in the browser (plugin/js) calls.

The page keeps what a person typed, marked and selected. Each event gets all that it needs with its
parameters, returns JSON, and writes nothing into the panel's state: that would make the App forget
the filters of its sidebar.
"""

from fiftyone.operators.categories import Categories
from fiftyone.operators.panel import PanelConfig

from ..common.panel_events import SharedEvents
from ..common.panels import PagePanel
from .actions import ActionEvents
from .audits import AuditEvents
from .concepts import ConceptEvents
from .dataset_state import DatasetEvents
from .explaining import ExplainingEvents
from .findings import FindingEvents
from .history import HistoryEvents
from .pictures import PictureEvents
from .results import ResultEvents
from .second_look import SecondLookEvents

HELP = (
    "Finds boxes, masks and polygons by words, by examples or by a picture. A score is the cosine "
    "between the query and the region, from -1 to 1.\n\nKeys, in the gallery: arrows move, `y` and "
    "`n` mark right and wrong, space selects, shift selects a range, `o` opens the picture, Escape "
    "clears the selection.\n\n“Find” lists label errors, duplicates and outliers: `y` takes the "
    "suggestion, `n` keeps a region as it is, a digit gives it another class, `c` one by "
    "its first letters, `u` takes it back. In the list of a concept, `u` takes back "
    "what was dismissed."
)


class RegionSearchPanel(
    ResultEvents,
    ActionEvents,
    AuditEvents,
    ConceptEvents,
    PictureEvents,
    DatasetEvents,
    ExplainingEvents,
    FindingEvents,
    HistoryEvents,
    SecondLookEvents,
    SharedEvents,
    PagePanel,
):
    """Searches the regions of a dataset, and acts on the hits."""

    component = "AlphaClipRegionSearch"

    @property
    def config(self):
        return PanelConfig(
            name="region_search",
            label="Region search",
            help_markdown=HELP,
            category=Categories.CURATE,
            icon="image_search",
            surfaces="grid",
        )

"""The panel "Label regions": what its page in the browser (plugin/js/src/label) calls.

The page keeps what a person typed and answers at once; each event gets all that it needs with its
parameters, as in the panel "Region search".
"""

from fiftyone.operators.categories import Categories
from fiftyone.operators.panel import PanelConfig

from ..common.panel_events import SharedEvents
from ..common.panels import PagePanel
from .classes import ClassEvents
from .report import ReportEvents
from .review import ReviewEvents
from .runs import RunEvents

HELP = (
    "Gives regions a class by words and examples, with a stated precision: name the classes, press "
    "“Label”, review the random sample, and press “Label” again. What can be promised is written, "
    "the rest waits in a queue, and every run can be undone.\n\nKeys, in the review: `y` right, "
    "`n` wrong, `1` to `9` the class that the number stands at, `0` none of these, space skips, "
    "`u` takes back the last answer, arrows move, `o` opens the picture."
)


class LabelRegionsPanel(
    ClassEvents, RunEvents, ReviewEvents, ReportEvents, SharedEvents, PagePanel
):
    """Labels the regions of an index, with a person's reviews."""

    component = "AlphaClipLabelRegions"

    @property
    def config(self):
        return PanelConfig(
            name="label_regions_panel",
            label="Label regions",
            help_markdown=HELP,
            category=Categories.CURATE,
            icon="label",
            surfaces="grid",
        )

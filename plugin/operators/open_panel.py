"""The button that opens the panel "Region search"."""

import fiftyone.operators as foo
import fiftyone.operators.types as types

from ..common.forms import form_button
from ..common.operators import configure


class OpenRegionSearch(foo.Operator):
    """Opens the panel. It has the one button of this plugin above the grid, among those that the
    App keeps there longest when a panel leaves the grid less room."""

    config = configure(
        name="open_region_search",
        label="Region search",
        description="Opens the panel that finds boxes, masks and polygons by text",
        icon="image_search",
        dynamic=False,
        execute_as_generator=False,
        view_target=False,
        risk_level=types.RiskLevel.LOW,
    )

    def resolve_placement(self, ctx):
        return form_button(self.config, types.Places.SAMPLES_GRID_ACTIONS, prompt=False)

    def execute(self, ctx):
        ctx.ops.open_panel("region_search", layout="horizontal")
        return {"panel": "region_search"}

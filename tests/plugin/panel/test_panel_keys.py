"""What the panel tells the component that listens to keys."""

from pathlib import Path

import fiftyone.plugins as fop
import pytest

from alphaclip.indexing import build

from .panel_driver import PANEL, PanelDriver

pytestmark = pytest.mark.usefixtures("plugins_dir")


@pytest.fixture
def panel(drawings):
    build(drawings, "shapes", encoder="alphaclip-nano")
    return PanelDriver(drawings)


def keys(panel):
    return panel.schema["type"]["properties"]["keys"]["view"]


def test_keys__the_app_is_told_of_the_script(plugins_dir):
    plugin = fop.get_plugin("@alphaclip/regions")
    assert plugin.has_js
    assert plugin.js_bundle_server_path == "/plugins/regions/plugin/js/keys.js"
    script = Path(plugin.js_bundle_path).read_text()
    assert '"AlphaClipKeys"' in script


def test_keys__are_there_once_something_was_found(panel):
    assert "keys" not in panel.shown()
    panel.search(query="a circle")
    view = keys(panel)
    assert view["component"] == "AlphaClipKeys"
    assert view["tiles"] == panel.hits
    assert view["search"] == str(int(panel.get("asked.at") * 1000))
    assert (view["page"], view["pages"]) == (0, 1)
    for event in ("on_right", "on_wrong", "on_select", "on_previous", "on_next"):
        assert view[event] == f"{PANEL}#{event}"


def test_keys__know_the_marks(panel):
    panel.search(query="a circle")
    first, second, third, *_ = panel.hits
    panel.do("on_right", id=first)
    panel.do("on_wrong", id=second)
    panel.do("on_select", id=third)
    view = keys(panel)
    assert (view["right"], view["wrong"], view["select"]) == ([first], [second], [third])


def test_keys__pictures_are_not_marked(panel):
    panel.search(query="a circle", mode="pictures")
    view = keys(panel)
    assert view["tiles"] == panel.hits
    assert view["help"] == "keys: arrows move, s select, u undo the last mark, [ ] pages"
    assert "on_right" not in view and "on_wrong" not in view


def test_keys__the_crops_carry_their_ids(panel):
    panel.search(query="a circle", k=3)
    grid = panel.schema["type"]["properties"]["gallery"]["type"]["properties"]
    crops = [tile["type"]["properties"]["crop"]["view"] for tile in grid.values()]
    assert [crop["componentsProps"]["image"]["data-region"] for crop in crops] == panel.hits

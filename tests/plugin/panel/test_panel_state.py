"""No event of the panel writes panel state: the App would forget the filters of its sidebar. Nor is
the panel rendered after one: the App would draw it anew for each answer."""

import pytest

from alphaclip.indexing import build

from .panel_driver import PanelDriver

pytestmark = pytest.mark.usefixtures("plugins_dir")


def events_of(panel):
    return [name for name in dir(type(panel)) if getattr(getattr(type(panel), name), "is_event", 0)]


def test_events__write_no_panel_state_and_render_nothing(drawings):
    build(drawings, "shapes", encoder="alphaclip-nano")
    driver = PanelDriver(drawings)
    driver.search("a red circle")
    hit = driver.tiles()[0]
    params = {
        "question": driver.question, "ranks": [0], "ids": [hit["id"]], "id": hit["id"],
        "sample": hit["sample"], "label": hit["label_id"], "field": hit["field"],
        "keys": ["regions"], "key": "regions", "action": "tag", "value": "seen",
        "name": "circles", "min_score": 0.5,
        "token": f"sample:{hit['sample']}",
    }  # fmt: skip
    worked = set()
    for name in events_of(driver.panel):
        answer = driver.do(name, **params)
        sent = [one["operator_uri"].rpartition("/")[2] for one in driver.requests]
        assert not [one for one in sent if "panel_state" in one or one == "show_panel_output"], name
        if "error" not in answer:
            worked.add(name)
    assert {"search", "tiles", "act", "about", "open_picture", "show_in_grid", "explain"} <= worked

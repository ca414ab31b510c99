"""The panel over frames of videos."""

import base64
import io

import cv2
import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

from alphaclip import indexing

from ..conftest import COLORS
from .panel_driver import PanelDriver

FIELD, BOX = "frames.boxes", [0.25, 0.25, 0.5, 0.5]

pytestmark = pytest.mark.usefixtures("plugins_dir")


@pytest.fixture
def panel(dataset_factory, tmp_path):
    """A video of three frames, with a square in red, green and blue."""
    path = str(tmp_path / "film.avi")
    writer = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*"FFV1"), 5, (64, 48))
    sample = fo.Sample(path)
    for number, (label, color) in enumerate(COLORS.items(), 1):
        pixels = np.full((48, 64, 3), 255, np.uint8)
        pixels[12:36, 16:48] = color[::-1]
        writer.write(pixels)
        found = fo.Detection(label=label, bounding_box=BOX)
        sample.frames[number] = fo.Frame(boxes=fo.Detections(detections=[found]))
    writer.release()
    dataset = dataset_factory()
    dataset.add_sample(sample)
    indexing.build(dataset, FIELD, encoder="alphaclip-nano")
    return PanelDriver(dataset)


def test_panel__frames_are_pictures(panel):
    dataset, sample = panel.dataset, panel.dataset.first()
    ids = [str(sample.frames[number].id) for number in (1, 2, 3)]
    assert panel.do("about")["fields"] == [FIELD]
    assert panel.do("names")["classes"] == sorted(COLORS)

    panel.search(picture={"token": f"sample:{ids[1]}", "box": BOX})
    first, *_ = panel.tiles(64)
    assert (first["label"], first["sample"], first["field"]) == ("green", ids[1], FIELD)
    crop = Image.open(io.BytesIO(base64.b64decode(first["crop"].partition(",")[2])))
    assert np.argmax(crop.convert("RGB").getpixel((32, 32))) == 1

    panel.do("show_in_grid", question=panel.question)
    shown = view_sent(panel)
    assert shown.values("id") == panel.hits
    assert shown.first().frame_number == 2
    panel.view, panel.selected = shown, panel.hits[:2]
    assert panel.do("selected", keys=["regions"]) == {"ids": panel.hits[:2]}
    panel.view = shown.limit(2)
    panel.search("a square", inside=True)
    assert len(panel.hits) == 2

    panel.do("show_in_grid", question=panel.question, as_pictures=True)
    assert view_sent(panel).values("id") == [tile["sample"] for tile in panel.tiles()]

    panel.view, panel.selected = dataset.view(), []
    sent = {"sample": ids[1], "label": first["label_id"], "field": FIELD}
    assert panel.do("open_picture", **sent) == {}
    panel.view = view_sent(panel)
    assert panel.view.values(["sample_id", "support"]) == ([sample.id], [[2, 2]])
    opened = panel.do("open_picture", is_again=True, **sent)
    assert opened == {"id": panel.view.first().id, "field": FIELD, "frame": 2}
    panel.search("a square", inside=True)
    assert panel.hits == [first["label_id"]]
    assert panel.do("open_picture", **(sent | {"sample": ids[2]})) == {}
    assert view_sent(panel).values("support") == [[3, 3]]

    panel.search("a square")
    panel.act("tag", "seen")
    assert dataset.count_label_tags(FIELD) == {"seen": 3}
    assert "to_frames" in panel.act("label", "square", into="found")["error"]
    panel.act("label", "square", where="in_place", overwrite=True)
    assert dataset.count_values(f"{FIELD}.detections.label") == {"square": 3}


def view_sent(panel):
    """The view that the App is told to show."""
    stages = panel.sent("set_view")["view"]
    return fo.DatasetView._build(panel.dataset, stages)

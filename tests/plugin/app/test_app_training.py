"""A fine-tune from the App: the form, the report before and after, and the index that it leaves.

``ALPHACLIP_SCREENSHOTS`` names a folder that gets a picture of each step.
"""

from collections.abc import Iterator

import fiftyone as fo
import pytest
from playwright.sync_api import expect

from alphaclip.indexing import load
from alphaclip.indexing.dataset.samples import load_sample

from . import app_panel
from .app_panel import Panel
from .fiftyone_app import WAIT_MS

server, panel = app_panel.server, app_panel.panel
pytestmark = pytest.mark.app


@pytest.fixture
def scenes() -> Iterator[fo.Dataset]:
    """A few pictures of the sample."""
    dataset = load_sample(name="training-scenes")
    dataset.delete_samples(dataset.skip(20))
    yield dataset
    dataset.delete()


def test_training__ends_with_a_report_and_an_index(panel: Panel, scenes: fo.Dataset) -> None:
    app = panel.app
    app.open(scenes)
    app.choose_operator("Fine-tune on this dataset")
    app.shoot_form("training-form", "Execute")
    app.submit("Execute")
    expect(app.page.get_by_text("On the pictures that were kept out")).to_be_visible(
        timeout=3 * WAIT_MS
    )
    expect(app.page.get_by_text("text to region")).to_be_visible()
    expect(app.page.get_by_text("The first hits for each class")).to_be_visible()
    app.shoot("training-report")
    index = load(scenes, "tuned")
    assert len(index) == scenes.count("objects.detections")
    assert index.info()["encoder"].endswith("last")

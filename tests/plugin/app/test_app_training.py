"""A fine-tune from the App: the form, the report before and after, and the index that it leaves.

``ALPHACLIP_SCREENSHOTS`` names a folder that gets a picture of each step.
"""

import fiftyone as fo
import pytest
from playwright.sync_api import expect

from alphaclip.indexing import load

from .fiftyone_app import WAIT_MS, App

pytestmark = pytest.mark.app


def test_training__ends_with_a_report_and_an_index(app: App, few_scenes: fo.Dataset) -> None:
    app.open(few_scenes)
    app.choose_operator("Fine-tune on this dataset")
    app.shoot_form("training-form", "Execute")
    app.submit("Execute")
    expect(app.page.get_by_text("On the pictures that were kept out")).to_be_visible(
        timeout=3 * WAIT_MS
    )
    expect(app.page.get_by_role("cell", name="text to region")).to_be_visible()
    expect(app.page.get_by_text("The first hits for each class")).to_be_visible()
    app.shoot("training-report")
    index = load(few_scenes, "tuned")
    assert len(index) == few_scenes.count("objects.detections")
    assert index.info()["encoder"].endswith("last")

"""The first run on a folder of photographs without labels, in the App as a person does it.

``ALPHACLIP_SCREENSHOTS`` names a folder that gets a picture of each step.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import fiftyone as fo
import pytest
from playwright.sync_api import Locator, expect

import alphaclip
from alphaclip.cli import main
from alphaclip.encoder.encoder import Encoder
from alphaclip.indexing import build, load
from alphaclip.indexing.dataset.locations import index_keys
from alphaclip.sam.checkpoints import installed_sam_path, installed_sams

from .app_panel import NANO, Panel
from .fiftyone_app import Gate

WEIGHTS = Path(__file__).parents[2] / "sam_vit_nano.safetensors"
OWN_SAM = "sam-drawings"
LIMITS = {"Points a side": "12", "Least stability": "0.8", "Least quality": "0.4"}
"""The small SAM knows drawings only: at the usual limits it finds nothing in photographs."""

ELSEWHERE = "alphaclip-vit-b16-grit1m-mim"
JOB_MS = 300_000
"""A job on a busy machine takes longer than an answer of the App."""

pytestmark = [pytest.mark.app, pytest.mark.shared]


@pytest.fixture
def photos(dataset_factory: Callable, shared_data: Path) -> fo.Dataset:
    """Three photographs without labels."""
    dataset = dataset_factory("photos")
    paths = sorted((shared_data / "data" / "photos").glob("*.jpg"))
    dataset.add_samples([fo.Sample(path) for path in paths])
    return dataset


@pytest.fixture
def own_sam(server: str) -> Iterator[str]:
    """The small SAM, installed under a name of its own as the form says."""
    assert main(["segment", "--install", OWN_SAM, "--file", str(WEIGHTS)]) == 0
    yield OWN_SAM
    installed_sam_path(OWN_SAM).unlink()


def open_first(panel: Panel, dataset: fo.Dataset) -> Locator:
    """Opens the panel on a dataset that has no index; returns what is in it."""
    panel.show(dataset)
    button = panel.content.get_by_role("button", name="Segment regions", exact=True)
    expect(button).to_be_visible()
    return panel.content


def press(content: Locator, label: str) -> None:
    content.get_by_role("button", name=label, exact=True).click()


def fill_segment_form(panel: Panel, content: Locator) -> None:
    app, prompt = panel.app, panel.app.prompt
    press(content, "Segment regions")
    prompt.wait_for()
    expect(prompt.get_by_text("Everything in the picture")).to_be_visible()
    expect(prompt.get_by_text(f"{OWN_SAM}, installed by you")).to_be_visible()
    prompt.get_by_label("More settings").check()
    for label, value in LIMITS.items():
        app.fill(label, value)


def segment(panel: Panel, content: Locator, gate: Gate) -> None:
    """Fills the form in, and watches the job in the panel."""
    app = panel.app
    gate.hold()
    fill_segment_form(panel, content)
    app.shoot_form("first-3-segment-form", "Execute")
    app.submit("Execute")
    expect(content.get_by_text("Segmenting into masks")).to_be_visible()
    expect(content.locator("button").filter(has_text="Stop")).to_be_visible()
    app.take_picture("first-4-segmenting")
    gate.open()


def embed(panel: Panel, content: Locator) -> None:
    app, prompt = panel.app, panel.app.prompt
    press(content, "Embed regions")
    prompt.wait_for()
    expect(prompt.get_by_text("masks (Detections)")).to_be_visible()
    expect(prompt.get_by_text("knows drawings, not photographs").first).to_be_visible()
    app.shoot_form("first-6-embed-form", "Execute")
    app.submit("Execute")


def test_first_run__segment_embed_and_search(
    panel: Panel, photos: fo.Dataset, own_sam: str, gate: Gate
) -> None:
    content = open_first(panel, photos)
    expect(content.get_by_text("Segment regions first")).to_be_visible()
    expect(content.get_by_role("button", name="Embed regions", exact=True)).to_be_hidden()
    panel.app.shoot("first-2-panel")

    segment(panel, content, gate)
    expect(content.get_by_text(re.compile(r"masks? added to masks"))).to_be_visible(timeout=JOB_MS)
    photos.reload()
    masks = photos.values("masks.detections.id")
    count = sum(map(len, masks))
    assert [len(found) > 0 for found in masks] == [True, True, True]
    assert count >= 12
    assert photos.get_field("masks").info["alphaclip"]["model"] == own_sam
    expect(content.get_by_text(f"{count} masks added to masks")).to_be_visible()
    panel.app.take_picture("first-5-segmented")

    expect(content.get_by_text("Embed regions first")).to_be_visible()
    embed(panel, content)
    expect(content.get_by_text(f"regions holds {count} regions")).to_be_visible(timeout=JOB_MS)
    index = load(photos, "regions")
    assert len(index) == count
    assert (index.info()["encoder"], index.info()["field"]) == (NANO, "masks")
    panel.app.take_picture("first-7-embedded")

    panel.search("a dog")
    best = index.search("a dog", k=count)
    tiles = panel.content.locator(".alphaclip-tile[data-id]")
    expect(tiles.nth(min(count, 12) - 1)).to_be_visible()
    ids = tiles.evaluate_all("tiles => tiles.map(tile => tile.dataset.id)")
    assert ids == best.label_ids.tolist()[: len(ids)]
    panel.app.shoot("first-8-gallery")


def test_first_run__stopped_then_goes_on(
    panel: Panel, photos: fo.Dataset, own_sam: str, gate: Gate
) -> None:
    content = open_first(panel, photos)
    fill_segment_form(panel, content)
    gate.hold(after=1)
    panel.app.submit("Execute")
    running = re.compile("Segmenting into masks: 1 of 3 pictures segmented")
    expect(content.get_by_text(running)).to_be_visible()
    press(content, "Stop")
    expect(content.get_by_text("Stopping")).to_be_visible()
    gate.open()
    stopped = content.get_by_text(re.compile("Stopped at [12] of 3 pictures segmented"))
    expect(stopped).to_be_visible()
    photos.reload()
    done = len(photos.exists("masks"))
    assert f"Stopped at {done} of 3" in stopped.inner_text()
    before = photos.values("masks.detections.id", unwind=True)
    assert len(before) > 0
    panel.app.take_picture("first-10-stopped")
    expect(content.get_by_role("button", name="Stop", exact=True)).to_be_hidden()

    fill_segment_form(panel, content)
    panel.app.submit("Execute")
    expect(content.get_by_text(re.compile(r"masks? added to masks"))).to_be_visible(timeout=JOB_MS)
    photos.reload()
    assert len(photos.exists("masks")) == 3
    assert photos.values("masks.detections.id", unwind=True)[: len(before)] == before


def test_first_run__no_sam_offers_a_download(panel: Panel, photos: fo.Dataset) -> None:
    assert installed_sams() == []
    content = open_first(panel, photos)
    press(content, "Segment regions")
    prompt = panel.app.prompt
    prompt.wait_for()
    expect(prompt.get_by_text("It is downloaded first")).to_be_visible()
    expect(prompt.get_by_text("375 MB, once")).to_be_visible()
    expect(prompt.get_by_text("Licence: Apache-2.0")).to_be_visible()
    panel.app.shoot("first-1-no-sam")


def test_first_run__encoder_of_the_index_is_missing(panel: Panel, photos: fo.Dataset) -> None:
    nano = alphaclip.load(NANO, device="cpu")
    encoder = Encoder(nano._model, ELSEWHERE, nano.view, nano.device, nano.dtype)
    box = fo.Detection(label="thing", bounding_box=[0.2, 0.2, 0.5, 0.5])
    photos.set_values("boxes", [fo.Detections(detections=[box.copy()]) for _ in photos])
    build(photos, "boxes", encoder=encoder, key="elsewhere")
    assert index_keys(photos) == ["elsewhere"]
    panel.open(photos)
    panel.content.get_by_label("Search for").fill("a dog")
    panel.page.keyboard.press("Enter")
    for told in (f"{ELSEWHERE} is not installed", f"alphaclip convert FILE --as {ELSEWHERE}"):
        expect(panel.page.get_by_text(told).first).to_be_visible()
    panel.app.shoot("first-9-no-encoder")

"""A region of a frame, opened in its video."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import fiftyone as fo
import numpy as np
import pytest

from alphaclip import indexing

from .app_panel import NANO, Panel

FIELD, FRAMES, RATE, BLUE_FRAME = "frames.boxes", 12, 24, 8

IS_BLUE = """() => {
    const canvas = document.querySelector("[data-cy=modal] canvas[canvas-loaded=true]");
    if (!canvas) return false;
    const middle = new OffscreenCanvas(1, 1).getContext("2d");
    middle.drawImage(canvas, canvas.width / 2, canvas.height / 2, 1, 1, 0, 0, 1, 1);
    const [red, , blue] = middle.getImageData(0, 0, 1, 1).data;
    return blue > red;
}"""
"""Whether the middle of what is drawn in the opened picture is blue."""

pytestmark = pytest.mark.app


@pytest.fixture
def film(tmp_path: Path) -> Iterator[fo.Dataset]:
    """A video of red squares, blue in one frame."""
    path, size = str(tmp_path / "film.webm"), (320, 240)
    writer = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*"VP80"), RATE, size)
    sample = fo.Sample(path)
    for number in range(1, FRAMES + 1):
        name, color = ("blue", (230, 30, 30)) if number == BLUE_FRAME else ("red", (20, 20, 220))
        pixels = np.full((size[1], size[0], 3), 255, np.uint8)
        pixels[60:180, 80:240] = color
        writer.write(pixels)
        found = fo.Detection(label=name, bounding_box=[0.25, 0.25, 0.5, 0.5])
        sample.frames[number] = fo.Frame(boxes=fo.Detections(detections=[found]))
    writer.release()
    about = {"frame_width": size[0], "frame_height": size[1], "total_frame_count": FRAMES}
    sample.metadata = fo.VideoMetadata(**about, frame_rate=RATE, duration=FRAMES / RATE)
    dataset = fo.Dataset("app-film", persistent=True)
    dataset.add_sample(sample)
    indexing.build(dataset, FIELD, encoder=NANO, key="frames")
    yield dataset
    dataset.delete()


def test_videos__a_hit_opens_at_its_frame(panel: Panel, film: fo.Dataset) -> None:
    panel.open(film)
    panel.search("a blue square")
    assert panel.classes(2) == ["blue", "red"]
    panel.tile(1).dblclick()
    panel.page.wait_for_function(IS_BLUE)
    panel.app.take_picture("video-opened")

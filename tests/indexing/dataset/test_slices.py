"""Grouped datasets, searched and embedded by slice; frames of a video, as pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from alphaclip import Region, indexing
from alphaclip.errors import AlphaClipError

if TYPE_CHECKING:
    import fiftyone as fo

    from alphaclip.encoder.encoder import Encoder

FRAMES, HEIGHT, WIDTH = 3, 48, 64
COLORS = ((220, 20, 20), (20, 160, 20), (30, 30, 220))
BOX = (0.25, 0.25, 0.5, 0.5)


@pytest.fixture
def grouped(dataset_factory: Callable, tmp_path: Path) -> fo.Dataset:
    """Three groups: "left" has one box in each picture, "right" two; "left" is active."""
    import fiftyone as fo

    dataset = dataset_factory("grouped")
    dataset.add_group_field("group", default="left")
    for number in range(3):
        group = fo.Group()
        for side, boxes in (("left", [BOX]), ("right", [BOX, (0, 0, 0.3, 0.3)])):
            path = tmp_path / f"{side}-{number}.png"
            Image.fromarray(draw(number)).save(path)
            found = [fo.Detection(label=side, bounding_box=list(box)) for box in boxes]
            sample = fo.Sample(path, group=group.element(side))
            sample["boxes"] = fo.Detections(detections=found)
            dataset.add_sample(sample)
    return dataset


@pytest.fixture
def videos(dataset_factory: Callable, tmp_path: Path) -> fo.Dataset:
    """A video of three frames with a box in each.

    Its frames lie where FiftyOne samples them to, because sampling needs ffmpeg, which may not be
    here; what is there already is not sampled again.
    """
    import fiftyone as fo

    path = tmp_path / "film.avi"
    write_video(path)
    metadata = fo.VideoMetadata(total_frame_count=FRAMES, frame_rate=5)
    sample = fo.Sample(path, metadata=metadata)
    for number in range(1, FRAMES + 1):
        box = fo.Detection(label=f"frame {number}", bounding_box=list(BOX))
        sample.frames[number] = fo.Frame(boxes=fo.Detections(detections=[box]))
    dataset = dataset_factory("videos")
    dataset.add_sample(sample)
    return dataset


@pytest.fixture
def frames(videos: fo.Dataset) -> Iterator[fo.Dataset]:
    """The frames of the video as a dataset of pictures."""
    dataset = videos.to_frames(sample_frames=True).clone()
    yield dataset
    dataset.delete()


def draw(number: int) -> np.ndarray:
    pixels = np.full((HEIGHT, WIDTH, 3), 240, np.uint8)
    pixels[HEIGHT // 4 : 3 * HEIGHT // 4, WIDTH // 4 : 3 * WIDTH // 4] = COLORS[number]
    return pixels


def write_video(path: Path) -> None:
    """Writes a video, reads it again, and writes its frames into a folder beside it."""
    import cv2

    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 5, (WIDTH, HEIGHT))
    for number in range(FRAMES):
        writer.write(draw(number)[..., ::-1])
    writer.release()
    path.with_suffix("").mkdir()
    reader = cv2.VideoCapture(str(path))
    for number in range(1, FRAMES + 1):
        is_read, pixels = reader.read()
        assert is_read
        cv2.imwrite(str(path.with_suffix("") / f"{number:06d}.jpg"), pixels)
    reader.release()


def ids_of(samples: fo.SampleCollection) -> list[str]:
    return samples.values("boxes.detections.id", unwind=True)


def test_build__active_slice_of_a_grouped_dataset(grouped: fo.Dataset, encoder: Encoder) -> None:
    index = indexing.build(grouped, "boxes", encoder)
    left = ids_of(grouped.select_group_slices("left"))
    assert len(index) == len(left) == 3
    assert sorted(index.search("a red square", k=10).label_ids) == sorted(left)


def test_build__a_slice_that_is_named(grouped: fo.Dataset, encoder: Encoder) -> None:
    index = indexing.build(grouped.select_group_slices("right"), "boxes", encoder, key="right")
    right = ids_of(grouped.select_group_slices("right"))
    assert len(index) == len(right) == 6
    hits = index.search("a red square", k=10)
    assert sorted(hits.label_ids) == sorted(right)
    assert hits.view().values("id") == hits.label_ids.tolist()
    assert index.freshness().is_fresh
    grouped.group_slice = "left"
    assert index.update().regions == 6


def test_build__every_slice(grouped: fo.Dataset, encoder: Encoder) -> None:
    both = grouped.select_group_slices(["left", "right"])
    index = indexing.build(both, "boxes", encoder)
    assert len(index) == 9
    for side, count in (("left", 3), ("right", 6)):
        view = grouped.select_group_slices(side)
        hits = index.search("a red square", k=10, view=view)
        assert sorted(hits.label_ids) == sorted(ids_of(view))
        assert len(hits) == count


def test_search__groups_in_a_view(grouped: fo.Dataset, encoder: Encoder) -> None:
    index = indexing.build(grouped.select_group_slices("right"), "boxes", encoder)
    assert len(index.search("a red square", view=grouped.limit(1))) == 2
    assert len(index.search("a red square", view=grouped.select_group_slices("left"))) == 0


def test_build__frames_of_a_video(frames: fo.Dataset, encoder: Encoder) -> None:
    assert [Path(path).name for path in frames.values("filepath")] == [
        "000001.jpg", "000002.jpg", "000003.jpg",
    ]  # fmt: skip
    index = indexing.build(frames, "boxes", encoder)
    assert len(index) == FRAMES
    assert index.info()["report"]["skipped"] == []
    for number, label_id in enumerate(ids_of(frames)):
        hits = index.search((draw(number), Region.from_box(BOX)), k=FRAMES)
        assert hits.label_ids[0] == label_id
        assert hits.scores[0] > 0.9
    hits = index.search("a red square", k=1)
    assert frames[hits.sample_ids[0]].frame_number == 1


def test_build__video_says_how(videos: fo.Dataset, encoder: Encoder) -> None:
    with pytest.raises(AlphaClipError, match="to_frames"):
        indexing.build(videos, "boxes", encoder)


def test_build__frames_view_says_how(videos: fo.Dataset, encoder: Encoder) -> None:
    with pytest.raises(AlphaClipError, match="clone"):
        indexing.build(videos.to_frames(sample_frames=True), "boxes", encoder)

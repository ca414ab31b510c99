"""Frames of a video, as pictures."""

from __future__ import annotations

from pathlib import Path
from random import Random

import cv2
import numpy as np
import pytest

from alphaclip.errors import ImageError
from alphaclip.regions import videos
from alphaclip.regions.images import open_image
from alphaclip.regions.videos import frame_address, is_frame, split_address

FRAMES = 40


def write_video(path: Path, levels: range, codec: str = "mp4v") -> Path:
    """A video of grey frames; codecs move their levels a little."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), 10, (32, 24))
    for level in levels:
        writer.write(np.full((24, 32, 3), level, np.uint8))
    writer.release()
    return path


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Frames of the levels 0, 6, 12, ..., of which one in twelve is a key frame."""
    return write_video(tmp_path / "film.mp4", range(0, 6 * FRAMES, 6))


def frame(video: Path, number: int) -> np.ndarray:
    return open_image(frame_address(str(video), number))


def decoded(video: Path) -> list[np.ndarray]:
    """All frames, RGB, as OpenCV gives them one after the other."""
    reader, frames = cv2.VideoCapture(str(video)), []
    while True:
        is_there, pixels = reader.read()
        if not is_there:
            return frames
        frames.append(pixels[..., ::-1])


def test_address() -> None:
    assert frame_address("a/b.mp4", 3) == "a/b.mp4#frame=3"
    assert split_address("a/b.mp4#frame=3") == ("a/b.mp4", 3)
    assert split_address("a/#3.png") == ("a/#3.png", None)
    assert is_frame("s3://a/b.mp4#frame=12")
    assert not is_frame("b.mp4#frame=")
    assert not is_frame(Path("b.mp4"))


@pytest.mark.parametrize("order", ["forwards", "backwards", "any"])
def test_frames__in_any_order(video: Path, order: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(videos, "JUMP", 3)
    monkeypatch.setattr(videos, "BEHIND", 2 * 24 * 32 * 3)
    numbers = list(range(1, FRAMES + 1))
    if order == "backwards":
        numbers.reverse()
    if order == "any":
        Random(0).shuffle(numbers)
    there = decoded(video)
    assert len(there) == len({pixels.tobytes() for pixels in there}) == FRAMES
    for number in numbers:
        assert np.array_equal(frame(video, number), there[number - 1])


def test_frames__of_a_codec_without_loss(tmp_path: Path) -> None:
    path = tmp_path / "noise.avi"
    noise = np.random.default_rng(0).integers(0, 256, (3, 24, 32, 3), np.uint8)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"FFV1"), 10, (32, 24))
    for pixels in noise:
        writer.write(pixels)
    writer.release()
    there = decoded(path)
    for number in (1, 2, 3):
        assert np.array_equal(frame(path, number), there[number - 1])


def test_frames__of_more_videos_than_are_open(tmp_path: Path) -> None:
    paths = [write_video(tmp_path / f"{i}.mp4", range(60 * i, 60 * i + 12, 6)) for i in range(4)]
    there = [decoded(path) for path in paths]
    for number in (1, 2, 1):
        for path, frames in zip(paths, there, strict=True):
            assert np.array_equal(frame(path, number), frames[number - 1])


def test_frames__of_a_video_that_is_written_again(video: Path) -> None:
    before = frame(video, 3)
    write_video(video, range(120, 160))
    assert np.array_equal(frame(video, 3), decoded(video)[2])
    assert not np.array_equal(frame(video, 3), before)


def test_frame__behind_the_end(video: Path) -> None:
    for number in (FRAMES + 1, 10**6):
        with pytest.raises(ImageError, match=rf"#frame={number}: the video ends.*frame {FRAMES}"):
            frame(video, number)
    assert np.array_equal(frame(video, FRAMES), decoded(video)[-1])


def test_frame__that_cannot_be_had(video: Path) -> None:
    with pytest.raises(ImageError, match="no such file"):
        frame(video.with_name("other.mp4"), 1)
    video.write_bytes(b"no video")
    with pytest.raises(ImageError, match="to_frames"):
        frame(video, 1)
    with pytest.raises(ImageError, match="mount"):
        open_image("s3://bucket/film.mp4#frame=1")

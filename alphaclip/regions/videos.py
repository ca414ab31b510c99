"""Frames of videos as pictures, decoded when they are asked for: none is written to disk.

A frame has an address, ``film.mp4#frame=12``, which is used as the path of a picture is. Frames are
numbered from 1, as FiftyOne does.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

OPEN = 2
"""Videos that are held open: who embeds goes through one after the other."""

BEHIND = 128 << 20
"""Bytes of the frames of a video that were decoded last: threads ask for them a little out of
order, and no decoder goes back but by starting at a key frame."""

JUMP = 300
"""Frames ahead to which it is quicker to jump than to decode all before: key frames are some 250
apart."""

_ADDRESS = re.compile(r"(.+)#frame=(\d+)", re.DOTALL)


class VideoError(OSError):
    """A frame cannot be had; says why, and names no file."""


def frame_address(video: str, number: int) -> str:
    """The address of a frame, from 1."""
    return f"{video}#frame={number}"


def split_address(path: str) -> tuple[str, int | None]:
    """The file of a picture's path, and the number of the frame where it is a frame's address."""
    match = _ADDRESS.fullmatch(path)
    return (path, None) if match is None else (match[1], int(match[2]))


def is_frame(path: object) -> bool:
    """Whether a path is the address of a frame."""
    return isinstance(path, str) and _ADDRESS.fullmatch(path) is not None


def read_frame(address: str) -> np.ndarray:
    """Decodes a frame: uint8 (H, W, 3) RGB, upright.

    It is quick where frames of a video are asked for in order.

    Raises:
        FileNotFoundError: if the video is missing
        VideoError: if it cannot be decoded, or ends before
    """
    path, number = split_address(address)
    return _films.of(path).read(number or 1)


class _Film:
    """A video, open; safe to use from several threads."""

    def __init__(self, path: str) -> None:
        self._path, self._lock = path, Lock()
        self._decoded: OrderedDict[int, np.ndarray] = OrderedDict()
        self._open()

    def read(self, number: int) -> np.ndarray:
        with self._lock:
            if number not in self._decoded:
                if not self._next <= number <= self._next + JUMP:
                    self._jump(number)
                while self._next <= number:
                    self._decode()
            return self._decoded[number]

    def _open(self) -> None:
        try:
            import cv2
        except ImportError as error:
            raise VideoError(
                f"{error}: frames of videos need OpenCV: pip install opencv-python-headless"
            ) from error
        self._cv2: Any = cv2
        self._capture, self._next = cv2.VideoCapture(self._path), 1
        if not self._capture.isOpened():
            raise VideoError(
                "OpenCV cannot decode this video: convert it to H.264, or sample its frames by "
                "dataset.to_frames(sample_frames=True)"
            )

    def _jump(self, number: int) -> None:
        """Goes to a frame, or where the video does not say where its frames are, to the first."""
        at = self._cv2.CAP_PROP_POS_FRAMES
        self._capture.set(at, number - 1)
        self._next = round(self._capture.get(at)) + 1
        if self._next != number:
            self._open()

    def _decode(self) -> None:
        is_there, pixels = self._capture.read()
        if not is_there:
            raise VideoError(f"the video ends, or is damaged, behind frame {self._next - 1}")
        self._decoded[self._next] = self._cv2.cvtColor(pixels, self._cv2.COLOR_BGR2RGB)
        self._next += 1
        while len(self._decoded) > 1 and len(self._decoded) * pixels.nbytes > BEHIND:
            self._decoded.popitem(last=False)


class _Films:
    """Videos that are open; the one that was used longest ago is closed first."""

    def __init__(self) -> None:
        self._films: OrderedDict[tuple[str, int, int], _Film] = OrderedDict()
        self._lock = Lock()

    def of(self, path: str) -> _Film:
        """A video as it is now: one that was written again is opened again."""
        if "://" in path:
            raise VideoError(
                "videos are decoded from files of this machine: mount the store, or sample the "
                "frames by dataset.to_frames(sample_frames=True)"
            )
        status = Path(path).stat()
        key = path, status.st_size, status.st_mtime_ns
        with self._lock:
            if key not in self._films:
                self._films[key] = _Film(path)
            self._films.move_to_end(key)
            while len(self._films) > OPEN:
                self._films.popitem(last=False)
            return self._films[key]


_films = _Films()

"""Requests to stop, which a run heeds between two steps."""

from __future__ import annotations

import logging
import signal
import threading
import time
from types import FrameType
from typing import Any

logger = logging.getLogger(__name__)

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_PAUSE = 2.0


class StopRequest:
    """Catches Ctrl-C and SIGTERM while it is entered; one that comes later again acts at once.

    ``torchrun`` passes on a Ctrl-C that its processes have got from the terminal as well: what
    comes within `_PAUSE` seconds is the same request.

    Outside the main thread, where Python catches no signals, nothing is changed.

    Attributes:
        asked: whether the run is to stop
    """

    def __init__(self) -> None:
        self.asked = False
        self._first = 0.0
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._ask) for number in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if not self.asked:
            logger.warning("stopping after this step; again stops at once, and loses some steps")
            self.asked, self._first = True, time.monotonic()
        elif time.monotonic() - self._first > _PAUSE:
            self.__exit__()
            signal.raise_signal(number)

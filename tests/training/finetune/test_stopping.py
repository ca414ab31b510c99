"""Requests to stop: the first is kept for the end of a step, a later one acts."""

import signal
import threading
from collections.abc import Iterator

import pytest

from alphaclip.training.finetune import processes
from alphaclip.training.finetune.processes import StopRequest


@pytest.fixture
def python_heeds_ctrl_c() -> Iterator[None]:
    """As in a terminal; a shell starts what it runs in the background with Ctrl-C ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_request__is_noted_and_handlers_come_back(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with StopRequest() as stop:
        assert not stop.requested
        signal.raise_signal(number)
        assert stop.requested
        signal.raise_signal(number)
    assert signal.getsignal(number) is before


def test_request__a_later_one_acts_at_once(
    monkeypatch: pytest.MonkeyPatch, python_heeds_ctrl_c: None
) -> None:
    monkeypatch.setattr(processes, "_PAUSE", -1.0)
    with StopRequest():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_request__in_another_thread_nothing_is_caught() -> None:
    before, seen = signal.getsignal(signal.SIGTERM), []

    def work() -> None:
        with StopRequest():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]

"""How far a job is, for whoever wants to know."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

Progress = Callable[[str, int, int], None]
"""Called with what is counted, as "regions embedded", how many are done, and how many there are."""


@contextmanager
def shown(progress: Progress | None) -> Iterator[Progress]:
    """The given progress; without one, bars in the terminal, one for each thing counted."""
    if progress is not None:
        yield progress
        return
    bars: dict[str, tqdm] = {}

    def show(what: str, done: int, total: int) -> None:
        if what not in bars:
            close()
            bars[what] = tqdm(total=total, desc=what, unit="")
        bars[what].update(done - bars[what].n)

    def close() -> None:
        for bar in bars.values():
            bar.close()

    try:
        yield show
    finally:
        close()

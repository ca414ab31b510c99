"""How far a job is, for whoever wants to know."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

from alphaclip.errors import AlphaClipError

Progress = Callable[[str, int, int], None]
"""Called with what is counted, as "regions embedded", how many are done, and how many there are."""


@contextmanager
def shown(progress: Progress | bool | None) -> Iterator[Progress]:
    """The given progress; without one, bars in the terminal, one for each thing counted.

    True and False, as FiftyOne takes them, are bars and nothing.
    """
    if progress is False:
        yield lambda *counts: None
        return
    if progress is not None and progress is not True:
        if not callable(progress):
            raise AlphaClipError(
                f"progress is {progress!r:.80}: expected a function of what is counted, how many "
                "are done and how many there are; or True or False"
            )
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

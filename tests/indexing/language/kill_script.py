"""Describes the regions of a dataset again and again; each process is killed at another moment.

A plain script: forks of it are killed, and a test must not be. They share what takes seconds to
import.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from itertools import count
from typing import Any

import fiftyone as fo
from fiftyone.core.odm.database import _disconnect

from alphaclip import indexing
from alphaclip.indexing.act import attribute_writes
from alphaclip.indexing.dataset.records import Records
from alphaclip.indexing.retrieval import region_answers, stored_answers
from tests.indexing.language.fakes import FakeDescriber


def describe(name: str, moment: int) -> None:
    """Describes all regions, and is killed at the nth thing that is written or said."""
    _disconnect()  # as FiftyOne's own forks: clients of the database are not to be shared
    moments = count()

    def note() -> None:
        if next(moments) == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    def noted(function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            note()
            result = function(*args, **kwargs)
            note()
            return result

        return run

    region_answers.PART = 2
    for owner, function in (
        (stored_answers, "write_checked"),
        (Records, "set"),
        (attribute_writes, "write_labels"),
        (FakeDescriber, "_tell"),
    ):
        setattr(owner, function, noted(getattr(owner, function)))
    index = indexing.load(fo.load_dataset(name), "regions")
    index.describe(model=FakeDescriber("painted"), progress=lambda *counts: None)


def main(name: str, moments: list[int]) -> None:
    """Says how many of the processes were killed."""
    killed = 0
    for moment in moments:
        process = os.fork()
        if not process:
            describe(name, moment)
            os._exit(0)
        _, status = os.waitpid(process, 0)
        killed += os.WIFSIGNALED(status)
    sys.stdout.write(f"{killed}\n")


if __name__ == "__main__":
    main(sys.argv[1], [int(number) for number in sys.argv[2:]])

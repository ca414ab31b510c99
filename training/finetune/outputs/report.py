"""What a fine-tuning run came to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from alphaclip.files import write_text

REPORT = "report.json"


@dataclass(frozen=True)
class FinetuneReport:
    """A run, after its last step or where it was stopped.

    Attributes:
        output: the run's folder
        steps: that it has in all
        done: steps that are done
        first: step that this part of the run began with; 0 if it was not interrupted before
        pairs: that it trains on
        samples_per_second: of this part, over all processes
        waiting: share of this part's time, in [0, 1], in which there was no batch to work on
        before: figures of the model before training; empty if nothing was measured
        after: figures of the last measurement
        best: highest value of the figure that picks the best checkpoint
        best_step: steps done when it was reached
        replaced: pairs that could not be read in training, and in whose place others were
        left_out: shards and pictures that are not in use, a line each
        details: the first pairs that were replaced in this part, a line each
    """

    output: Path
    steps: int
    done: int
    first: int
    pairs: int
    samples_per_second: float
    waiting: float
    before: Mapping[str, float]
    after: Mapping[str, float]
    best: float | None
    best_step: int
    replaced: int
    left_out: tuple[str, ...] = ()
    details: tuple[str, ...] = ()

    @property
    def finished(self) -> bool:
        """Whether all steps are done."""
        return self.done == self.steps

    def write(self) -> None:
        """Writes ``report.json`` into the run's folder."""
        content = asdict(self) | {"output": str(self.output)}
        write_text(self.output / REPORT, json.dumps(content, indent=1) + "\n")

    def lines(self) -> list[str]:
        """What a person should know, a line each."""
        found = [
            f"{self.done} of {self.steps} steps on {self.pairs} pairs, "
            f"{self.samples_per_second:.1f} samples/s, {self.waiting:.0%} of the time waiting for "
            "data"
        ]
        for name, value in self.after.items():
            start = f"{self.before[name]:.2f} before, " if name in self.before else ""
            found.append(f"{name}: {start}{value:.2f} after {self.done} steps")
        if self.best is not None:
            found.append(f"best after {self.best_step} steps: {self.best:.2f}")
        if self.replaced or self.left_out:
            found.append(
                f"{self.replaced} pairs could not be read and others took their places; "
                f"{len(self.left_out)} shards or pictures were left out ({REPORT} names them)"
            )
        return found

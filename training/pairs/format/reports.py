"""What came of making pairs: counts, what was left out and why, and the sums of the shards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alphaclip.training.pairs.format.records import Skipped

PLAN, INDEX = "plan.json", "index.json"
"""Of a set: how it is made, written first; and what it holds, written last."""

LISTED = 100
"""Of each reason so many details are kept: enough to look into, and a million failures fit."""


@dataclass
class Tally:
    """How much was left out, by reason, and the first details of each.

    Attributes:
        counts: by reason
        details: by reason, at most :data:`LISTED`
    """

    counts: dict[str, int] = field(default_factory=dict)
    details: dict[str, list[str]] = field(default_factory=dict)

    def add(self, skipped: Skipped) -> None:
        """Counts one thing."""
        self._add(skipped.reason, 1, [skipped.detail])

    @classmethod
    def merged(cls, tallies: Iterable[Tally]) -> Tally:
        """What several tallies counted, in their order."""
        merged = cls()
        for tally in tallies:
            for reason, count in tally.counts.items():
                merged._add(reason, count, tally.details.get(reason, []))
        return merged

    @property
    def total(self) -> int:
        """All reasons together."""
        return sum(self.counts.values())

    def __str__(self) -> str:
        return ", ".join(f"{count} {reason}" for reason, count in sorted(self.counts.items()))

    def to_dict(self) -> dict[str, Any]:
        """As JSON, the reasons in order of name."""
        return {
            "counts": dict(sorted(self.counts.items())),
            "details": dict(sorted(self.details.items())),
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Tally:
        """Reads :meth:`to_dict`."""
        counts = {str(reason): int(count) for reason, count in content["counts"].items()}
        details = {str(name): list(map(str, lines)) for name, lines in content["details"].items()}
        return cls(counts, details)

    def _add(self, reason: str, count: int, details: Iterable[str]) -> None:
        self.counts[reason] = self.counts.get(reason, 0) + count
        listed = self.details.setdefault(reason, [])
        listed += list(details)[: LISTED - len(listed)]


@dataclass(frozen=True)
class ShardReport:
    """A finished shard.

    Attributes:
        name: of the tar
        sha256: of the tar
        size: of the tar, in bytes
        start: place of the first item
        stop: place after the last item
        pictures: that are in it
        regions: of its pictures; each is one pair
        texts: of its regions
        skipped: items that are not in it
        left_out: regions and texts that are not in it
    """

    name: str
    sha256: str
    size: int
    start: int
    stop: int
    pictures: int
    regions: int
    texts: int
    skipped: Tally
    left_out: Tally

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        tallies = {"skipped": self.skipped.to_dict(), "left_out": self.left_out.to_dict()}
        return {**vars(self), **tallies}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> ShardReport:
        """Reads :meth:`to_dict`."""
        whole = ("size", "start", "stop", "pictures", "regions", "texts")
        values: dict[str, Any] = {name: int(content[name]) for name in whole}
        values |= {name: str(content[name]) for name in ("name", "sha256")}
        values |= {name: Tally.from_dict(content[name]) for name in ("skipped", "left_out")}
        return cls(**values)


@dataclass(frozen=True)
class PairsReport:
    """A finished set.

    Attributes:
        folder: where it is
        items: that there were
        shards: in order
        done_before: how many of the shards were there already
    """

    folder: Path
    items: int
    shards: tuple[ShardReport, ...]
    done_before: int = 0

    @property
    def pictures(self) -> int:
        """Pictures in the set."""
        return sum(shard.pictures for shard in self.shards)

    @property
    def regions(self) -> int:
        """Regions in the set; each is one pair."""
        return sum(shard.regions for shard in self.shards)

    @property
    def texts(self) -> int:
        """Texts in the set."""
        return sum(shard.texts for shard in self.shards)

    @property
    def skipped(self) -> Tally:
        """Items that are not in the set."""
        return Tally.merged(shard.skipped for shard in self.shards)

    @property
    def left_out(self) -> Tally:
        """Regions and texts that are not in the set."""
        return Tally.merged(shard.left_out for shard in self.shards)

    def lines(self) -> list[str]:
        """What a person wants to know, a line each."""
        lines = [
            f"{self.folder}: {self.regions} regions with {self.texts} texts in {self.pictures} "
            f"pictures, {len(self.shards)} shards ({self.done_before} were there before)"
        ]
        for what, tally in (("items", self.skipped), ("regions and texts", self.left_out)):
            if tally.total:
                lines.append(f"{what} left out: {tally}")
        return lines

    def to_dict(self) -> dict[str, Any]:
        """As JSON, without the folder and what was there before."""
        return {
            "items": self.items,
            "pictures": self.pictures,
            "regions": self.regions,
            "texts": self.texts,
            "skipped": self.skipped.to_dict(),
            "left_out": self.left_out.to_dict(),
            "shards": [{name: getattr(shard, name) for name in _IN_INDEX} for shard in self.shards],
        }


_IN_INDEX = ("name", "sha256", "size", "pictures", "regions")
"""What the index repeats of a shard, enough to see that it is there whole."""

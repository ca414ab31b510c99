"""The comparison as Markdown."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from alphaclip.training.evaluation.report.statistics import (
    CONFIDENCE,
    LEAST_PICTURES,
    RESAMPLES,
    SEED,
    Interval,
)
from alphaclip.training.evaluation.report.tables import Line, Table

_SHOWN_SKIPPED = 5
_OWN = ("fingerprint", "shown")
"""Settings that differ between encoders: they are in the JSON file."""


def to_markdown(tables: Sequence[Table], plots: Mapping[str, Sequence[Path]], folder: Path) -> str:
    """A page with every table.

    Args:
        tables: in order
        plots: by the tables' names
        folder: where the page is to lie; plots are named from there
    """
    parts = ["# Evaluation", _how()]
    for table in tables:
        parts += [f"## {_title(table)}", _sentence(table), _main(table)]
        parts += _groups(table)
        parts += [f"![{path.stem}]({_from(folder, path)})" for path in plots.get(table.name, ())]
        parts += [*_published(table), *_settings(table), *_skipped(table)]
    return "\n\n".join(parts) + "\n"


def _how() -> str:
    return (
        f"In brackets: {CONFIDENCE:.0%} intervals by the bootstrap over pictures ({RESAMPLES:,} "
        f"resamples, seed {SEED}), none for fewer than {LEAST_PICTURES} pictures. A difference is "
        "to the first encoder, on the same draws; it is bold where its interval leaves out 0. A "
        "published figure stands beside ours only where system, set and protocol are the same."
    )


def _title(table: Table) -> str:
    return f"{table.task}: {table.set}" + (f", {table.setting}" if table.setting else "")


def _sentence(table: Table) -> str:
    own = table.lines[0].own
    judged = f"{own.rows:,} rows of {own.pictures:,} pictures; " if own.rows else ""
    limit = table.lines[0].outcome.settings.get("limit")
    part = "" if limit is None else f" Only the first {limit} of the set were judged."
    return f"{judged}the metric that is compared is {table.primary}.{part}"


def _main(table: Table) -> str:
    others = [name for name in _metrics(table) if name != table.primary]
    kept = [name for name in others if not _is_of_group(name, table)]
    head = ["encoder", table.primary, "difference", *kept, "published"]
    rows = [
        [
            f"`{line.outcome.encoder}`",
            _spell(line.own),
            _difference(line),
            *(_number(line.outcome.metrics.get(name)) for name in kept),
            "" if line.published is None else f"{line.published.value:g}",
        ]
        for line in table.lines
    ]
    return _grid(head, rows)


def _groups(table: Table) -> list[str]:
    if not table.groups:
        return []
    head = ["encoder", *(f"{table.primary} {name}" for name in table.groups)]
    rows = [
        [
            f"`{line.outcome.encoder}`",
            *(_spell(line.groups[name]) if name in line.groups else "" for name in table.groups),
        ]
        for line in table.lines
    ]
    counts = table.lines[0].groups
    sizes = ", ".join(f"{name} {counts[name].rows:,}" for name in table.groups if name in counts)
    return [f"By part of the set (rows: {sizes}):", _grid(head, rows)]


def _published(table: Table) -> list[str]:
    if not table.published:
        return []
    rows = [
        [figure.system, figure.setting or "", figure.metric, f"{figure.value:g}", figure.source]
        for figure in table.published
    ]
    grid = _grid(["system", "setting", "metric", "published", "source"], rows)
    return [f"<details><summary>Published on this set</summary>\n\n{grid}\n\n</details>"]


def _settings(table: Table) -> list[str]:
    settings = table.lines[0].outcome.settings
    shared = {key: value for key, value in settings.items() if key not in _OWN}
    lines = [f"- {key}: {_short(value)}" for key, value in shared.items()]
    text = "\n".join(lines)
    return [f"<details><summary>Settings</summary>\n\n{text}\n\n</details>"] if lines else []


def _skipped(table: Table) -> list[str]:
    parts = []
    for line in table.lines:
        lines = line.outcome.skipped
        if lines:
            more = len(lines) - _SHOWN_SKIPPED
            shown = [f"- {text}" for text in lines[:_SHOWN_SKIPPED]]
            shown += [f"- and {more} more, in report.json"] if more > 0 else []
            head = f"`{line.outcome.encoder}`: {len(lines)} left out"
            parts.append("\n".join([head, "", *shown]))
    return parts


def _metrics(table: Table) -> list[str]:
    return list(dict.fromkeys(name for line in table.lines for name in line.outcome.metrics))


def _is_of_group(name: str, table: Table) -> bool:
    return any(name.endswith(f" {group}") for group in table.groups)


def _spell(found: Interval) -> str:
    if math.isnan(found.low):
        return _number(found.value)
    return f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"


def _difference(line: Line) -> str:
    found = line.difference
    if found is None:
        return ""
    if math.isnan(found.low):
        return f"{found.value:+.2f}"
    text = f"{found.value:+.2f} [{found.low:+.2f}, {found.high:+.2f}]"
    return f"**{text}**" if found.low > 0 or found.high < 0 else text


def _number(value: float | None) -> str:
    if value is None or math.isnan(value):
        return "-"
    return f"{value:,.0f}" if value == round(value) and value > 100 else f"{value:.2f}"


def _short(value: object) -> str:
    if isinstance(value, (list, tuple)) and len(value) > 3:
        return f"{len(value)}, the first is {value[0]!r}"
    return f"{value}"


def _from(folder: Path, path: Path) -> str:
    return os.path.relpath(path, folder).replace(os.sep, "/")


def _grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in lines
    )

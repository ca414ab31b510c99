"""What several encoders reached, side by side: JSON, Markdown tables and plots."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from alphaclip.files import write_text
from alphaclip.training.datasets.examples import RegionSet
from alphaclip.training.evaluation.outcomes import Outcome, to_json
from alphaclip.training.evaluation.report.names import code, markdown
from alphaclip.training.evaluation.report.page import write_eval_page
from alphaclip.training.evaluation.report.plots import draw_table
from alphaclip.training.evaluation.report.statistics import (
    CONFIDENCE,
    LEAST_PICTURES,
    RESAMPLES,
    SEED,
    Interval,
)
from alphaclip.training.evaluation.report.tables import (
    Line,
    Table,
    make_tables,
    spell_interval,
    spell_number,
)

_MOST_SKIPPED = 5
"""Lines of what was left out that the page shows: the rest is in the JSON file."""

_OWN = ("fingerprint", "shown")
"""Settings that differ between encoders: they are in the JSON file."""


def write_report(
    folder: Path,
    outcomes: Sequence[Outcome],
    html: Path | None = None,
    sets: Sequence[RegionSet] | None = None,
) -> list[Path]:
    """Writes ``report.json``, ``report.md`` and ``plots/*.png``, and returns their paths; the same
    outcomes, see :func:`make_tables`, give the same bytes.

    Args:
        folder: for the files
        outcomes: what is compared
        html (None): a file for the plots and the mistaken crops as one page, too
        sets (None): what was judged, for the crops; None if that is not at hand
    """
    tables = make_tables(outcomes)
    plots = {table.name: draw_table(table, folder / "plots") for table in tables}
    content = to_json(list(map(_to_dict, tables)))
    listing, page = folder / "report.json", folder / "report.md"
    write_text(listing, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    write_text(page, _to_markdown(tables, plots, folder))
    pages = [] if html is None else [write_eval_page(html, tables, plots, sets)]
    return [listing, page, *(path for paths in plots.values() for path in paths), *pages]


def _to_dict(table: Table) -> dict[str, Any]:
    return {
        "task": table.task,
        "set": table.set,
        "setting": table.setting,
        "metric": table.primary,
        "encoders": [_line_to_dict(line) for line in table.lines],
        "published": [asdict(figure) for figure in table.published],
    }


def _line_to_dict(line: Line) -> dict[str, Any]:
    outcome = line.outcome
    return {
        "encoder": outcome.encoder,
        **_rounded(line.own),
        "difference": None if line.difference is None else _rounded(line.difference),
        "groups": {name: _rounded(figure) for name, figure in line.groups.items()},
        "metrics": {name: round(value, 4) for name, value in outcome.metrics.items()},
        "published": None if line.published is None else line.published.value,
        "settings": dict(outcome.settings),
        "skipped": list(outcome.skipped),
    }


def _rounded(figure: Interval) -> dict[str, Any]:
    return {
        name: round(value, 4) if isinstance(value, float) else value
        for name, value in asdict(figure).items()
    }


def _to_markdown(tables: Sequence[Table], plots: Mapping[str, Sequence[Path]], folder: Path) -> str:
    """A page with every table; plots are by the tables' names, and named from the folder."""
    parts = [
        "# Evaluation",
        f"In brackets: {CONFIDENCE:.0%} intervals by the bootstrap over pictures ({RESAMPLES:,} "
        f"resamples, seed {SEED}), none for fewer than {LEAST_PICTURES} pictures. A difference is "
        "to the first encoder, on the same draws; it is bold where its interval leaves out 0. A "
        "published figure stands beside ours only where system, set and protocol are the same.",
    ]
    for table in tables:
        title = f"{table.task}: {table.set}" + (f", {table.setting}" if table.setting else "")
        parts += [f"## {markdown(title)}", _sentence(table), _main(table), *_groups(table)]
        for path in plots.get(table.name, ()):
            name = os.path.relpath(path, folder).replace(os.sep, "/")
            parts.append(f"![{path.stem}]({name})")
        parts += [*_published(table), *_settings(table), *_skipped(table)]
    return "\n\n".join(parts) + "\n"


def _sentence(table: Table) -> str:
    own = table.lines[0].own
    judged = f"{own.rows:,} rows of {own.pictures:,} pictures; " if own.rows else ""
    limit = table.lines[0].outcome.settings.get("limit")
    part = "" if limit is None else f" Only the first {limit} of the set were judged."
    return f"{judged}the metric that is compared is {markdown(table.primary)}.{part}"


def _main(table: Table) -> str:
    names = dict.fromkeys(name for line in table.lines for name in line.outcome.metrics)
    groups = tuple(f" {group}" for group in table.groups)
    others = [name for name in names if name != table.primary and not name.endswith(groups)]
    head = ["encoder", table.primary, "difference", *others, "published"]
    rows = [
        [
            code(line.outcome.encoder),
            spell_interval(line.own),
            _difference(line),
            *(spell_number(line.outcome.metrics.get(name)) for name in others),
            "" if line.published is None else f"{line.published.value:g}",
        ]
        for line in table.lines
    ]
    return _grid(list(map(markdown, head)), rows)


def _groups(table: Table) -> list[str]:
    if not table.groups:
        return []
    head = ["encoder", *(markdown(f"{table.primary} {name}") for name in table.groups)]
    rows = [
        [
            code(line.outcome.encoder),
            *(
                spell_interval(line.groups[name]) if name in line.groups else ""
                for name in table.groups
            ),
        ]
        for line in table.lines
    ]
    counts = table.lines[0].groups
    sizes = ", ".join(
        f"{markdown(name)} {counts[name].rows:,}" for name in table.groups if name in counts
    )
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
    lines = [f"- {markdown(f'{k}: {_short(v)}')}" for k, v in settings.items() if k not in _OWN]
    text = "\n".join(lines)
    return [f"<details><summary>Settings</summary>\n\n{text}\n\n</details>"] if lines else []


def _skipped(table: Table) -> list[str]:
    parts = []
    for outcome in (line.outcome for line in table.lines if line.outcome.skipped):
        lines = [f"{code(outcome.encoder)}: {len(outcome.skipped)} left out", ""]
        lines += [f"- {markdown(text)}" for text in outcome.skipped[:_MOST_SKIPPED]]
        more = len(outcome.skipped) - _MOST_SKIPPED
        parts.append("\n".join(lines + [f"- and {more} more, in report.json"] * (more > 0)))
    return parts


def _difference(line: Line) -> str:
    figure = line.difference
    if figure is None:
        return ""
    text = spell_interval(figure, "+")
    return f"**{text}**" if figure.low > 0 or figure.high < 0 else text


def _short(value: object) -> str:
    if isinstance(value, (list, tuple)) and len(value) > 3:
        return f"{len(value)}, the first is {value[0]!r}"
    return f"{value}"


def _grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of cells that are Markdown."""
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])

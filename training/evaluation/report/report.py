"""What several encoders reached, side by side: JSON, Markdown tables and plots."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from alphaclip.files import write_text
from alphaclip.training.evaluation.outcome_files import to_json
from alphaclip.training.evaluation.outcomes import Outcome
from alphaclip.training.evaluation.report.report_plots import draw_table
from alphaclip.training.evaluation.report.report_tables import to_markdown
from alphaclip.training.evaluation.report.statistics import (
    Interval,
)
from alphaclip.training.evaluation.report.tables import Line, Table, make_tables


def write_report(folder: Path, outcomes: Sequence[Outcome]) -> list[Path]:
    """Writes ``report.json``, ``report.md`` and ``plots/*.png``; the same outcomes, the same bytes.

    Args:
        folder: to write into
        outcomes: see :func:`make_tables`

    Returns:
        the files
    """
    tables = make_tables(outcomes)
    plots = {table.name: draw_table(table, folder / "plots") for table in tables}
    content = to_json([_to_dict(table) for table in tables])
    listing, page = folder / "report.json", folder / "report.md"
    write_text(listing, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    write_text(page, to_markdown(tables, plots, folder))
    return [listing, page, *(path for paths in plots.values() for path in paths)]


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
        "groups": {name: _rounded(found) for name, found in line.groups.items()},
        "metrics": {name: round(value, 4) for name, value in outcome.metrics.items()},
        "published": None if line.published is None else line.published.value,
        "settings": dict(outcome.settings),
        "skipped": list(outcome.skipped),
    }


def _rounded(found: Interval) -> dict[str, Any]:
    return {
        name: round(value, 4) if isinstance(value, float) else value
        for name, value in asdict(found).items()
    }

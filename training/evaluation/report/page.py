"""An evaluation as pictures: its plots, and what was taken for what, in one HTML file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from alphaclip.pages.confusions import find_confusions
from alphaclip.pages.page import Crop, Section, write_page
from alphaclip.training.datasets.examples import RegionSet
from alphaclip.training.evaluation.outcomes import Outcome
from alphaclip.training.evaluation.report.tables import Line, Table, spell_interval

MOST_CONFUSIONS = 6
"""Of an encoder in a setting: of ten of them, all still fit into a page."""

NO_CROPS = (
    "The mistaken crops are in the page of a run itself, `alphaclip eval TASK ... --html FILE`: "
    "what runs leave behind names regions and does not show them."
)


def write_eval_page(
    path: Path,
    tables: Sequence[Table],
    plots: Mapping[str, Sequence[Path]],
    sets: Sequence[RegionSet] | None = None,
) -> Path:
    """Writes a page of less than 3 MB, and returns its path.

    Args:
        path: of the file
        tables: what was compared
        plots: their PNG files, by the tables' names
        sets (None): what was judged, for the crops; None if that is not at hand

    Raises:
        StoreError: if it cannot be written
    """
    by_name = {regions.name: regions for regions in sets or ()}
    sections = []
    for table in tables:
        title = ", ".join(filter(None, (f"{table.task}: {table.set}", table.setting)))
        lines = [f"{line.outcome.encoder}: {_figure(table, line)}" for line in table.lines]
        sections.append(Section(title, lines, plots=plots.get(table.name, ())))
        if table.set in by_name:
            for line in table.lines:
                sections += _mistakes(line.outcome, by_name[table.set])
    if sets is None:
        sections.append(Section("Mistakes", [NO_CROPS]))
    return write_page(path, "Evaluation", _sentence(tables), sections)


def _sentence(tables: Sequence[Table]) -> str:
    best = [
        max(table.lines, key=lambda line: (line.own.value == line.own.value, line.own.value))
        for table in tables
    ]
    names = list(dict.fromkeys(line.outcome.encoder for line in best))
    if len(tables) == 1:
        (table,) = tables
        best_of = f"is best of {len(table.lines)}" if len(table.lines) > 1 else "was judged"
        return f"{names[0]} {best_of} on {table.set}: {_figure(table, best[0])}."
    return f"{' or '.join(names)} is best in {len(tables)} comparisons."


def _figure(table: Table, line: Line) -> str:
    told = f"{table.primary} {spell_interval(line.own)}"
    if line.difference is not None:
        told += f", {spell_interval(line.difference, '+')} to the first"
    return f"{told}; n = {line.own.rows:,}, of {line.own.pictures:,} pictures"


def _mistakes(outcome: Outcome, regions: RegionSet) -> Iterator[Section]:
    """The most frequent confusions: a region that was mistaken, beside a right one of its class."""
    listed = {(e.id, labelled.id): (e.path, labelled.region) for e, labelled in regions.regions}
    rows = [row for row in outcome.rows if (row.example, row.id) in listed]
    right = [row.correct >= 1.0 for row in rows]

    def crop(number: int, text: str) -> Crop:
        row = rows[number]
        path, region = listed[row.example, row.id]
        return Crop(str(path), region, row.truth, text)

    confusions = find_confusions(
        [row.predicted for row in rows],
        [row.truth for row in rows],
        right,
        [row.score for row in rows],
        MOST_CONFUSIONS,
    )
    pairs = []
    for one in confusions:
        times = f", {one.count:,} times" if one.count > 1 else ""
        pairs.append([crop(one.mistake, f"taken for {one.answer}{times}")])
        if one.example is not None:
            pairs[-1].append(crop(one.example, "a right one"))
    if pairs:
        told = f"{right.count(False):,} of {len(rows):,}, the most frequent confusions first."
        yield Section(f"Mistaken by {outcome.encoder}", [told], pairs)

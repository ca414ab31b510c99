"""What is written for the eyes when a set is finished."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from alphaclip.files import write_text
from alphaclip.training.pairs.format.reports import PairsReport

PAGE, SHEET = "statistics.html", "contact-sheet.png"


def write_summary(report: PairsReport, seed: int) -> list[Path]:
    """Writes ``statistics.html`` and ``contact-sheet.png`` beside the shards.

    Args:
        report: of the set
        seed: of the pairs on the contact sheet

    Returns:
        the files; a set without pairs has no contact sheet

    Raises:
        PairError: if a shard cannot be read
        AlphaClipError: if a file cannot be written
    """
    from alphaclip.training.pairs.format.contact_sheet import draw_contact_sheet, draw_places
    from alphaclip.training.pairs.format.reading import open_pairs
    from alphaclip.training.pairs.format.statistics import count_entries, statistics_page

    page, sheet = report.folder / PAGE, report.folder / SHEET
    if not report.regions:
        write_text(page, statistics_page(report, [], Counter(), []))
        return [page]
    pairs = open_pairs(report.folder)
    shown = [pairs[place] for place in draw_places(len(pairs), seed)]
    draw_contact_sheet(shown, sheet)
    histograms, labels = count_entries(pairs.entries())
    examples = [(pair.key, pair.texts) for pair in shown]
    write_text(page, statistics_page(report, histograms, labels, examples))
    return [page, sheet]

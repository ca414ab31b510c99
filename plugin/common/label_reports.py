"""What the App draws of a labelling run, made of ``LabelReport.to_dict()``."""

import heapq
from html import escape

from .forms import shorten

MOST_ROWS, MOST_DRAWN = 200, 30
"""Classes in the table and in the figure: a run may have thousands."""

NAME_CHARACTERS = 24
CLASS_COLUMNS = {
    "class": "Class",
    "answered": "Taken for it",
    "written": "Written",
    "seen": "Right in the sample",
    "estimated": "Estimated",
    "interval": "Interval, 90 %",
    "recall": "Recall",
    "promised": "Promised",
}
"""The columns of :func:`class_rows`, and their headings."""

BLUE, GREY, ORANGE = "#4c8dd6", "rgba(140, 140, 140, 0.45)", "#e07b39"
ROW_PIXELS, MARGIN_PIXELS = 26, 110
LINE = {"color": "gray", "dash": "dash", "width": 1}


def class_rows(report):
    """Gives a row for each class, of many for those with the most regions.

    Args:
        report: a dict, as of ``LabelReport.to_dict()``

    Returns:
        a list of at most ``MOST_ROWS`` dicts, with a text or number for each of
        ``CLASS_COLUMNS``
    """
    promises = report["by_class"]
    return [_row(line, promises.get(line["name"])) for line in _largest(report, MOST_ROWS)]


def figures(report):
    """Draws what the reviewed sample shows.

    Args:
        report: a dict, as of ``LabelReport.to_dict()``

    Returns:
        a dict of at most ``reliability``, the diagram with the number of regions in each bin, and
        ``classes``, the share of right ones of each class with its interval beside how many
        regions there are; each a dict of ``data`` and ``layout`` for a
        :class:`fiftyone.operators.types.PlotlyView`
    """
    drawn = {}
    if report["reliability"] is not None:
        drawn["reliability"] = _diagram(report["reliability"]["bins"])

    lines = [line for line in _largest(report, MOST_DRAWN) if line["answered"] or line["written"]]
    if lines:
        drawn["classes"] = _class_figure(report, lines)

    return drawn


def percent(share):
    """Writes a share.

    Args:
        share: in [0, 1], or None if there is none

    Returns:
        as "97.5 %", or an empty text
    """
    return "" if share is None else "%.1f %%" % (100 * share)


def _largest(report, most):
    lines = report["classes"]
    if len(lines) <= most:
        return lines

    return heapq.nlargest(most, lines, key=lambda line: line["answered"] + line["written"])


def _row(line, promise):
    is_seen = line["passed"] > 0
    low, high = line["interval"]
    interval = "%.0f to %.0f %%" % (100 * low, 100 * high) if is_seen else ""
    promised = "" if promise is None else "not reachable"
    if promise is not None and promise["threshold"] is not None:
        promised = percent(promise["precision"])

    return {
        "class": shorten(line["name"]),
        "answered": line["answered"],
        "written": line["written"],
        "seen": "%d of %d" % (line["right"], line["passed"]) if is_seen else "",
        "estimated": percent(line["estimate"]),
        "interval": interval,
        "recall": _recall(line.get("recall")),
        "promised": promised,
    }


def _recall(recall):
    """Writes the recall of a class; runs of earlier versions have none."""
    if not recall:
        return ""

    low, high = recall["interval"]
    return "%s (%.0f to %.0f %%)" % (percent(recall["estimate"]), 100 * low, 100 * high)


def _diagram(bins):
    """Predicted to the right, seen upwards; below, how many regions there are of each."""
    predicted = [one["predicted"] for one in bins]
    hover = ["%d regions" % one["count"] for one in bins]
    points = {
        "type": "scatter",
        "mode": "markers",
        "x": predicted,
        "y": [one["right"] for one in bins],
        "error_y": _bars([(one["right"], one["interval"]) for one in bins]),
        "marker": {"color": BLUE, "size": 9},
        "hovertext": hover,
    }
    counts = {
        "type": "bar",
        "x": predicted,
        "y": [one["count"] for one in bins],
        "yaxis": "y2",
        "width": [0.02] * len(bins),
        "marker": {"color": GREY},
        "hovertext": hover,
    }
    line = {"type": "line", "x0": 0, "y0": 0, "x1": 1, "y1": 1, "line": LINE}
    layout = {
        "height": 380,
        "xaxis": {"range": [-0.02, 1.02], "title": {"text": "probability"}, "anchor": "y2"},
        "yaxis": {
            "range": [-0.02, 1.04],
            "domain": [0.3, 1],
            "title": {"text": "share that is right", "standoff": 12},
        },
        "yaxis2": _other_axis("regions", domain=[0, 0.2], anchor="x"),
        "shapes": [line],
    }
    return {"data": [points, counts], "layout": layout}


def _class_figure(report, lines):
    """One class a line, the first on top: the share of right ones, and the regions beside it."""
    names = [escape(shorten(line["name"], NAME_CHARACTERS), quote=False) for line in lines]
    layout = {
        "height": MARGIN_PIXELS + ROW_PIXELS * len(lines),
        "barmode": "overlay",
        "showlegend": True,
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        "yaxis": {
            "tickvals": list(range(len(lines))),
            "ticktext": names,
            "range": [len(lines) - 0.5, -0.5],
        },
    }
    seen = [(row, line) for row, line in enumerate(lines) if line["passed"]]
    if not seen:
        layout["xaxis"] = {"title": {"text": "regions"}}
        return {"data": _region_bars(lines, "x"), "layout": layout}

    share = {"range": [0, 1.02], "domain": [0, 0.55], "title": {"text": "share that is right"}}
    layout |= {
        "xaxis": share,
        "xaxis2": _other_axis("regions", domain=[0.6, 1], anchor="y"),
        "shapes": _asked_lines(report),
    }
    return {"data": [_points(seen), *_region_bars(lines, "x2")], "layout": layout}


def _points(seen):
    shares = [line["estimate"] for _, line in seen]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "right, with its interval",
        "x": shares,
        "y": [row for row, _ in seen],
        "error_x": _bars([(line["estimate"], line["interval"]) for _, line in seen]),
        "marker": {"color": ORANGE, "size": 8},
        "hovertext": ["%d of %d" % (line["right"], line["passed"]) for _, line in seen],
    }


def _region_bars(lines, axis):
    kinds = {"answered": ("taken for it", GREY), "written": ("written", BLUE)}
    return [
        {
            "type": "bar",
            "name": name,
            "orientation": "h",
            "xaxis": axis,
            "x": [line[kind] for line in lines],
            "y": list(range(len(lines))),
            "marker": {"color": color},
        }
        for kind, (name, color) in kinds.items()
    ]


def _asked_lines(report):
    """A line at the precision that was asked for: all promises have the same."""
    promises = [one for one in (report["promise"], *report["by_class"].values()) if one]
    return [
        {"type": "line", "x0": x, "x1": x, "y0": 0, "y1": 1, "yref": "y domain", "line": LINE}
        for x in [promise["precision"] for promise in promises[:1]]
    ]


def _bars(shares):
    """The intervals of some shares, as Plotly takes them."""
    return {
        "type": "data",
        "symmetric": False,
        "array": [max(high - share, 0) for share, (_, high) in shares],
        "arrayminus": [max(share - low, 0) for share, (low, _) in shares],
        "thickness": 1,
    }


def _other_axis(title, **options):
    """An axis that FiftyOne gives no colours of its theme."""
    return {
        "title": {"text": title, "font": {"color": "gray", "size": 14}},
        "color": "gray",
        "gridcolor": GREY,
        "automargin": True,
        **options,
    }

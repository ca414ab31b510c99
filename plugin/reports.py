"""
What the App says about an index that was built.
"""

import fiftyone.operators.types as types

SHOWN_SKIPPED = 100


def summarize(info):
    """Reduces what an index says of itself to what a reader of the App wants to know.

    Args:
        info: ``index.info()``

    Returns:
        a dict of JSON values: ``index``, ``encoder``, ``regions``, ``images``, ``seconds``,
        ``skipped`` (how many), ``skipped_items`` (the first ones, with reasons) and ``unfilled``
        (polylines that were embedded as their box)
    """
    report = info["report"]
    return {
        "index": info["key"],
        "encoder": info["encoder"],
        "regions": info["count"],
        "images": report["samples"],
        "seconds": report["seconds"],
        "unfilled": report["unfilled"],
        "skipped": len(report["skipped"]),
        "skipped_items": report["skipped"][:SHOWN_SKIPPED],
    }


def outputs(results):
    """Lays out a summary.

    Args:
        results: see :func:`summarize`

    Returns:
        a :class:`fiftyone.operators.types.Property`
    """
    shown = types.Object()
    shown.str("index", label="Index")
    shown.str("encoder", label="Encoder")
    shown.int("regions", label="Regions embedded")
    shown.int("images", label="Images")
    shown.float("seconds", label="Seconds")
    if results.get("unfilled"):
        shown.int("unfilled", label="Polylines that are not filled, embedded as their box")

    if results.get("skipped"):
        shown.int("skipped", label="Skipped")
        _add_skipped(shown)

    return types.Property(shown, view=types.View(label="Regions embedded"))


def _add_skipped(shown):
    table = types.TableView()
    table.add_column("filepath", label="Image")
    table.add_column("label_id", label="Label")
    table.add_column("reason", label="Reason")
    shown.list(
        "skipped_items",
        types.Object(),
        label="Skipped, the first %d" % SHOWN_SKIPPED,
        view=table,
    )

"""What the App says about an index that was built."""

from .forms import add_table, count

SHOWN_SKIPPED = 100
"""All results go to the browser, and of a delegated run into its record."""

CHANGES = {
    "added": "Added",
    "edited": "Embedded again, because they were edited",
    "kept": "Unchanged",
    "gone": "Dropped, because they are gone",
    "unreachable": "Unchanged, but their picture cannot be reached",
}
OF_POLYLINES = {
    "unfilled": "Polylines that are not filled, embedded as their box",
    "stray_rings": "Rings of fewer than three points, left out of their polygons",
}
SKIPPED_COLUMNS = {"filepath": "Image", "label_id": "Label", "reason": "Reason"}


def summarize(info):
    """Reduces what an index says of itself to what a reader of the App wants to know.

    Args:
        info: ``index.info()``

    Returns:
        a dict of JSON values: ``index``, ``encoder``, ``regions``, ``images``, ``seconds``,
        ``added``, ``edited``, ``kept``, ``gone``, ``skipped`` (how many), ``skipped_items`` (the
        first ones, with reasons), ``unfilled`` (polylines that were embedded as their box),
        ``stray_rings`` (rings of polygons that were left out) and ``search`` (how the index is
        searched)
    """
    report = info["report"]
    return {
        "index": info["key"],
        "encoder": info["encoder"],
        "regions": info["count"],
        "images": report["samples"],
        "seconds": report["seconds"],
        "unfilled": report["unfilled"],
        "stray_rings": report.get("stray_rings", 0),
        "search": describe_search(info),
        **{name: report[name] for name in CHANGES},
        "skipped": len(report["skipped"]),
        "skipped_items": report["skipped"][:SHOWN_SKIPPED],
    }


def ids_and_scores(hits):
    """Lists what a search found, best first.

    Args:
        hits: of an index

    Returns:
        a dict of JSON values: ``count``, ``sample_ids``, ``label_ids`` and ``scores``, cosines
    """
    return {
        "count": len(hits),
        "sample_ids": hits.sample_ids.tolist(),
        "label_ids": hits.label_ids.tolist(),
        "scores": [round(score, 6) for score in hits.scores.tolist()],
    }


def in_words(key, report):
    """Says what a build or an update has done.

    Args:
        key: of the index
        report: a dict, as ``index.info()["report"]``
    """
    changes = ["%d %s" % (report[name], name) for name in CHANGES if report[name]]
    skipped = len(report["skipped"])
    changes += ["%d skipped" % skipped] if skipped else []
    return "%s holds %s: %s" % (key, count(report["regions"]), ", ".join(changes))


def describe_search(info):
    """Says how an index is searched.

    Args:
        info: ``index.info()``

    Returns:
        "exact search", or the FAISS index, or the engine of a copy, and its measured recall
    """
    search = info["search"]
    recall = search.get("recall")
    if not recall:
        return "exact search" if search["type"] == "exact" else search["type"]

    kinds = [kind for kind in ("text", "region") if kind in recall]
    measured = ", ".join("%.3f for %s queries" % (recall[kind], kind) for kind in kinds)
    return "%s, recall@%d measured: %s" % (search["type"], recall["k"], measured)


def add_summary(outputs, results):
    """Lays a summary out.

    Args:
        outputs: a :class:`fiftyone.operators.types.Object`
        results: see :func:`summarize`
    """
    outputs.str("index", label="Index")
    outputs.str("encoder", label="Encoder")
    outputs.int("regions", label="Regions in the index")
    add_counts(outputs, results, CHANGES)
    outputs.int("images", label="Images")
    outputs.float("seconds", label="Seconds")
    outputs.str("search", label="Searched by")
    add_counts(outputs, results, OF_POLYLINES)
    add_skipped(outputs, results)


def add_counts(outputs, results, labels):
    """Adds the numbers that are not 0.

    Args:
        outputs: a :class:`fiftyone.operators.types.Object`
        results: a dict of them
        labels: a dict of their names and labels
    """
    for name, label in labels.items():
        if results.get(name):
            outputs.int(name, label=label)


def add_skipped(outputs, results):
    """Adds how many were skipped, and a table of the first ones and why.

    Args:
        outputs: a :class:`fiftyone.operators.types.Object`
        results: with ``skipped`` and ``skipped_items``
    """
    if results.get("skipped"):
        outputs.int("skipped", label="Skipped")
        label = "Skipped, the first %d" % SHOWN_SKIPPED
        add_table(outputs, "skipped_items", SKIPPED_COLUMNS, label=label)

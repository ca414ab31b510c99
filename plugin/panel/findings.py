"""Errors of labels, near-duplicates and outliers: found, looked through, and decided one by one."""

import time

from alphaclip.arguments import check
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.dataset.decisions import Oddity, last_decision
from alphaclip.indexing.explore.findings import MOST_REGIONS
from alphaclip.indexing.store.segments import RowIds

from ..common import jobs
from ..common.forms import count
from ..common.indexes import named_hits, open_index
from ..common.panels import event
from ..common.region_forms import text_attributes
from ..common.tiles import data_uri, draw_crops

ERRORS, DUPLICATES, OUTLIERS = "label errors", "duplicates", "outliers"
MISSING, DRAWN, DOUBLED = "missing labels", "badly drawn", "doubled"
ONE = {
    ERRORS: "suspected label error", DUPLICATES: "duplicate", OUTLIERS: "outlier",
    MISSING: "missing label", DRAWN: "badly drawn label", DOUBLED: "doubled label",
}  # fmt: skip
MOST_OUTLIERS = 200
"""Every region is one to some degree: nobody looks further."""

MOST_ROWS, MIN_SIDE, MAX_SIDE = 24, 32, 640
KEEP = "keep"
BOX = "box of "
"""Before the name of a region: the tile of the box that it should have."""


class FindingEvents:
    """Events of what is found without a query."""

    @event
    def find_odd(self, ctx):
        """Finds regions of a kind, and remembers them."""
        from alphaclip import indexing

        kind, index, attribute = _of(ctx)
        title = "Looking for %ss in %s" % (ONE[kind], index.key)
        with jobs.stoppable(ctx.dataset, index.key, title) as job:
            most = MOST_OUTLIERS if kind == OUTLIERS else MOST_REGIONS
            finding = indexing.find_odd(index, kind, most, attribute, job.progress)
            job.said = describe_finding(finding)

        entry = indexing.remember(ctx.dataset, finding)
        return {**opened(ctx.dataset, entry, finding), "at": time.time()}

    @event
    def attributes(self, ctx):
        """The attributes of an index's labels that classes can be in, "label" first."""
        index = open_index(ctx.dataset, check("key", ctx.params["key"], "str"))
        return {"attributes": text_attributes(ctx.dataset, index.field)}

    @event
    def finding_rows(self, ctx):
        """What there is to see of some rows: crops of the regions, of their neighbours with the
        same label and with the suggested one, and the likeliest classes.

        Of ``notes``, the id of each to what the finding notes on it.
        """
        kind, index, attribute = _of(ctx)
        notes = check("notes", ctx.params["notes"], "Mapping[str, Any]")
        if len(notes) > MOST_ROWS:
            raise AlphaClipError("%d rows at once: %d at most" % (len(notes), MOST_ROWS))

        notes = {name: check("note", note, "str") for name, note in notes.items()}
        side = min(max(check("side", ctx.params["side"], "int"), MIN_SIDE), MAX_SIDE)
        return _rows(kind, index, _labelled(ctx), attribute, notes, side)

    @event
    def decide(self, ctx):
        """Gives a region a class or a tag, or neither, and remembers that, so that it is not shown
        again. Where its label was missing, a class makes one of it."""
        from alphaclip import indexing

        kind, index, attribute = _of(ctx)
        name, label, tag = str(ctx.params["id"]), ctx.params.get("label"), ctx.params.get("tag")
        hits = named_hits(index, [name])
        if not len(hits):
            raise AlphaClipError("This region is in the index no more: find them anew")

        done = None
        if label:
            label, labelled = check("label", label, "str"), _labelled(ctx)
            if kind == MISSING and labelled is not None:
                done = indexing.label(hits, label, into=labelled.field)
            else:
                done = indexing.label(hits, label, overwrite=True, attribute=attribute)
        elif tag:
            done = indexing.tag(hits, check("tag", tag, "str"))

        action = done.id if done else None
        indexing.decide(ctx.dataset, kind, {name: label or tag or KEEP}, action, attribute)
        return {"is_changed": done is not None}

    @event
    def undecide(self, ctx):
        """Takes back the decision about the region ``id``, else the newest about a region of
        ``entry``, with what was done to its label."""
        from alphaclip import indexing

        (kind, _, attribute), name = _of(ctx), ctx.params.get("id")
        if name is None:
            entry = indexing.find_entry(ctx.dataset, check("entry", ctx.params["entry"], "str"))
            names = getattr(entry.content, "names", ())  # of a search, none
        else:
            names = [check("id", name, "str")]

        last = last_decision(ctx.dataset, kind, names, attribute)
        if last is None:
            return {"id": None, "is_changed": False}

        undone = indexing.undo(ctx.dataset, last.action) if last.action else None
        indexing.undecide(ctx.dataset, kind, [last.name], attribute)
        if undone is not None and undone.left:
            raise AlphaClipError("This label was edited since, and stays as it is")

        return {"id": last.name, "is_changed": undone is not None}

    @event
    def reload_grid(self, ctx):
        ctx.ops.reload_samples()


def opened(dataset, entry, finding):
    """What the page lists of a finding: the regions that nobody has decided about.

    Args:
        entry: its key in the history
        finding: an ``alphaclip.indexing.Finding``
    """
    import numpy as np

    from alphaclip.indexing.dataset.decisions import decided_rows

    now = open_index(dataset, finding.key).snapshot()
    rows = now.lookup.find_named(finding.names)
    decided = decided_rows(dataset, finding.kind, now.lookup, finding.attribute)
    is_decided = np.isin(rows, decided)
    is_open = (rows >= 0) & ~is_decided
    chances = finding.note_scores or [None] * len(rows)
    notes = finding.notes or [""] * len(rows)
    columns = (finding.names, finding.scores, notes, chances)
    listed = [
        {"id": name, "score": score, "note": note, "chance": chance}
        for is_open, name, score, note, chance in zip(is_open, *columns, strict=True)
        if is_open
    ]
    said = describe_finding(finding)
    return {
        "entry": entry, "kind": finding.kind, "key": finding.key, "said": said, "rows": listed,
        "attribute": finding.attribute, "labels": finding.labels,
        "decided": int(is_decided.sum()),
    }  # fmt: skip


def describe_finding(finding):
    """Says what was found, in a few words."""
    told = "%s in %s" % (count(len(finding.names), ONE[finding.kind]), finding.key)
    return told if finding.attribute == "label" else "%s, by %s" % (told, finding.attribute)


def _of(ctx):
    """The kind that an event is about, the index, and the attribute that has the classes."""
    kind = check("kind", ctx.params["kind"], "str", Oddity)
    attribute = check("attribute", ctx.params.get("attribute") or "label", "str")
    return kind, open_index(ctx.dataset, check("key", ctx.params["key"], "str")), attribute


def _labelled(ctx):
    """The index of the labels that some are missing among; None for other findings."""
    key = check("labels", ctx.params.get("labels") or "", "str")
    return open_index(ctx.dataset, key) if key else None


def _rows(kind, index, labelled, attribute, notes, side):
    from alphaclip.indexing import error_neighbors

    there = index.names(named_hits(index, list(notes)))
    is_class = kind in (ERRORS, MISSING)
    suggested = {name: notes[name] if is_class else None for name in there}
    rows, names = {}, {}
    for one in error_neighbors(index, suggested, attribute, among=labelled):
        beside = [[name for name, _ in some] for some in (one.of_given, one.of_suggested)]
        if kind in (DUPLICATES, DOUBLED):
            beside = [[notes[one.name]], []]
        elif kind == DRAWN:
            beside = [[BOX + one.name], []]

        rows[one.name] = {"beside": beside, "likely": list(one.likely)}
        names.update(dict.fromkeys(name for some in beside for name in some))

    own = attribute if labelled is None else "label"
    beside = _tiles(labelled or index, attribute, [*names], side)
    tiles = {**beside, **_tiles(index, own, there, side)}
    if kind == DRAWN:
        tiles.update(_box_tiles(index, notes, side))

    return {"rows": rows, "tiles": tiles}


def _box_tiles(index, notes, side):
    """Crops of the boxes that some regions should have."""
    from alphaclip.indexing.retrieval.hit_listing import list_hits
    from alphaclip.regions.region import Region

    hits = named_hits(index, list(notes))
    names, listed = index.names(hits), list_hits(hits)
    names = [names[hit.rank - 1] for hit in listed]
    boxes = [Region.from_box([float(number) for number in notes[name].split()]) for name in names]
    crops = draw_crops(list(zip([hit.image for hit in listed], boxes, strict=True)), side)
    return {
        BOX + name: {"id": BOX + name, "crop": data_uri(crop)}
        for name, crop in zip(names, crops, strict=True)
    }


def _tiles(index, attribute, names, side):
    from alphaclip.indexing.dataset.attributes import names_of
    from alphaclip.indexing.retrieval.hit_listing import list_hits

    hits = named_hits(index, names)
    listed = list_hits(hits)
    crops = draw_crops([(hit.image, hit.region) for hit in listed], side)
    names, classes = index.names(hits), [hit.label for hit in listed]
    if attribute != "label":
        ids = RowIds.of([hit.sample_id for hit in listed], [hit.label_id for hit in listed])
        classes = names_of(index.dataset, index.field, attribute, ids)

    return {
        names[hit.rank - 1]: {
            "id": names[hit.rank - 1], "sample": hit.sample_id, "label_id": hit.label_id,
            "field": index.field, "label": label, "tags": list(hit.tags),
            "crop": data_uri(crop),
        }
        for hit, crop, label in zip(listed, crops, classes, strict=True)
    }  # fmt: skip

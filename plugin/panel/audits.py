"""The review of an audit: pictures drawn at random, in which a person marks what has no region."""

from alphaclip.arguments import check
from alphaclip.errors import AlphaClipError

from ..common.indexes import open_index
from ..common.panels import event
from ..common.tiles import data_uri

PICTURES, SIZE = 100, (960, 720)


class AuditEvents:
    """Events of audits. Each is told of which audit by the index ``key`` and the ``concept``."""

    @event
    def audit(self, ctx):
        """Begins an audit, or goes on with one: its pictures, the marks on them, and what they
        say."""
        audit = _audit_of(ctx)
        marks = audit.marks
        pictures = [{"id": id_, "points": marks.get(id_)} for id_ in audit.pictures]
        return {
            "key": audit.index.key, "concept": audit.concept, "pictures": pictures,
            "said": str(audit.report()),
        }  # fmt: skip

    @event
    def audit_picture(self, ctx):
        """A picture with the regions that the index sees drawn in."""
        from alphaclip.indexing.dataset.labels import regions_of
        from alphaclip.pages.tiles import draw_regions

        audit, id_ = _audit_of(ctx), check("id", ctx.params["id"], "str")
        if id_ not in audit.pictures:
            raise AlphaClipError("This picture is none of those that were drawn")

        sample = ctx.dataset[id_]
        regions = [region for _, region in regions_of(sample[audit.index.field])]
        return {"picture": data_uri(draw_regions(sample.filepath, regions, SIZE))}

    @event
    def mark_unseen(self, ctx):
        """Keeps the ``points`` in a picture; None forgets that somebody has looked at it."""
        audit, points = _audit_of(ctx), ctx.params.get("points")
        id_ = check("id", ctx.params["id"], "str")
        if points is None:
            audit.unmark(id_)
        else:
            audit.mark(id_, check("points", points, "Sequence[Sequence[float]]"))

        return {"said": str(audit.report())}


def _audit_of(ctx):
    index = open_index(ctx.dataset, check("key", ctx.params["key"], "str"))
    return index.audit(check("concept", ctx.params["concept"], "str"), PICTURES)

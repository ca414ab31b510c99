"""The review of an audit: pictures drawn at random, in which a person, or a detector, marks what
has no region."""

from contextlib import suppress

from alphaclip.arguments import check
from alphaclip.errors import AlphaClipError, MissingWeightsError

from ..common import jobs
from ..common.forms import count
from ..common.indexes import open_index
from ..common.panels import event
from ..common.tiles import data_uri

PICTURES, SIZE = 100, (960, 720)


class AuditEvents:
    """Events of audits. Each is told of which audit by the index ``key`` and the ``concept``."""

    @event
    def audit(self, ctx):
        """Begins an audit, or goes on with one: its pictures, the marks on them and who made
        them, what they say, and which detector can be asked."""
        from alphaclip.indexing.word_detectors import installed_detector

        audit, detector = _audit_of(ctx), None
        with suppress(MissingWeightsError):
            detector = installed_detector()

        answers = audit.answers()
        marked = [(id_, *answers.get(id_, (None, None))) for id_ in audit.pictures]
        pictures = [{"id": id_, "points": points, "judge": by} for id_, points, by in marked]
        return {
            "key": audit.index.key, "concept": audit.concept, "pictures": pictures,
            "said": str(audit.report()), "detector": detector, "job": _job_key(audit),
        }  # fmt: skip

    @event
    def ask_detector(self, ctx):
        """Begins to have the detector that is installed mark the pictures that nobody has looked
        at; no name of one is taken from a browser."""
        from alphaclip.indexing.word_detectors import installed_detector

        audit, detector = _audit_of(ctx), installed_detector()
        key, dataset = _job_key(audit), ctx.dataset
        if any(job["key"] == key for job in jobs.running(dataset)):
            raise AlphaClipError("The detector is looking at these pictures already")

        def work(progress):
            skipped = audit.detect(detector, progress=progress)
            said = str(audit.report())
            return "%s; %s" % (said, _unread(skipped)) if skipped else said

        jobs.start(dataset, key, "Looking for “%s” in the audit" % audit.concept, work)

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


def _unread(skipped):
    first = skipped[0]
    return "%s not read: %s" % (count(len(skipped), "picture"), first.reason or first.filepath)


def _job_key(audit):
    return "audit:%s" % audit.key


def _audit_of(ctx):
    index = open_index(ctx.dataset, check("key", ctx.params["key"], "str"))
    return index.audit(check("concept", ctx.params["concept"], "str"), PICTURES)

"""What was labelled, and who answers."""

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.labelling.review.runs import labelling_of

from ..common.forms import shorten


def labelling_in(dataset, into):
    """Looks up what is kept of labelling into a field or an attribute.

    Raises:
        AlphaClipError: if nothing was labelled into it
    """
    labelling = labelling_of(dataset, into) if isinstance(into, str) else None
    if labelling is None:
        raise AlphaClipError("Nothing was labelled into %r: label first" % shorten(into, 80))

    return labelling


def reviewer_of(ctx):
    """Names the person whose answers are kept."""
    user = ctx.user
    return str(getattr(user, "name", None) or getattr(user, "email", None) or "app")

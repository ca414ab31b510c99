"""The classes, as a person types them: one a line, with examples."""

from dataclasses import replace

from alphaclip.arguments import check
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.dataset.labels import region_fields
from alphaclip.indexing.dataset.locations import index_keys
from alphaclip.indexing.labelling.review.runs import labelled_fields
from alphaclip.indexing.labelling.scoring.class_sets import (
    class_set_names,
    classes_from_text,
    classes_to_text,
    save_classes,
    saved_classes,
)
from alphaclip.indexing.labelling.scoring.classes import ClassSet

from ..common import jobs
from ..common.forms import count
from ..common.panel_events import jobs_of
from ..common.panels import dataset_id, event
from .preview import draw_strips, previews

MOST_CHARACTERS, MOST_LINES = 60_000, 200
MOST_COUNTED, MOST_DRAWN = 1_000, 40


class ClassEvents:
    """Events of the form for classes."""

    @event
    def about(self, ctx):
        if ctx.dataset is None:
            return {"dataset": None}

        return {
            "dataset": dataset_id(ctx),
            "fields": list(region_fields(ctx.dataset)),
            "keys": index_keys(ctx.dataset),
            "labelled": labelled_fields(ctx.dataset),
            "sets": class_set_names(ctx.dataset),
            "resumable": jobs.resumable(ctx.dataset),
            **jobs_of(ctx),
        }

    @event
    def preview(self, ctx):
        """How many regions would be taken for each class, of the first ones with some of them;
        ``wrong`` are ids of regions that are none of the classes."""
        classes = read_classes(ctx.dataset, ctx.params["classes"])
        wrong = check("wrong", ctx.params.get("wrong") or [], "Sequence[str]")
        found = previews(ctx.dataset, ctx.params["key"], classes, wrong)
        strips = draw_strips(found[:MOST_DRAWN])
        strips += [None] * (len(found) - len(strips))
        rows = [
            {"name": one.name, "count": one.count, "crops": crops}
            for one, crops in zip(found, strips, strict=True)
        ]
        return {"rows": [*rows[:-1][:MOST_COUNTED], rows[-1]]}

    @event
    def save_set(self, ctx):
        name = check("name", ctx.params.get("name") or "", "str").strip()
        classes = read_classes(ctx.dataset, ctx.params["classes"])
        save_classes(ctx.dataset, name, classes)
        return {"said": "%s kept as “%s”" % (count(len(classes), "class", "classes"), name)}

    @event
    def open_set(self, ctx):
        """The lines of a saved set with their examples; none of one that is too large to edit."""
        classes = saved_classes(ctx.dataset, ctx.params["name"])
        lines = [] if len(classes) > MOST_LINES else classes_to_text(classes).split("\n")
        if sum(map(len, lines)) > MOST_CHARACTERS:
            lines = []

        examples = [list(one.examples) for one in classes[: len(lines)]]
        return {"lines": lines, "examples": examples, "count": len(classes)}


def read_classes(dataset, form):
    """Reads the classes.

    Args:
        form: a dict of ``lines``, each a class or empty, and ``examples``, lists of ids for each
            of them; or of ``set``, the name of a saved set that stands for them

    Returns:
        a list of ``LabelClass``

    Raises:
        AlphaClipError: if there is none, a line is malformed, or they contradict each other
    """
    form = check("classes", form, "Mapping[str, Any]")
    if form.get("set"):
        return saved_classes(dataset, form["set"])

    lines = [" ".join(line.split("\n")) for line in check("lines", form["lines"], "Sequence[str]")]
    if sum(map(len, lines)) > MOST_CHARACTERS:
        raise AlphaClipError(
            "The classes have more than %d characters: save them under a name in Python, by "
            "save_classes, and open them here" % MOST_CHARACTERS
        )

    if not any(line.strip() for line in lines):
        raise AlphaClipError("There are no classes: type one in each line, or open a saved set")

    classes = classes_from_text("\n".join(lines))
    examples = [check("examples", some, "Sequence[str]") for some in form.get("examples") or []]
    examples = [*examples, *[[]] * (len(lines) - len(examples))]
    of_lines = [some for line, some in zip(lines, examples, strict=True) if line.strip()]
    return list(ClassSet(map(_shown_by, classes, of_lines)))


def _shown_by(one, examples):
    """A class with examples; the name stays a prompt, as it is without them."""
    if not examples:
        return one

    return replace(one, examples=tuple(examples), prompts=one.prompts or (one.name,))

"""
The third step: the regions that wait for a person, page by page.
"""

import fiftyone.operators.types as types

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.labelling.review.runs import labelling_of
from alphaclip.indexing.labelling.scoring.classes import SKIPPED

from ..common.forms import alert, shorten, text
from ..common.tiles import RIGHT, WRONG, add_button, add_small_button, add_tile, fit
from . import answers
from .pages import first_page, previous_page, queue_page
from .promise_form import add_new_sample, start_run
from .review_keys import add_review_keys
from .state import guarded, reviewer_of

SKIP = "#8a8a8a"
COLORS = {"right": RIGHT, "wrong": WRONG, "skip": SKIP}
SIGNS = (("right", "✓", "Right"), ("wrong", "✗", "Wrong"), ("skip", "skip", "Cannot tell"))
NONE = "none of these"
LOST = "Even if all that waits of it is right, that is not enough: review no more of it."
NARROW = {
    "p": "0 4px",
    "width": "%dpx" % 136,
    "justifyContent": "flex-start",
    "fontSize": "0.75rem",
}


class ReviewEvents:
    """Events of the review. Each says which region is meant, and what it was shown as."""

    @guarded
    def on_right(self, ctx):
        self._answer(ctx, ctx.params.get("answer"))

    @guarded
    def on_wrong(self, ctx):
        self._answer(ctx, SKIPPED, is_wrong=True)

    @guarded
    def on_skip(self, ctx):
        self._answer(ctx, SKIPPED)

    @guarded
    def on_really(self, ctx):
        self._answer(ctx, ctx.params.get("name"))

    @guarded
    def on_take_back(self, ctx):
        label_id, into, _ = _meant(ctx)
        answers.take_back(ctx.dataset, into, reviewer_of(ctx), label_id)
        before = (ctx.panel.get_state("review") or {}).get("before") or []
        if label_id in before:
            previous_page(ctx)

    @guarded
    def on_next(self, ctx):
        queue_page(ctx)

    @guarded
    def on_previous(self, ctx):
        previous_page(ctx)

    @guarded
    def on_only(self, ctx):
        # The App also calls this by itself, with what is shown already
        review, value = ctx.panel.get_state("review"), str(ctx.params.get("value"))
        if review and value != review["only"]:
            first_page(ctx, review["into"], value)

    @guarded
    def on_place(self, ctx):
        review, value = ctx.panel.get_state("review"), str(ctx.params.get("value"))
        if review and value != review["into"]:
            first_page(ctx, value)

    @guarded
    def on_label_again(self, ctx):
        labelling = _labelling(ctx, ctx.params.get("into"))
        if not labelling.class_set:
            raise AlphaClipError("The classes of this run are too many to be kept: label in Python")

        settings = {**labelling.settings, "retrain": ctx.params.get("retrain") is True}
        start_run(ctx, labelling.key, list(labelling.class_set), settings)

    def _answer(self, ctx, answer, is_wrong=False):
        label_id, into, classes = _meant(ctx)
        if answer not in (None, SKIPPED) and answer not in classes:
            raise AlphaClipError(
                "%r is no class of this run any more, so the answer was not kept: open “Review” "
                "again" % shorten(answer, 80)
            )

        answers.give(ctx.dataset, into, reviewer_of(ctx), label_id, answer, is_wrong)
        if _is_done(ctx):
            queue_page(ctx)


def add_review(ctx, root, panel):
    """Lays the review out.

    Args:
        ctx: the :class:`fiftyone.operators.ExecutionContext`
        root: the :class:`fiftyone.operators.types.Object` to add to
        panel: whose events
    """
    review = ctx.panel.get_state("review")
    if not review:
        said = "Choose classes, then press “Label” in the step before: there is nothing to review."
        root.view("nothing", types.Notice(label="Nothing was labelled yet", description=said))
        return

    known = answers.known(ctx.dataset, review["into"], reviewer_of(ctx))
    _add_head(root, panel, review)
    _add_progress(root, panel, review, known)
    if review["tiles"]:
        add_review_keys(root, panel, review, known)
        grid = root.grid("gallery", orientation="2d", gap=1, align_y="start")
        for tile in review["tiles"]:
            _add_tile(grid, panel, review, tile, known)

    _add_pager(root, panel, review)


def progress_of(review, known):
    """Counts what is reviewed by now.

    Args:
        review: of the state
        known: an :class:`answers.Known`

    Returns:
        a dict of ``sample``, ``reviewed`` and ``waiting``
    """
    given = [tile for tile in review["tiles"] if tile["id"] in known.answers]
    in_sample = sum(tile["purpose"] == "promise" for tile in given)
    return {
        "sample": review["sample"],
        "reviewed": review["reviewed"] + in_sample,
        "waiting": max(review["waiting"] - (len(given) - in_sample), 0),
    }


def _add_head(root, panel, review):
    bar = root.grid("what", orientation="2d", gap=1, align_y="center")
    said = "Labels into %s, from index %s" % (shorten(review["into"], 60), review["key"])
    fit(bar, "into", text(said, "6px", bold=True))
    narrow = {"item": {"sx": {"width": "220px"}}}
    for name, choices, event in (
        ("place", review["places"], panel.on_place),
        ("only", review["choices"], panel.on_only),
    ):
        if len(choices) > 1:
            view = types.DropdownView(componentsProps=narrow)
            for value, label in choices:
                view.add_choice(value, label=shorten(label, 40))

            bar.enum(name, view.values(), view=view, on_change=event)


def _add_progress(root, panel, review, known):
    now = progress_of(review, known)
    waits = "%d wait in the queue" % now["waiting"]
    if now["sample"]:
        waits = "%d of %d of the random sample reviewed; %s" % (
            now["reviewed"], now["sample"], waits,
        )  # fmt: skip
        share = now["reviewed"] / now["sample"]
        root.float("bar", view=types.ProgressView(label=""), default=share)

    root.view("done", text(waits, "0"))
    if review["stale"]:
        said = "What is shown here was taken for the classes before. Label again to use the new."
        root.view("stale", alert("warning", "The classes were edited since the last run", said))

    if review.get("lost"):
        root.view("lost", alert("warning", "This sample cannot pass its test", LOST))

    is_complete = 0 < now["sample"] == now["reviewed"] and not review["tested"]
    if is_complete:
        said = "“Label” tests it now, and writes the labels that can be promised."
        root.view("complete", alert("success", "The random sample is reviewed", said))

    bar = root.grid("apply", orientation="2d", gap=1)
    is_begun = 0 < now["reviewed"] < now["sample"] and not review["tested"]
    is_over = review["failed"] or review["lost"]
    if review["next"] and (is_begun or is_over):
        add_new_sample(bar, panel, review["into"], review["next"], is_over)

    if review["next"] and review["failed"]:
        # “Label” would do the same
        return

    add_button(
        bar, "label", "Label", panel.on_label_again,
        params={"into": review["into"]},
        variant="contained" if is_complete else "outlined",
        icon="label", title="Label again with the answers that were given",
    )  # fmt: skip


def _add_tile(grid, panel, review, tile, known):
    sign = known.sign(tile["id"], tile["answer"])
    shown = NONE if tile["answer"] is None else shorten(tile["answer"], 40)
    params = {"id": tile["id"], "answer": tile["answer"], "into": review["into"]}
    frame = COLORS.get(sign, "transparent")
    box = add_tile(grid, "t" + tile["id"], panel.on_right, params, shown, frame)
    box.view("about", text(shown, "0", no_wrap=True, font_size="0.85rem"))
    bar = box.h_stack("signs", gap=0.5)
    events = {"right": panel.on_right, "wrong": panel.on_wrong, "skip": panel.on_skip}
    for name, label, title in SIGNS:
        event = panel.on_take_back if sign == name else events[name]
        color = COLORS[name] if sign == name else None
        add_small_button(bar, name, label, event, params, color, title=title, style={"p": "0 8px"})

    if sign == "wrong":
        _add_alternatives(box, panel, tile, params, known.answers[tile["id"]])


def _add_alternatives(box, panel, tile, params, answer):
    """What it may be; the one that was chosen is marked."""
    names = [*(name for name in tile["maybe"] if name != tile["answer"])]
    names += [None] if tile["answer"] is not None else []
    stack = box.v_stack("really", gap=0)
    for place, name in enumerate(names):
        label = NONE if name is None else shorten(name, 22)
        color = WRONG if name == answer else None
        more = {**params, "name": name}
        add_small_button(stack, "is_%d" % place, label, panel.on_really, more, color, style=NARROW)

    add_small_button(stack, "unsure", "cannot say", panel.on_skip, params, style=NARROW)


def _add_pager(root, panel, review):
    bar = root.grid("pager", orientation="2d", gap=1, align_y="center")
    add_button(bar, "previous", "Previous", panel.on_previous, disabled=not review["before"])
    add_button(bar, "next", "Next", panel.on_next, disabled=not review["after"])
    if not review["tiles"]:
        fit(bar, "empty", text("Nothing waits here any more.", "6px"))
    elif review["after"]:
        fit(bar, "left", text("%d more after this page" % review["after"], "6px"))


def _meant(ctx):
    """The region of an event, what it is labelled into, and the classes of that."""
    label_id, labelling = ctx.params.get("id"), _labelling(ctx, ctx.params.get("into"))
    drawn = (one for draw in labelling.draws for one in draw["label_ids"])
    tiles = (ctx.panel.get_state("review") or {}).get("tiles") or []
    asked = {*labelling.answers, *drawn, *(tile["id"] for tile in tiles)}
    if not isinstance(label_id, str) or label_id not in asked:
        raise AlphaClipError(
            "Region %r does not wait for a review any more: open “Review” again"
            % shorten(label_id, 40)
        )

    return label_id, labelling.into, labelling.classes


def _labelling(ctx, into):
    labelling = labelling_of(ctx.dataset, into) if isinstance(into, str) else None
    if labelling is None:
        raise AlphaClipError("Nothing was labelled into %r: label first" % shorten(into, 80))

    return labelling


def _is_done(ctx):
    """Whether all of the page is answered, and of what is wrong is said what is right."""
    review = ctx.panel.get_state("review")
    known = answers.known(ctx.dataset, review["into"], reviewer_of(ctx))
    return all(not known.is_open(tile["id"]) for tile in review["tiles"])

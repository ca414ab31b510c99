"""The App's grid: which view it shows, and how it comes to show what was changed."""

import logging

from alphaclip.indexing.dataset.labels import FRAMES, is_of_frames, pictures_of
from alphaclip.indexing.retrieval.view_rows import state_of

logger = logging.getLogger(__name__)


def show_view(ctx, view):
    """Shows a view in the grid. An opened picture is closed before: where a view of patches is set
    while one is open, the App has nothing but an error page left.

    Returns:
        the messages to the App, for a generator to yield
    """
    closing = [ctx.ops.close_sample()] if ctx.current_sample else []
    return [*closing, ctx.ops.set_view(view)]


def pictures_in(dataset, field, samples):
    """Gives a view of whole pictures: of samples in their groups, or of frames.

    Args:
        field: that they have, or None
        samples: ids, in order
    """
    if is_of_frames(field or ""):
        return pictures_of(dataset, field, samples).select(samples, ordered=True)

    return dataset.select(samples, ordered=True)


def outline(dataset):
    """Lists what the App shows of a dataset beside its samples.

    Returns:
        the names of its fields, Brain runs and saved views
    """
    of_frames = dataset.get_frame_field_schema(flat=True) or {}
    fields = sorted([*dataset.get_field_schema(flat=True), *(FRAMES + name for name in of_frames)])
    return [fields, dataset.list_brain_runs(), dataset.list_saved_views()]


def state(dataset):
    """Tells how a dataset is, for :func:`reload`.

    Returns:
        its :func:`outline`, and what any change to a sample changes
    """
    return outline(dataset), state_of(dataset)


def reload(ctx, before):
    """Has the grid show what was changed, if anything was. It stays where it was scrolled to,
    unless there are other fields, Brain runs or saved views now: for these the App loads all anew.

    Args:
        before: the :func:`state` from before the change

    Returns:
        the messages to the App, for a generator to yield
    """
    now = state(ctx.dataset)
    if now[0] != before[0]:
        return [ctx.ops.reload_dataset()]

    is_same = now == before and now[1] is not None
    return [] if is_same else [ctx.ops.reload_samples()]


def remake_patches(ctx):
    """Has a view of patches show the labels that there are now, after some were made or deleted; a
    view whose field is gone as well is left.

    Returns:
        the messages to the App, for a generator to yield
    """
    try:
        if ctx.view is None or not ctx.view._is_patches:
            return []

        ctx.view.reload()
    except Exception:
        # FiftyOne has no error of its own for a view that cannot be made any more
        logger.info("the view of patches cannot be made any more", exc_info=True)
        return [ctx.ops.clear_view()]

    return show_view(ctx, ctx.view)

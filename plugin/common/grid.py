"""The App's grid: which view it shows, and how it comes to show what was changed."""

import logging

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


def outline(dataset):
    """Lists what the App shows of a dataset beside its samples.

    Returns:
        the names of its fields, Brain runs and saved views
    """
    fields = sorted(dataset.get_field_schema(flat=True))
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

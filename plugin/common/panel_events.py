"""What the pages of all panels ask for: jobs, names, what is selected, the grid."""

from alphaclip.indexing.dataset.labels import is_of_frames, media_of, own_name, region_fields

from . import jobs
from .grid import pictures_in, show_view
from .indexes import selected_names
from .panels import event

MOST_NAMES = 2_000
"""Tags and classes that a page completes what is typed with."""


class SharedEvents:
    """Events of every panel."""

    @event
    def jobs(self, ctx):
        return jobs_of(ctx)

    @event
    def stop(self, ctx):
        jobs.stop(ctx.dataset, str(ctx.params["id"]))

    @event
    def resume(self, ctx):
        jobs.resume(ctx.dataset, str(ctx.params["key"]))

    @event
    def dismiss(self, ctx):
        """Has what was left unfinished not offered any more; what it has done stays."""
        jobs.dismiss(ctx.dataset, str(ctx.params["key"]))

    @event
    def embed(self, ctx):
        ctx.prompt("@alphaclip/regions/embed_regions", params={"background": True})

    @event
    def segment(self, ctx):
        ctx.prompt("@alphaclip/regions/segment_regions", params={"background": True})

    @event
    def names(self, ctx):
        """The tags and classes that the labels of the indexed fields have."""
        tags, classes = set(), set()
        for field in region_fields(ctx.dataset):
            _, path = ctx.dataset._get_label_field_path(field)
            tags.update(ctx.dataset.distinct(path + ".tags"))
            classes.update(ctx.dataset.distinct(path + ".label"))

        return {
            "tags": sorted(filter(None, tags))[:MOST_NAMES],
            "classes": sorted(filter(None, classes))[:MOST_NAMES],
        }

    @event
    def selected(self, ctx):
        """The ids of the regions that are selected in the grid or in an opened picture."""
        return {"ids": selected_names(ctx, ctx.params["keys"])}

    @event
    def open_picture(self, ctx):
        """Tells by which ``id`` and ``field`` the App opens the picture of a region; or has the
        grid show it, and is to be called again: the App cannot open what it does not have yet."""
        sample, label, field = (ctx.params.get(name) for name in ("sample", "label", "field"))
        if is_of_frames(field or ""):
            return _open_frame(ctx, field, sample)

        # A patch has the id of its label
        id_ = label if ctx.view is not None and ctx.view._is_patches else sample
        if ctx.view is None or len(ctx.view.select(id_)):
            return {"id": id_, "field": own_name(field or "")}

        if not ctx.params.get("is_again"):
            show_view(ctx, pictures_in(ctx.dataset, field, [sample]))

        return {}


def _open_frame(ctx, field, frame):
    """Does the same for a region of a frame: as a clip of that frame, since the App opens a clip
    where it begins, and whatever else is of a video at the beginning of the video."""
    videos = media_of(ctx.dataset, field).select_frames([frame])
    for video, (number,) in zip(*videos.values(["id", "frames.frame_number"]), strict=True):
        clip = (video, [number, number])
        is_of_clips = ctx.view is not None and ctx.view._is_clips
        shown = ctx.view.values(["id", "sample_id", "support"]) if is_of_clips else ([], [], [])
        for id_, *other in zip(*shown, strict=True):
            if tuple(other) == clip:
                return {"id": id_, "field": field, "frame": number}

        if not ctx.params.get("is_again"):
            show_view(ctx, videos.to_clips([[clip[1]]]))

    return {}


def jobs_of(ctx):
    """Tells of the jobs that run, and what came of the last one after the time ``since``."""
    since = ctx.params.get("since") or 0
    return {"jobs": jobs.running(ctx.dataset), "outcome": jobs.last_outcome(ctx.dataset, since)}

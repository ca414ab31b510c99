"""From a FiftyOne dataset's labels to regions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import compress
from typing import TYPE_CHECKING, Any

import numpy as np

from alphaclip.errors import AlphaClipError, ImageError, RegionError
from alphaclip.indexing.store.segments import RowIds, as_bytes
from alphaclip.regions.masks import open_mask
from alphaclip.regions.polygons import read_rings
from alphaclip.regions.region import Region

if TYPE_CHECKING:
    import fiftyone as fo

REGION_TYPES = ("Detections", "Detection", "Polylines", "Polyline")
"""Names of the FiftyOne label classes that hold regions."""

PATCHABLE = ("Detections", "Polylines")
"""Those that FiftyOne makes patches of."""

TAGS = "tags"
"""The field of a picture's own tags: its path is the picture itself."""

FRAMES = "frames."
"""Before the name of a field that frames of videos have. A frame is a picture like others then, and
its id the sample id of its regions, as FiftyOne's views of frames have it."""


_MOST_BYTES = 16_000_000
"""Of what is asked of the database at once, where 16 MiB is the most; an id takes 20 of them."""


_TO_FRAMES = (
    "make a dataset of the frames by dataset.to_frames(sample_frames=True).clone(), and pass that"
)


class ViewSizeError(AlphaClipError):
    """A FiftyOne view names so many ids that the database cannot be asked for it."""


class FieldError(AlphaClipError):
    """A field is missing, or holds no regions."""


@dataclass(frozen=True)
class Skipped:
    """A region or a picture that a job left out.

    Attributes:
        filepath: the picture
        label_id: the region, empty if the picture itself could not be used
        reason: why
    """

    filepath: str
    label_id: str
    reason: str


def is_of_frames(field: str) -> bool:
    """Whether a field is one of the frames of videos."""
    return field.startswith(FRAMES)


def own_name(field: str) -> str:
    """What a field is called in the documents that have it, and in FiftyOne's views of frames."""
    return field.removeprefix(FRAMES)


def split_attribute(path: str) -> tuple[str, str]:
    """Field and attribute of ``field.attribute``; the attribute of a name without a dot is
    empty."""
    field, dot, attribute = path.rpartition(".")
    return (field, attribute) if dot else (path, "")


def region_fields(samples: fo.SampleCollection) -> dict[str, str]:
    """The fields that hold regions, those of frames of videos too, and the label class of each."""
    import fiftyone as fo

    kinds, schemas = {}, dict(samples.get_field_schema())
    if samples._contains_videos(any_slice=True):
        of_frames = samples.get_frame_field_schema() or {}
        schemas |= {FRAMES + name: schema for name, schema in of_frames.items()}
    for name, schema in schemas.items():
        if isinstance(schema, fo.EmbeddedDocumentField):
            kind = schema.document_type.__name__
            if kind in REGION_TYPES:
                kinds[name] = kind
    return kinds


def check_field(samples: fo.SampleCollection, field: str) -> str:
    """The label class of a field that holds regions.

    Raises:
        FieldError: says what the field is, and which fields would do
    """
    kinds = region_fields(samples)
    if field in kinds:
        return kinds[field]
    fitting = ", ".join(kinds) or "none"
    stem = FRAMES if is_of_frames(field) else ""
    root, _, inner = own_name(field).partition(".")
    root = stem + root
    if root in kinds:
        raise FieldError(f"field {field!r} is inside of field {root!r}: name that one")
    schema = samples.get_field(root)
    if inner and schema is not None and not stem:
        raise FieldError(
            f"field {field!r} is inside of {root!r}: regions are read from fields of the samples "
            f"themselves; dataset.clone_sample_field({field!r}, {field.replace('.', '_')!r}) "
            f"copies it into one; fields with regions: {fitting}"
        )
    if schema is None:
        raise FieldError(
            f"dataset {samples._dataset.name!r} has no field {field!r}; fields with regions: "
            f"{fitting}"
        )
    kind = getattr(getattr(schema, "document_type", None), "__name__", str(schema))
    raise FieldError(
        f"field {field!r} holds {kind}, not regions ({', '.join(REGION_TYPES)}); fields with "
        f"regions: {fitting}"
    )


@dataclass(frozen=True)
class LabelPath:
    """Where a field's labels are in the documents of the database.

    Attributes:
        field: of the dataset
        root: the path of the list, or of the single label; empty for the pictures themselves
        is_list: whether it is a list
        of_frames: whether the documents are frames of videos
    """

    field: str
    root: str
    is_list: bool
    of_frames: bool = False

    @classmethod
    def of(cls, dataset: fo.Dataset, field: str) -> LabelPath:
        """The path of a field.

        Raises:
            FieldError: if the field is gone or holds no regions
        """
        if field == TAGS:
            return cls(field, "", False)
        kind, name, of_frames = check_field(dataset, field), own_name(field), is_of_frames(field)
        if kind in PATCHABLE:
            return cls(field, f"{name}.{kind.lower()}", True, of_frames)
        return cls(field, name, False, of_frames)

    def to(self, name: str) -> str:
        """The path of an attribute of a label."""
        return f"{self.root}.{name}" if self.root else name

    def declared(self, name: str) -> str:
        """The same as FiftyOne names it in the dataset."""
        return (FRAMES if self.of_frames else "") + self.to(name)

    def collection(self, dataset: fo.Dataset) -> Any:
        """The documents, in the database."""
        return dataset._frame_collection if self.of_frames else dataset._sample_collection

    def labels(self, document: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The labels in a sample's document."""
        value: Any = document
        for name in filter(None, self.root.split(".")):
            value = (value or {}).get(name)
        if value is None:
            return []
        return list(value) if self.is_list else [value]


def count_samples(samples: fo.SampleCollection, field: str = "") -> int:
    """How many there are, or frames, where the field is one of frames. FiftyOne's own ``len()`` of
    a dataset is an estimate of the database, which is wrong after it has ended uncleanly."""
    if not is_of_frames(field):
        return int(samples.count("id"))
    # FiftyOne would put all frames of a video into one document to count them
    is_dataset = samples is samples._dataset
    whole = samples._frame_collection.count_documents({}) if is_dataset else samples.count("frames")
    return int(whole)


def flat(samples: fo.SampleCollection) -> fo.SampleCollection:
    """The samples in all groups of a FiftyOne view that is grouped by a field, as an ordinary view;
    other samples as they are."""
    import fiftyone as fo

    if not samples._is_dynamic_groups:
        return samples
    if isinstance(samples._stages[-1], fo.GroupBy):
        # Without the grouping: FiftyOne would look through all samples for each group.
        _, _, before, _ = samples._parse_dynamic_groups()
        return before
    return samples.flatten()


def check_size(view: fo.SampleCollection, advice: str = "") -> None:
    """Checks that the database can be asked for a view.

    Args:
        view: of a dataset
        advice: what to do instead; empty says what to do with a view that somebody made

    Raises:
        ViewSizeError: if it names too many pictures or labels one by one
    """
    import bson

    size = len(bson.encode({"pipeline": view._pipeline()}))
    if size > _MOST_BYTES:
        advice = advice or (
            "tag the pictures in parts of 100,000, by dataset.select(ids).tag_samples(name), and "
            "take dataset.match_tags(name)"
        )
        raise ViewSizeError(
            f"the view names its pictures or labels one by one, in {size / 1e6:.0f} MB, and the "
            f"database takes 16 MB at once: {advice}"
        )


def images_of(samples: fo.SampleCollection) -> fo.SampleCollection:
    """The same samples, :func:`flat`; of a grouped dataset or view, the images of every slice.

    Raises:
        AlphaClipError: if they are videos
    """
    images = media_of(samples, "")
    if images.media_type == "video":
        raise AlphaClipError(
            f"{samples._dataset.name!r} holds videos, whose frames can be embedded, searched, "
            f"tagged and labelled as they are: for anything else {_TO_FRAMES}"
        )
    return images


def media_of(samples: fo.SampleCollection, field: str) -> fo.SampleCollection:
    """The same samples, :func:`flat`; of a grouped dataset or view, those of every slice that have
    pictures with such a field: images, or videos where it is a field of frames."""
    samples = flat(samples)
    if samples.media_type == "group":
        media = "video" if is_of_frames(field) else "image"
        return samples.select_group_slices(media_type=media)
    return samples


def frames_of(videos: fo.SampleCollection) -> fo.DatasetView:
    """The frames of some videos as a view; FiftyOne shows them from the videos themselves."""
    return videos.to_frames(sample_frames="dynamic", sparse=True)


def pictures_of(dataset: fo.Dataset, field: str, ids: Sequence[str]) -> fo.DatasetView:
    """Some pictures that have a field, as a view: images, or frames."""
    if is_of_frames(field):
        return frames_of(media_of(dataset, field).select_frames(list(ids)))
    return images_of(dataset).select(list(ids))


def active_slice(samples: fo.SampleCollection) -> fo.SampleCollection:
    """The samples, :func:`flat`; of a grouped collection its active slice, by name: another may be
    active next time."""
    samples = flat(samples)
    if samples.media_type == "group":
        return samples.select_group_slices(samples.group_slice)
    return samples


def active_images(samples: fo.SampleCollection, field: str = "") -> fo.SampleCollection:
    """The images that are meant: the samples themselves; of a grouped collection, the active slice.
    Or the videos, where the field is one of their frames.

    Raises:
        AlphaClipError: if they are no images, or a view of something else than samples
    """
    name = samples._dataset.name
    if samples._is_generated:
        raise AlphaClipError(
            f"samples is a view of {type(samples).__name__}: pass the dataset or a view of its "
            f"images or videos; to have the frames as pictures, {_TO_FRAMES}"
        )
    samples = flat(samples)
    where, others = f"{name!r}", ""
    if samples.media_type == "group":
        where = f"the active group slice {samples.group_slice!r} of {name!r}"
        slices = [one for one, media in samples.group_media_types.items() if media == "image"]
        others = "".join(f"; or pass dataset.select_group_slices({one!r})" for one in slices)
    images = active_slice(samples)
    check_size(images)
    if images.media_type == "video" and is_of_frames(field):
        return images
    if images.media_type == "video":
        raise AlphaClipError(
            f"{where} holds videos here: regions of their frames are embedded where the field is "
            f"named as 'frames.detections'; for anything else, {_TO_FRAMES}{others}"
        )
    if is_of_frames(field):
        raise FieldError(f"field {field!r} is of frames, and {where} holds no videos here")
    if images.media_type not in ("image", "mixed"):
        what = f"media type {images.media_type!r}" if images.media_type else "no samples"
        raise AlphaClipError(f"{where} has {what} here: regions are parts of images{others}")
    return images


def labels_of(value: Any) -> list[Any]:
    """The labels that a sample has in a field of regions."""
    if value is None:
        return []
    for name in ("detections", "polylines"):
        if hasattr(value, name):
            return list(value[name])
    return [value]


def of_each_label(samples: fo.SampleCollection, field: str, expression: Any) -> dict[str, Any]:
    """What the database makes of each label of a field, in a list for each sample or frame.

    Args:
        samples: that have the field
        field: of regions
        expression: of the database, in which ``$$this`` is the label
    """
    kind, path = samples._get_label_field_path(field)
    path = own_name(path)
    labels: dict[str, Any] = {"$cond": [{"$isArray": f"${path}"}, f"${path}", []]}
    if kind.__name__ not in PATCHABLE:
        labels = {"$cond": [{"$eq": [{"$type": f"${path}"}, "object"]}, [f"${path}"], []]}
    return {"$map": {"input": labels, "in": expression}}


LABEL_ID = {"$convert": {"input": "$$this._id", "to": "string", "onError": None, "onNull": None}}
"""The id of a label, for :func:`of_each_label`. As text: PyMongo takes ten times as long to make
an ``ObjectId``."""


def owner_of(samples: fo.SampleCollection) -> str:
    """Which field of a view says whose its labels are."""
    if samples._is_frames:
        return "frame_id" if samples._is_patches else "id"
    return "sample_id" if samples._is_generated else "id"


def label_ids(samples: fo.SampleCollection, field: str) -> RowIds:
    """The sample, or frame, and the id of each label of a field; labels that have none are left
    out."""
    owner = "id" if is_of_frames(field) else owner_of(samples)
    columns = {
        "owner": {"$toString": f"$_{owner}"},
        "ids": of_each_label(samples, field, LABEL_ID),
    }
    owners, counts, ids = [], [], []
    for document in samples._aggregate(
        frames_only=is_of_frames(field), post_pipeline=[{"$project": {"_id": 0, **columns}}]
    ):
        there = [label_id for label_id in document["ids"] if label_id is not None]
        owners.append(document["owner"])
        counts.append(len(there))
        ids += there
    return RowIds.of(np.repeat(as_bytes(owners), counts), ids, field)


def label_values(
    samples: fo.SampleCollection, field: str, *attributes: str
) -> tuple[RowIds, list[list[Any]]]:
    """The sample, or frame, and the id of each label of a field, and attributes of the labels, a
    list each."""
    kind, _ = samples._get_label_field_path(field, "id")
    paths = [samples._get_label_field_path(field, name)[1] for name in ("id", *attributes)]
    of_frames = is_of_frames(field)
    names, *columns = samples.values(["frames.id" if of_frames else owner_of(samples), *paths])
    if of_frames:
        names, *columns = map(_unwound, [names, *columns])
    owners = as_bytes(names)
    if kind.__name__ in PATCHABLE:
        owners = np.repeat(owners, [len(some or ()) for some in columns[0]])
        columns = list(map(_unwound, columns))
    there = np.array([label_id is not None for label_id in columns[0]], bool)
    if not there.all():
        owners = owners[there]
        columns = [list(compress(column, there)) for column in columns]
    return RowIds.of(owners, columns[0], field), columns[1:]


def _unwound(lists: Sequence[Sequence[Any] | None]) -> list[Any]:
    return [one for some in lists for one in some or ()]


def labels_in(view: fo.SampleCollection, dataset: fo.Dataset, field: str) -> RowIds:
    """The labels of a field in a view; where the view shows something else than the field, those
    of its pictures.

    Raises:
        AlphaClipError: if the view is one of another dataset
    """
    if view._root_dataset.name != dataset.name:
        raise AlphaClipError(
            f"view is of dataset {view._root_dataset.name!r}, the index of {dataset.name!r}: pass "
            "a view of that dataset"
        )
    check_field(dataset, field)
    name = own_name(field) if view._is_frames else field
    view = view if view._is_frames else media_of(view, field)
    check_size(view)
    if is_of_frames(field) and not view._is_frames:
        return label_ids(view, field)
    if name not in view.get_field_schema():
        # Ids come in the order of a view, once for each picture of it
        view = pictures_of(dataset, field, list(dict.fromkeys(view.values(owner_of(view)))))
        check_size(view)
    return label_ids(view, name)


def label_region(label: Any) -> Region:
    """The region of one FiftyOne label.

    Raises:
        RegionError: if its box, mask or points are unusable
    """
    import fiftyone as fo

    if isinstance(label, fo.Polyline):
        return polyline_region(label.points, label.filled)
    is_solid = label.has_field("dimensions")
    return detection_region(label.bounding_box, label.mask, label.mask_path, is_solid)


def regions_of(value: Any) -> list[tuple[Any, Region]]:
    """The labels of a field's value that can be used, with their regions."""
    regions = []
    for label in labels_of(value):
        with suppress(RegionError):
            regions.append((label, label_region(label)))
    return regions


def detection_region(box: Any, mask: Any, mask_path: Any, is_solid: bool) -> Region:
    """The region of a detection, from what FiftyOne calls so; solid is what has dimensions.

    Raises:
        RegionError: if its box or mask is unusable
    """
    if not box and is_solid:
        raise RegionError("it is a 3D box, which is no part of the picture")
    if mask is not None:
        return Region.from_mask(mask, box=box)
    if mask_path is not None:
        return Region.from_mask(_mask_file(mask_path), box=box)
    return Region.from_box(box or [])


def polyline_region(points: Any, filled: Any) -> Region:
    """The region of a polyline: where it is filled what is inside, or else its box.

    Raises:
        RegionError: if its points are unusable
    """
    if filled and any(points or ()):
        return Region.from_polygon(points)
    rings = read_rings(points or (), least=1)
    if not rings:
        raise RegionError("polyline has no points")
    corners = np.concatenate(rings)
    (left, top), (right, bottom) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
    return Region.from_box([left, top, max(right - left, 1e-6), max(bottom - top, 1e-6)])


def stray_rings(points: Any, region: Region) -> int:
    """How many rings of a polyline its region leaves out, because they have less than three
    points."""
    return len(points) - len(region.rings) if region.rings else 0


def _mask_file(path: str) -> np.ndarray:
    try:
        return open_mask(path)
    except ImageError as error:
        raise RegionError(f"mask {error}; write the mask again, or clear it") from error

"""What a search found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from alphaclip.indexing.store.segments import as_bytes, as_text

if TYPE_CHECKING:
    import fiftyone as fo

TOO_MANY = (
    "take fewer hits, or tag them, by indexing.tag(hits, name), and take "
    "dataset.select_labels(tags=name)"
)
"""What to do where there are more hits than a view can name."""

MOST = 400_000
"""Hits that a view can name: each in 40 of the 16 MB that the database takes at once."""

_FEW = 1000
"""So many hits are looked for among the labels of their pictures before patches are made. For more,
patches of all these labels are made first: the database compares labels with ids one by one, but
finds patches by theirs."""

_COLUMNS = ("sample_ids", "label_ids", "fields", "scores", "rank_scores")


@dataclass(frozen=True, eq=False)
class Hits:
    """Regions in rank order, best first.

    Attributes:
        sample_ids: str (k,)
        label_ids: str (k,)
        fields: str (k,), the field of each label
        scores: float32 (k,), cosine to the query, in [-1, 1]
        rank_scores: float32 (k,), what the order follows
        dataset: that was searched
        ranks: of a search with captions, int64 (k, 2), the rank of each by vectors and by captions,
            1 the best, 0 where the caption has none of the words; otherwise None
        query: the words that were searched for, if there were any
    """

    sample_ids: np.ndarray
    label_ids: np.ndarray
    fields: np.ndarray
    scores: np.ndarray
    rank_scores: np.ndarray
    dataset: fo.Dataset
    ranks: np.ndarray | None = None
    query: str = ""

    verify: ClassVar[Callable[..., Any]]
    """A second look at them; it is :func:`alphaclip.indexing.verify`, which stands above and sets
    it."""

    def __len__(self) -> int:
        return len(self.label_ids)

    def __repr__(self) -> str:
        """What a notebook shows: the arrays would fill it."""
        of = f" of {self.query!r}" if self.query else ""
        best = f", scores {self.scores[0]:.3f} to {self.scores[-1]:.3f}" if len(self) else ""
        return f"<{len(self):,} hits{of}{best}>"

    @property
    def region_ids(self) -> list[tuple[str, str]]:
        """The sample id and label id of each: a label that was copied to another sample keeps its
        id."""
        return list(zip(self.sample_ids.tolist(), self.label_ids.tolist(), strict=True))

    @classmethod
    def joined(cls, parts: Sequence[Hits], k: int | None, per_image: bool = False) -> Hits:
        """Hits of several indexes of one dataset in one ranking.

        Args:
            parts: of each index, at least one
            k: how many to keep; None keeps all
            per_image (False): only the best of each image
        """
        if len(parts) == 1:
            return parts[0]
        columns = [np.concatenate([getattr(hits, name) for hits in parts]) for name in _COLUMNS]
        order = np.argsort(-columns[-1], kind="stable")
        if per_image:
            _, first = np.unique(columns[0][order], return_index=True)
            order = order[np.sort(first)]
        best = {name: column[order[:k]] for name, column in zip(_COLUMNS, columns, strict=True)}
        ranks = [hits.ranks for hits in parts if hits.ranks is not None]
        both = np.concatenate(ranks)[order[:k]] if len(ranks) == len(parts) else None
        return cls(**best, dataset=parts[0].dataset, ranks=both, query=parts[0].query)

    def take(self, which: slice | np.ndarray) -> Hits:
        """Some of the hits.

        Args:
            which: a slice; int (m,) positions in the ranking, in the order wanted, 0 the best; or
                a mask (k,)
        """
        ranks = None if self.ranks is None else self.ranks[which]
        return replace(self, ranks=ranks, **{name: getattr(self, name)[which] for name in _COLUMNS})

    def once(self) -> Hits:
        """Each region once, where it ranks best."""
        first = {region: row for row, region in reversed([*enumerate(self.region_ids)])}
        return self.take(np.sort(np.array([*first.values()], np.int64)))

    def view(self) -> fo.DatasetView:
        """The hits as patches in rank order; those in videos as patches of their frames.

        FiftyOne makes no patches of single Detection and Polyline fields, of several fields at
        once, nor of labels whose id several samples have: those come as samples, in the order of
        each one's best hit, with only the labels that were found.

        Raises:
            ViewSizeError: if there are too many hits for the database, 400,000 at most
        """
        from alphaclip.indexing.dataset.labels import (
            PATCHABLE,
            ViewSizeError,
            check_field,
            check_size,
            own_name,
            pictures_of,
        )

        if not len(self):
            return self.dataset.limit(0)
        if len(self) > MOST:
            raise ViewSizeError(
                f"a view names {MOST:,} hits at most, not {len(self):,}: {TOO_MANY}"
            )
        by_field: dict[str, list[tuple[str, str]]] = {}
        for field, region in zip(self.fields.tolist(), self.region_ids, strict=True):
            by_field.setdefault(field, []).append(region)
        kinds = {name: check_field(self.dataset, name) for name in by_field}
        labels = self.label_ids.tolist()
        is_repeated = len(set(labels)) < len(set(self.region_ids))
        as_patches = len(kinds) == 1 and kinds[field] in PATCHABLE and not is_repeated
        samples = list(dict.fromkeys(self.sample_ids.tolist()))
        view = pictures_of(self.dataset, field, samples)
        view = view if as_patches else view.select(samples, ordered=True)
        for field, regions in by_field.items():
            if kinds[field] in PATCHABLE:
                view = _only(view, own_name(field), regions, len(kinds) == 1, as_patches)
        if as_patches:
            view = view.to_patches(own_name(field)).select(labels, ordered=True)
        check_size(view, TOO_MANY)
        return view

    def save_scores(self, attribute: str = "score") -> None:
        """Writes each hit's score into an attribute of its label, in one go for each field.

        Args:
            attribute: of the labels; made if need be

        Raises:
            FieldError: if the name cannot be used, or the attribute holds no numbers
        """
        from alphaclip.indexing.dataset.labels import is_of_frames, media_of
        from alphaclip.indexing.dataset.schema import check_attribute

        columns = (self.fields, self.sample_ids, self.label_ids, self.scores)
        values: dict[str, list[dict[str, Any]]] = {}
        for field, sample, label, score in zip(*(c.tolist() for c in columns), strict=True):
            its_id = "frame_id" if is_of_frames(field) else "sample_id"
            value = {its_id: sample, "label_id": label, "value": score}
            values.setdefault(field, []).append(value)
        for field in values:
            check_attribute(self.dataset, field, attribute, "FloatField")
        for field, scored in values.items():
            samples = media_of(self.dataset, field)
            _, path = samples._get_label_field_path(field, attribute)
            samples.set_label_values(path, scored, dynamic=True)


def _only(
    view: fo.DatasetView,
    field: str,
    regions: Sequence[tuple[str, str]],
    only_matches: bool,
    as_patches: bool,
) -> fo.DatasetView:
    """A view with some labels of a field only, by sample id and label id.

    Args:
        view: of all pictures that have one
        field: of the labels
        regions: sample id and label id of each
        only_matches: leave out pictures that have none
        as_patches: patches of these ids are taken from the view; where that is enough, the labels
            are left in it
    """
    from bson import ObjectId
    from fiftyone import ViewField

    from alphaclip.indexing.dataset.labels import check_size, label_ids

    check_size(view, TOO_MANY)
    there = label_ids(view, field)
    if as_patches and len(regions) > _FEW and len(np.unique(there.label_ids)) == len(there):
        return view
    labels = [label for _, label in regions]
    is_meant = ViewField("_id").is_in([ObjectId(label) for label in labels])
    # Labels of the same ids in other samples: the database takes long to compare both ids of all.
    there = there.take(np.isin(there.label_ids, as_bytes(labels)))
    columns = (as_text(there.sample_ids).tolist(), as_text(there.label_ids).tolist())
    others = set(zip(*columns, strict=True)) - set(regions)
    if others:
        sample, label = ViewField("$_id").to_string(), ViewField("_id").to_string()
        is_meant &= ~sample.concat(label).is_in(["".join(ids) for ids in sorted(others)])
    return view.filter_labels(field, is_meant, only_matches=only_matches)

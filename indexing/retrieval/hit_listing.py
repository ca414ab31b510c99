"""Hits with what a person wants to see of each: label, picture and region."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from alphaclip.errors import RegionError
from alphaclip.indexing.dataset.bulk_writes import read_labels
from alphaclip.indexing.dataset.labels import LabelPath, check_field, label_region, media_of
from alphaclip.indexing.dataset.raw_labels import read_times
from alphaclip.indexing.retrieval.hits import Hits
from alphaclip.regions.region import Region

_PICTURES = 100_000
"""Pictures that are read at once: the database takes 16 MB, and each id has some 20 bytes of it."""


@dataclass(frozen=True)
class ListedHit:
    """One hit.

    Attributes:
        rank: 1 is the best
        score: cosine to the query
        label: the region's label, None if it has none
        image: path of the picture, or address of the frame
        sample_id: of the picture or frame
        label_id: of the region; with the sample id it tells regions apart
        region: where it is, None if the label was edited and has no area any more
        tags: of the region's label
        ranks: of a search with captions: its rank by vectors and by captions, see :class:`Hits`
        attributes: of the label, such as ``label``: those that hold a text or a number
    """

    rank: int
    score: float
    label: str | None
    image: str
    sample_id: str
    label_id: str
    region: Region | None
    tags: tuple[str, ...] = ()
    ranks: tuple[int, int] | None = None
    attributes: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """All but the region, its tags and attributes, as JSON holds it."""
        names = ("rank", "score", "label", "image", "sample_id", "label_id")
        values = {name: getattr(self, name) for name in names}
        return values if self.ranks is None else {**values, "ranks": list(self.ranks)}

    def __str__(self) -> str:
        told = f"{self.rank:>4}  {self.score:.3f}  "
        if self.ranks is not None:
            vectors, captions = self.ranks
            told += f"vectors {vectors:>4}, caption {captions or '-':>4}  "
        return f"{told}{self.label or '-':<24} {self.image}"


def list_hits(hits: Hits) -> list[ListedHit]:
    """Looks the hits up in their dataset, in rank order; a region that was deleted since the index
    was built is left out.
    """
    if not len(hits):
        return []
    labels, listed = dict(_labels(hits)), list[ListedHit]()
    ranks = [None] * len(hits) if hits.ranks is None else map(tuple, hits.ranks.tolist())
    columns = zip(hits.fields.tolist(), hits.region_ids, hits.scores, ranks, strict=True)
    for rank, (field, region_id, score, both) in enumerate(columns, start=1):
        if (field, region_id) in labels:
            image, label = labels[field, region_id]
            region = None
            with suppress(RegionError):
                region = label_region(label)
            told = (rank, round(float(score), 4), label.label, image, *region_id, region)
            listed.append(ListedHit(*told, tuple(label.tags), both, _plain(label)))
    return listed


def _plain(label: Any) -> dict[str, Any]:
    return {name: one for name, one in label.iter_fields() if isinstance(one, (str, int, float))}


def _labels(hits: Hits) -> Iterator[tuple[tuple[str, tuple[str, str]], tuple[str, Any]]]:
    """Field, and sample id and label id, to path and label, of each hit.

    Only the labels that were hit are made objects: the others of their pictures take long.
    """
    import fiftyone as fo

    dataset, ids = hits.dataset, set(hits.label_ids.tolist())
    samples = list(dict.fromkeys(hits.sample_ids.tolist()))
    for field in sorted(set(hits.fields.tolist())):
        path, kind = LabelPath.of(dataset, field), check_field(dataset, field)
        pictures = media_of(dataset, field)
        for start in range(0, len(samples), _PICTURES):
            some = samples[start : start + _PICTURES]
            paths = {one.sample_id: one.filepath for one in read_times(pictures, field, some)}
            for sample, raw in read_labels(dataset, path, some, None):
                region_id = (sample, str(raw.get("_id")))
                if region_id[1] in ids and sample in paths:
                    label = getattr(fo, kind.removesuffix("s")).from_dict(raw)
                    yield (field, region_id), (paths[sample], label)

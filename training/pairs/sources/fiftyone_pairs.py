"""Pairs from a field of a FiftyOne dataset, reviewed auto-labels among them."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from alphaclip.errors import RegionError
from alphaclip.training.pairs.format.pictures import read_picture
from alphaclip.training.pairs.format.records import PairError, PairPicture, PairRegion, Skipped
from alphaclip.training.pairs.format.reports import PairsReport
from alphaclip.training.pairs.format.texts import PLAIN, label_texts
from alphaclip.training.pairs.format.writing import PairSettings, Progress, write_pairs
from alphaclip.training.pairs.sources.fiftyone_reviews import (
    RegionTexts,
    Reviewed,
    reviewed_regions,
)

if TYPE_CHECKING:
    import fiftyone as fo

logger = logging.getLogger(__name__)

TRAIN, VALIDATION = "train", "validation"
"""The folders of the two sets."""

Item = tuple[str, str, str]
"""Sample id, path of the picture, and when the sample was last changed."""


def pairs_from_dataset(
    samples: fo.SampleCollection | str,
    field: str,
    folder: Path,
    settings: PairSettings | None = None,
    text: Sequence[str] = ("label",),
    caption_field: str | None = None,
    tags: Sequence[str] | None = None,
    templates: Sequence[str] = PLAIN,
    only_reviewed: str | None = None,
    validation: float = 0.1,
    progress: Progress | None = None,
    reviews: str | None = None,
) -> dict[str, PairsReport]:
    """Writes the regions of a field as pairs, split by picture; run again, it goes on.

    With ``reviews``, the pairs are the regions that people reviewed, and their texts what they
    said: the prompts of the class, or its name in the templates. The promise's random sample is
    never among them. Pictures without a reviewed region are not read; in the others, a region that
    nobody reviewed counts as "not reviewed", and one that is none of the classes as that.

    Args:
        samples: a dataset with pictures, its name, or a view
        field: holds Detections, Detection, Polylines or Polyline
        folder: gets the sets ``train`` and ``validation``
        settings: see :class:`PairSettings`; its seed draws the split
        text: attributes of a label that hold a text, or a list of texts; ``label`` is put into
            the templates, others are taken as they are
        caption_field: a field of the samples with the caption of the whole picture
        tags: takes only samples with one of these tags
        templates: each with one ``{}``
        only_reviewed: takes only labels that have this tag, or this attribute set to what is true
        validation: share of the pictures for validation, in [0, 1); 0 writes ``train`` alone
        progress: of samples, for each of the sets
        reviews: what the regions of the field were labelled into, such as ``auto``, see
            :meth:`alphaclip.indexing.RegionIndex.label`; in place of ``text``

    Returns:
        a report for each set, by its name

    Raises:
        FieldError: if the field holds no regions; says which would do
        AlphaClipError: if there is no such dataset, or a template has no ``{}``
        PairError: if an argument does not fit, the folder holds pairs of something else, or
            nobody reviewed regions of a class
    """
    texts = _Texts(field, tuple(text), tuple(templates), caption_field, only_reviewed)
    label_texts(field, templates)  # Raises an error now, rather than leave every label out.
    if not texts.text:
        raise PairError("text names no attribute of a label: take at least 'label'")
    if reviews is not None and texts.text != ("label",):
        raise PairError(f"text and reviews are both given ({text!r}, {reviews!r}): leave one out")
    settings = settings or PairSettings()
    pictures, reviewed = _reviewed(_pictures(samples, texts, tags), texts, reviews)
    source = _Source(pictures, texts, reviewed)
    columns = pictures.values(["id", "filepath", "last_modified_at"])
    items = [(sample, path, str(changed)) for sample, path, changed in zip(*columns, strict=True)]
    parts = _split(items, validation, settings.seed)
    made = {**settings.made, **source.settings(), "tags": list(tags or ())}
    made["validation"] = validation
    return {
        name: write_pairs(
            items,
            source.make,
            folder / name,
            replace(settings, made={**made, "part": name}),
            progress,
        )
        for name, items in parts.items()
    }


@dataclass(frozen=True)
class _Texts:
    """Which labels are taken and what is said of them, see :func:`pairs_from_dataset`."""

    field: str
    text: tuple[str, ...]
    templates: tuple[str, ...]
    caption_field: str | None
    only_reviewed: str | None


def _pictures(
    samples: fo.SampleCollection | str, texts: _Texts, tags: Sequence[str] | None
) -> fo.SampleCollection:
    from alphaclip.indexing.dataset.attributes import check_attribute
    from alphaclip.indexing.dataset.labels import check_field, images_of
    from alphaclip.indexing.dataset.samples import open_dataset

    pictures = images_of(open_dataset(samples) if isinstance(samples, str) else samples)
    check_field(pictures, texts.field)
    if pictures.media_type not in ("image", None):
        raise PairError(f"the samples are of media type {pictures.media_type!r}: expected pictures")
    if texts.caption_field is not None and not pictures.has_field(texts.caption_field):
        names = ", ".join(pictures.get_field_schema())
        raise PairError(
            f"there is no field {texts.caption_field!r} with captions; there are {names}"
        )
    for attribute in {*texts.text} - {"label"}:
        check_attribute(pictures, texts.field, attribute)
    if texts.only_reviewed is not None:
        check_attribute(pictures, texts.field, texts.only_reviewed, or_tag=True)
    unknown = sorted(set(tags or ()) - {*pictures.distinct("tags")})
    if unknown:
        raise PairError(f"no sample has the tag {', '.join(unknown)}: check the view and the tags")
    return pictures.match_tags(list(tags)) if tags else pictures.view()


def _reviewed(
    pictures: fo.SampleCollection, texts: _Texts, reviews: str | None
) -> tuple[fo.SampleCollection, Reviewed | None]:
    """The pictures with a reviewed region, and the reviews; without any, all pictures."""
    if reviews is None:
        return pictures, None
    reviewed = reviewed_regions(pictures._root_dataset, reviews, texts.templates)
    some = reviewed.pictures(pictures, texts.field)
    missing = reviewed.missing(some, texts.field)
    logger.info(
        "%s: regions were reviewed in %d of %d pictures (%s); %d of these regions are not in field "
        "%r of them",
        *(reviews, len(some), len(pictures), reviewed.counts, missing, texts.field),
    )
    return some, reviewed


def _split(items: Sequence[Item], validation: float, seed: int) -> dict[str, list[Item]]:
    """Draws whole pictures, so that samples of one file stay together."""
    if not 0 <= validation < 1:
        raise PairError(f"validation is {validation}: expected a share of the pictures, 0 to 1")
    if not items:
        raise PairError("there is no sample to make pairs of: check the view and the tags")
    paths = list(dict.fromkeys(path for _, path, _ in items))
    order = np.random.default_rng(seed).permutation(len(paths))
    drawn = {paths[number] for number in order[: round(validation * len(paths))]}
    parts = {TRAIN: [item for item in items if item[1] not in drawn]}
    if validation:
        parts[VALIDATION] = [item for item in items if item[1] in drawn]
    return parts


class _Source:
    """Makes pictures of samples."""

    def __init__(
        self, pictures: fo.SampleCollection, texts: _Texts, reviewed: Reviewed | None
    ) -> None:
        from alphaclip.indexing.dataset.labels import PATCHABLE, check_field

        kind = check_field(pictures, texts.field)
        fields = [name for name in (texts.field, texts.caption_field) if name is not None]
        self._name = pictures._dataset.name
        self._stages = json.dumps(pictures._serialize(include_uuids=False), sort_keys=True)
        self._pictures = pictures.select_fields(fields)
        self._list = kind.lower() if kind in PATCHABLE else None
        self._texts = texts
        self._reviewed = reviewed
        self._said_of = reviewed.by_region(pictures, texts.field) if reviewed else {}

    def settings(self) -> dict[str, Any]:
        """What decides the pairs, beside the samples."""
        stages = hashlib.sha256(self._stages.encode()).hexdigest()[:16]
        content = {"dataset": self._name, "view": stages, **vars(self._texts)}
        if self._reviewed is not None:
            content |= {"reviews": self._reviewed.into, "reviewed": self._reviewed.digest}
        return content

    def make(self, item: Item) -> PairPicture | Skipped:
        """Makes a picture; labels that cannot be regions are left out."""
        sample_id, path, _ = item
        sample = self._pictures[sample_id]
        made = [self._region(label, sample_id) for label in self._labels(sample)]
        content, suffix = read_picture(path)
        return PairPicture(
            sample_id,
            content,
            suffix,
            tuple(region for region in made if isinstance(region, PairRegion)),
            self._caption(sample),
            f"{self._name}/{Path(path).name}",
            left_out=tuple(skipped for skipped in made if isinstance(skipped, Skipped)),
        )

    def _labels(self, sample: Any) -> Sequence[Any]:
        value = sample[self._texts.field]
        if value is None:
            return ()
        labels: Sequence[Any] = [value] if self._list is None else value[self._list]
        return labels

    def _region(self, label: Any, sample_id: str) -> PairRegion | Skipped:
        from alphaclip.indexing.dataset.labels import label_region

        where = f"{sample_id}: region {str(label.id)!r}"
        said = self._said(label, sample_id)
        if isinstance(said, str):
            return Skipped(said, where)
        try:
            region = label_region(label)
        except RegionError as error:
            return Skipped("label is no region", f"{where}: {error}")
        return PairRegion(
            region, said.texts, said.name, said.negatives, _scores(label), str(label.id)
        )

    def _said(self, label: Any, sample_id: str) -> RegionTexts | str:
        """What is said of a label, or why it is left out."""
        mark = self._texts.only_reviewed
        if mark is not None and not (mark in label.tags or _attribute(label, mark)):
            return "not reviewed"
        if self._reviewed is None:
            texts = (text for name in self._texts.text for text in self._values(label, name))
            return RegionTexts(label.label, tuple(texts))
        region = (sample_id, str(label.id))
        if region not in self._said_of:
            return "not reviewed"
        return self._said_of[region] or "none of the classes"

    def _values(self, label: Any, name: str) -> Sequence[str]:
        value = _attribute(label, name)
        if name == "label":
            return label_texts(value or "", self._texts.templates)
        several = value if isinstance(value, (list, tuple)) else [value]
        return [text for text in several if isinstance(text, str)]

    def _caption(self, sample: Any) -> str | None:
        value = None if self._texts.caption_field is None else sample[self._texts.caption_field]
        value = getattr(value, "label", value)
        return value if isinstance(value, str) else None


def _attribute(label: Any, name: str) -> Any:
    return label[name] if label.has_field(name) else None


def _scores(label: Any) -> dict[str, float]:
    confidence = _attribute(label, "confidence")
    is_number = isinstance(confidence, (int, float)) and math.isfinite(confidence)
    return {"confidence": float(confidence)} if is_number else {}

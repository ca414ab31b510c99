"""How many objects an index cannot see: a look at pictures drawn at random.

Public: :class:`Audit`, :class:`AuditReport` and :func:`open_audit`.

In each picture that was drawn, a person or a detector marks the objects of a concept that have no
region. An audit is kept with the dataset: its pictures in one record, the marks on each in a record
of their own, so that several people may mark at once, on any day.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from alphaclip.arguments import COUNT, SHARE, check, checked
from alphaclip.detectors.boxes import MOST_BOXES, GroundingSettings
from alphaclip.errors import AlphaClipError, ImageError, RegionError
from alphaclip.indexing.dataset.labels import Skipped, images_of, regions_of
from alphaclip.indexing.dataset.overlaps import most_overlap
from alphaclip.indexing.dataset.records import Records
from alphaclip.indexing.labelling.promise.binomial import CONFIDENCE, check_share
from alphaclip.indexing.labelling.promise.totals import Total, estimate_total
from alphaclip.indexing.progress import Progress, shown
from alphaclip.regions.images import open_image
from alphaclip.regions.region import Region

if TYPE_CHECKING:
    import fiftyone as fo

    from alphaclip.detectors.boxes import Grounder
    from alphaclip.indexing.retrieval.index import SearchIndex

STORE = "audits"
PICTURES = 100
MOST_MARKS = 1000
"""In a picture: more are no answer of a person."""

LEAST_OVERLAP = 0.5
"""IoU from which on a detector's box is of a region that is there, as in COCO's evaluation."""

Point = tuple[float, float]


@dataclass(frozen=True)
class AuditReport:
    """What an audit says.

    Attributes:
        concept: that was looked for
        drawn: pictures that were drawn
        unseen: objects without a region: counted in the pictures looked at, and estimated in all;
            None before any was
        confidence: of its interval
        judges: who marked, and how many pictures each, as "person"
    """

    concept: str
    drawn: int
    unseen: Total | None
    confidence: float
    judges: dict[str, int]

    def __str__(self) -> str:
        if self.unseen is None:
            return f"none of {self.drawn} pictures is looked at yet"
        total, (low, high) = self.unseen, self.unseen.interval
        judges = ", ".join(f"{name} ({count})" for name, count in sorted(self.judges.items()))
        return (
            f"about {total.estimate:,.0f} objects of “{self.concept}” have no region, {low:,.0f} "
            f"to {high:,.0f} with a confidence of {self.confidence:g}: {total.counted:,} in "
            f"{total.pictures:,} of {total.population:,} pictures, by {judges}"
        )

    def to_dict(self) -> dict[str, Any]:
        """The same in JSON values."""
        unseen = None if self.unseen is None else self.unseen.to_dict()
        return asdict(self) | {"unseen": unseen, "said": str(self)}


@dataclass(frozen=True, eq=False)
class Audit:
    """Pictures drawn at random, and the objects in them that have no region.

    Attributes:
        index: that is audited
        concept: what is looked for, in words
        pictures: sample ids, in random order
        population: pictures that they were drawn from
        confidence: of the interval
        key: of its record
    """

    index: SearchIndex
    concept: str
    pictures: tuple[str, ...]
    population: int
    confidence: float
    key: str

    @checked()
    def mark(
        self, sample_id: str, points: Sequence[Sequence[float]], judge: str = "person"
    ) -> None:
        """Keeps where the objects of a picture are that have no region, in place of earlier marks.

        Args:
            sample_id: one of the pictures
            points: relative x and y of each object; none where there is none
            judge ("person"): who says so

        Raises:
            AlphaClipError: if the picture was not drawn, or a point is not in it
        """
        if sample_id not in self.pictures:
            raise AlphaClipError(f"picture {sample_id!r:.80} is none of those that were drawn")
        marks = [[float(number) for number in point] for point in points]
        if len(marks) > MOST_MARKS or any(
            len(mark) != 2 or not all(0 <= number <= 1 for number in mark) for mark in marks
        ):
            raise AlphaClipError(
                f"points are {points!r:.120}: expected at most {MOST_MARKS} pairs of x and y, from "
                "0 to 1"
            )
        self._records.set(f"{self.key}/{sample_id}", {"points": marks, "judge": judge})

    def unmark(self, sample_id: str) -> None:
        """Forgets the marks on a picture: nobody has looked at it then."""
        self._records.delete(f"{self.key}/{sample_id}")

    @property
    def marks(self) -> dict[str, list[Point]]:
        """The marks by sample id, of the pictures that were looked at."""
        return {sample: points for sample, (points, _) in self.answers().items()}

    @checked(least_overlap=SHARE)
    def detect(
        self,
        model: str | Path | Grounder = "auto",
        least_overlap: float = LEAST_OVERLAP,
        device: str | None = None,
        progress: Progress | None = None,
    ) -> list[Skipped]:
        """Marks the pictures that nobody has looked at by a detector's boxes that are on no region.

        It counts what the detector sees, and the report says whose eyes they were.

        Args:
            model ("auto"): see :func:`alphaclip.indexing.verify`
            least_overlap (0.5): IoU from which on a box is of a region
            device (None): a torch device; None takes a GPU if there is one
            progress (None): told how far it is; None shows a bar in the terminal

        Returns:
            pictures that could not be read, and why; they stay unmarked
        """
        from alphaclip.indexing.word_detectors import installed_detector, open_detector

        if isinstance(model, str | Path):
            judge = installed_detector() if model == "auto" else str(model)
            detector = open_detector(judge, device, GroundingSettings(most_boxes=MOST_BOXES))
        else:
            judge, detector = model.name, model
        marks, skipped = self.marks, []
        todo = [sample_id for sample_id in self.pictures if sample_id not in marks]
        # In the order of the draw, so that those before a stop are a random sample too.
        images = images_of(self.index.dataset).select(todo, ordered=True)
        with shown(progress) as show:
            samples = images.select_fields(self.index.field).iter_samples()
            for number, sample in enumerate(samples, 1):
                try:
                    (boxes,) = detector.ground(open_image(sample.filepath), [self.concept])
                    seen = [Region.from_box(box.box) for box in boxes]
                except (ImageError, RegionError) as error:  # a detector may be the user's own
                    skipped.append(Skipped(sample.filepath, "", str(error)))
                    continue
                regions = [region for _, region in regions_of(sample[self.index.field])]
                points = [
                    ((box.corners[0] + box.corners[2]) / 2, (box.corners[1] + box.corners[3]) / 2)
                    for box, region in zip(boxes, seen, strict=True)
                    if most_overlap(region, regions) < least_overlap
                ]
                # A person may have marked it meanwhile.
                if self._records.get(f"{self.key}/{sample.id}") is None:
                    self.mark(sample.id, points, judge)
                show("pictures looked at", number, len(todo))
        return skipped

    def report(self) -> AuditReport:
        """The estimate, from the pictures that were looked at so far: who goes through them in the
        order of the draw may stop early."""
        answers, judges = self.answers(), dict[str, int]()
        for _, judge in answers.values():
            judges[judge] = judges.get(judge, 0) + 1
        counts = np.array([len(points) for points, _ in answers.values()], np.int64)
        unseen = estimate_total(counts, self.population, self.confidence)
        return AuditReport(self.concept, len(self.pictures), unseen, self.confidence, judges)

    def answers(self) -> dict[str, tuple[list[Point], str]]:
        """The points and the judge of each picture that was looked at, in the order of the draw."""
        answers = {}
        for sample_id in self.pictures:
            with self._records.reading(f"{self.key}/{sample_id}") as value:
                if value is not None:
                    answers[sample_id] = ([(x, y) for x, y in value["points"]], value["judge"])
        return answers

    @property
    def _records(self) -> Records:
        return Records(self.index.dataset, STORE)


@checked(pictures=COUNT)
def open_audit(
    index: SearchIndex,
    samples: fo.SampleCollection,
    concept: str,
    pictures: int = PICTURES,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> Audit:
    """Draws pictures, or goes on with those that were drawn for the same; see
    :meth:`alphaclip.indexing.RegionIndex.audit`.

    Args:
        index: to audit
        samples: the pictures that it was built on
        concept, pictures, confidence, seed: see there

    Raises:
        AlphaClipError: if the concept is empty, there are no pictures, or the confidence is none
    """
    concept = check("concept", concept, "str").strip()
    if not concept:
        raise AlphaClipError("concept is empty: say what to look for, such as 'excavator'")
    check_share("confidence", confidence)
    subject = json.dumps([index.key, concept, pictures, seed])
    key, records = hashlib.sha256(subject.encode()).hexdigest()[:24], Records(index.dataset, STORE)
    with records.reading(key) as kept:
        if kept is not None:
            drawn, population = tuple(kept["pictures"]), int(kept["population"])
            return Audit(index, concept, drawn, population, confidence, key)
    ids = np.array(sorted(images_of(samples).values("id")))
    if not len(ids):
        raise AlphaClipError(f"index {index.key!r} has no pictures: there is nothing to audit")
    drawn = tuple(np.random.default_rng(seed).permutation(ids)[:pictures].tolist())
    about = {"concept": concept, "index": index.key, "seed": seed}
    records.set(key, {**about, "pictures": list(drawn), "population": len(ids)})
    return Audit(index, concept, drawn, len(ids), confidence, key)

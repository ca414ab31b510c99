"""What people said of a dataset's regions when they reviewed its labels, as texts for pairs.

The promise's random sample is never in it: it is used for nothing but the promise.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import TYPE_CHECKING

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.store.ids import Lookup
from alphaclip.indexing.store.segments import as_text
from alphaclip.training.pairs.format.records import PairError
from alphaclip.training.pairs.format.texts import PLAIN, label_texts

if TYPE_CHECKING:
    import fiftyone as fo

    from alphaclip.indexing.labelling.scoring.classes import ClassSet

WHERE = "in the App's panel “Label regions”, or with alphaclip.indexing's add_reviews"
"""Where regions are reviewed."""


@dataclass(frozen=True)
class RegionTexts:
    """What is said of a region.

    Attributes:
        name: of its class; None if it has none
        texts: each is right for it
        negatives: texts that are wrong for it
    """

    name: str | None
    texts: tuple[str, ...]
    negatives: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Reviewed:
    """The reviewed regions of a dataset that may be trained on.

    Attributes:
        into: what the regions were labelled into
        key: of the index that they were labelled from
        said: name of a region, see :class:`alphaclip.indexing.Example`, to what people said of it;
            None is "none of these"
    """

    into: str
    key: str
    said: Mapping[str, RegionTexts | None]

    @property
    def digest(self) -> str:
        """A hash of all that was said."""
        said = {key: one and vars(one) for key, one in sorted(self.said.items())}
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16]

    @property
    def counts(self) -> str:
        """How many there are, in words."""
        of_class = sum(one is not None for one in self.said.values())
        return f"{of_class} of a class and {len(self.said) - of_class} of none"

    def pictures(self, samples: fo.SampleCollection, field: str) -> fo.SampleCollection:
        """The samples that have a reviewed region.

        Args:
            samples: pictures
            field: with the regions

        Raises:
            PairError: if there is none
        """
        label_ids = [name.rpartition("-")[2] for name in self.said]
        named = samples.match_labels(ids=label_ids, fields=field)
        if not len(named):
            raise PairError(
                f"none of the {len(self.said)} reviewed regions is in field {field!r} of these "
                f"samples: take the field of index {self.key!r}, whose regions were labelled into "
                f"{self.into!r}, and a view that holds them; deleted regions cannot be trained on"
            )
        return named

    def missing(self, samples: fo.SampleCollection, field: str) -> int:
        """How many reviewed regions a field of the samples does not have: deleted since, or of
        other samples."""
        from alphaclip.indexing.dataset.labels import label_ids

        there = label_ids(samples, field)
        columns = (as_text(there.sample_ids).tolist(), as_text(there.label_ids).tolist())
        here = set(zip(*columns, strict=True)) & self.by_region(samples, field).keys()
        return len(self.said) - len(here)

    def by_region(
        self, samples: fo.SampleCollection, field: str
    ) -> dict[tuple[str, str], RegionTexts | None]:
        """Sample id and label id, of the regions that are in a field of the samples' dataset, to
        what people said of them."""
        from alphaclip.indexing.dataset.labels import images_of, label_ids

        ids = label_ids(images_of(samples._root_dataset), field)
        rows = Lookup(ids).find_named(list(self.said))
        found = ids.take(rows[rows >= 0])
        said = compress(self.said.values(), rows >= 0)
        keys = zip(
            as_text(found.sample_ids).tolist(), as_text(found.label_ids).tolist(), strict=True
        )
        return dict(zip(keys, said, strict=True))


def reviewed_regions(dataset: fo.Dataset, into: str, templates: Sequence[str] = PLAIN) -> Reviewed:
    """What people said of the regions that were labelled into a place.

    A region's texts are the prompts of the class that most of its reviewers named; where the
    labelling kept none, the class's name in the templates. Skipped and disputed regions are not
    in it.

    Args:
        dataset: whose regions
        into: the field or attribute that was labelled into
        templates: each with one ``{}``

    Raises:
        PairError: if nothing was labelled into it, or no region of a class was reviewed
    """
    from alphaclip.indexing.labelling.review.runs import book_of, labelled_fields, labelling_of
    from alphaclip.indexing.labelling.scoring.classes import ClassSet

    labelling = labelling_of(dataset, into)
    if labelling is None:
        others = ", ".join(labelled_fields(dataset)) or "none"
        raise PairError(
            f"reviews is {into!r:.80}: nothing was labelled into it; places that dataset "
            f"{dataset.name!r} was labelled into: {others}"
        )
    book = book_of(dataset, labelling)
    classes = ClassSet(labelling.class_set) if labelling.class_set else None
    answers = book.examples()
    if not any(answers.values()):
        raise PairError(
            f"{into!r}: nobody has named the class of a region that may be trained on "
            f"({len(answers)} are none of the classes; {len(book.settled('promise'))} answers are "
            f"of the promise's sample, which is never trained on): review regions of the queue, "
            f"{WHERE}"
        )
    said_of = {key: _texts(answer, classes, templates) for key, answer in answers.items()}
    return Reviewed(into, labelling.key, said_of)


def _texts(
    answer: str | None, classes: ClassSet | None, templates: Sequence[str]
) -> RegionTexts | None:
    if answer is None:
        return None
    try:
        named = None if classes is None else classes[classes.number(answer)]
    except AlphaClipError:
        named = None  # Named by a reviewer, and no class of the last run.
    if named is None:
        return RegionTexts(answer, label_texts(answer, templates))
    texts = named.prompts or label_texts(named.name, templates)
    return RegionTexts(named.name, texts, named.negatives)

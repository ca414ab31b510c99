"""The index of a dataset's regions: searched, kept up to date, and used to tag and label."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alphaclip.arguments import checked
from alphaclip.encoder.encoder import Encoder
from alphaclip.encoder.load import encoder_of
from alphaclip.encoder.load import load as load_encoder
from alphaclip.indexing.act.actions import Action
from alphaclip.indexing.brain.copies import Copy
from alphaclip.indexing.brain.syncing import sync
from alphaclip.indexing.dataset.locations import (
    check_key,
    deleting_index,
    has_run,
    index_folder,
    no_index,
    own_folder,
    store_id,
)
from alphaclip.indexing.embedding.building import (
    Freshness,
    embed,
    folder_for,
    freshness,
    plan,
    settings_in,
    settings_of,
)
from alphaclip.indexing.embedding.changes import Changes, ChangeWatch
from alphaclip.indexing.embedding.engines.running import run
from alphaclip.indexing.embedding.label_reader import Identify, samples_of
from alphaclip.indexing.embedding.merging import MergeReport, merge
from alphaclip.indexing.embedding.plans import read_plan
from alphaclip.indexing.explore import verification  # noqa: F401  It gives hits their method.
from alphaclip.indexing.explore.concepts import score_new
from alphaclip.indexing.labelling.auditing import Audit, open_audit
from alphaclip.indexing.labelling.label_dataset import Reviews, label_dataset
from alphaclip.indexing.labelling.report import LabelReport
from alphaclip.indexing.labelling.review.queueing import ReviewQueue
from alphaclip.indexing.labelling.scoring.classes import Classes
from alphaclip.indexing.labelling.settings import LabelSettings
from alphaclip.indexing.labelling.tagging import tag_matching
from alphaclip.indexing.language.runs import LanguageReport, Order, asking, describing
from alphaclip.indexing.nearest.engine import move_cache
from alphaclip.indexing.progress import Progress, shown
from alphaclip.indexing.retrieval.hits import Hits
from alphaclip.indexing.retrieval.index import SearchIndex
from alphaclip.indexing.retrieval.queries import Query
from alphaclip.indexing.similarity import register_run
from alphaclip.indexing.store.manifests import has_store
from alphaclip.indexing.store.store import StoreWriter, writing
from alphaclip.language.describer import Describer
from alphaclip.language.loading import open_describer

if TYPE_CHECKING:
    import fiftyone as fo

    from alphaclip.detectors.boxes import Grounder

logger = logging.getLogger(__name__)


@checked()
def load(
    dataset: fo.Dataset, key: str = "regions", engine: str | None = None, **settings: Any
) -> RegionIndex:
    """Opens an index; nothing is read before it is needed.

    Args:
        dataset: whose index
        key: of the index
        engine (None): the Brain run of a copy of it, made by :func:`alphaclip.indexing.export`, to
            be searched in that engine: it proposes regions, and this index's vectors score them,
            so scores are the same
        **settings: to reach the engine with, as ``dataset.load_brain_results`` takes them, where
            they are neither in FiftyOne's Brain config nor as they were when the copy was made or
            last brought in step; passwords are not remembered

    Raises:
        AlphaClipError: if the dataset has no index of this name, or it no such copy; says which
            there are
    """
    if not has_store(index_folder(dataset, key)):
        raise no_index(dataset, key)
    copy = None if engine is None else Copy(dataset, key, engine, settings)
    return RegionIndex(dataset, key, copy=copy)


@checked(identify=Identify)
def build(
    samples: fo.SampleCollection,
    field: str,
    encoder: str | Path | Encoder = "auto",
    key: str = "regions",
    overwrite: bool = False,
    progress: Progress | None = None,
    identify: Identify = "stat",
    engine: str | None = None,
    workers: int = 2,
    every: int = 1,
) -> RegionIndex:
    """Embeds every region of a field and makes them searchable.

    A build that was interrupted goes on where it was when it is run again.

    Args:
        samples: a dataset or view of images or videos; of a grouped dataset, the active slice
        field: a field of Detections, Detection, Polylines or Polyline; of videos, one of their
            frames, as ``frames.detections``: they are decoded as they are embedded
        encoder: see :func:`alphaclip.load`
        key: what the index is called
        overwrite (False): replace an index of this name; vectors that still hold are kept
        progress (None): told how far it is; None shows bars in the terminal
        identify ("stat"): how an edited picture is told: by size and time of change, or by its
            "content", which is read for it
        engine (None): runs workers side by side, see :func:`alphaclip.indexing.run`; None embeds in
            this process
        workers (2): of the engine
        every (1): n for every nth frame of each video, from the first

    Returns:
        the index; its :attr:`~RegionIndex.info` has the report

    Raises:
        AlphaClipError: if the field holds no regions, nothing could be embedded, the key is taken
            or malformed, or the index is being written by another process
    """
    if engine is not None:
        planned = plan(
            samples, field, encoder, key, overwrite, progress, identify, workers, every=every
        )
        run(planned.folder, engine, workers, progress=progress)
        return merge_plan(samples._dataset, key)
    folder = folder_for(samples, field, key, overwrite, every)
    loaded = load_encoder(encoder)
    settings = settings_of(samples, field, loaded, identify, every)
    with shown(progress) as show:
        with writing(folder, mend=True) as writer:
            report = embed(writer, samples, settings, loaded, show)
        return _register(samples._dataset, key, loaded, report, show)


@checked()
def merge_plan(dataset: fo.Dataset, key: str = "regions") -> RegionIndex:
    """Publishes an index whose planned shards are all embedded.

    Raises:
        PlanError: if there is no plan, or a shard is not embedded yet
    """
    with writing(own_folder(dataset, key), mend=True) as writer:
        planned = read_plan(writer.folder / "work")
        encoder = encoder_of(planned.settings)
        report = merge(writer, planned)
    with shown(None) as show:
        return _register(dataset, key, encoder, report, show)


@checked()
def resume(
    dataset: fo.Dataset, key: str = "regions", progress: Progress | None = None
) -> RegionIndex:
    """Goes on with a build or an update that was ended before its time, as it was begun.

    What it has embedded is not embedded again; labels are read anew.

    Args:
        dataset: whose index
        key: one of :func:`alphaclip.indexing.unfinished`
        progress (None): told how far it is; None shows bars in the terminal

    Returns:
        the index

    Raises:
        PlanError: if there is nothing to go on with
        AlphaClipError: see :func:`build`
    """
    index, _ = _embed_again(dataset, key, _planned_settings, None, progress)
    return index


class RegionIndex(SearchIndex):
    """The regions of one field of a dataset; made by :func:`build` and :func:`load`.

    Args:
        dataset: whose regions
        key: of the index
        encoder (None): the one it was built with; None loads it by name when text or an example
            is first searched
        copy (None): in whose engine it is searched
    """

    def __init__(
        self,
        dataset: fo.Dataset,
        key: str,
        encoder: Encoder | None = None,
        copy: Copy | None = None,
    ) -> None:
        super().__init__(dataset, key, copy)
        self._built_with = encoder
        self._watch = ChangeWatch()

    @cached_property
    def encoder(self) -> Encoder:
        """The encoder that the index was built with.

        Raises:
            AlphaClipError: if the model of that name has other weights, or another view, now
        """
        return encoder_of(self.snapshot().version.info, self._built_with)

    def freshness(self, progress: Progress | None = None) -> Freshness:
        """How many regions are new, edited or gone since they were embedded; looks at all pictures,
        and reads the labels of those that FiftyOne has written since.

        Args:
            progress (None): told how far it is; None shows a bar in the terminal
        """
        return freshness(self.dataset, self.snapshot().version, progress)

    def changes(self) -> Changes:
        """What has changed since the index was made, told quickly enough to be asked often: where
        nothing was modified since, in some thousandths of a second.

        Only pictures that FiftyOne says were modified are looked at, some at a time; see
        :meth:`freshness` for a look at all, which also finds pictures whose file was replaced.
        """
        return self._watch.look(self.dataset, self.snapshot())

    def update(self, progress: Progress | None = None) -> MergeReport:
        """Embeds regions that are new or edited, and drops those that are gone.

        What an index was built on is looked at again: the dataset, or the view as it is now.
        Damaged pieces of the store are embedded again. An interrupted update goes on where it was
        when it is run again. Where a picture cannot be reached, its vectors stay. What is new is
        scored for the concepts that are watched, see :func:`keep_concept`. A copy that it is
        searched by is brought in step.

        Args:
            progress (None): told how far it is; None shows bars in the terminal

        Returns:
            how many regions there are, were embedded, kept, dropped and skipped
        """
        _, report = _embed_again(self.dataset, self.key, settings_in, self._built_with, progress)
        if self.copy is not None:
            sync(self, self.copy.brain_key, progress)
        return report

    def compact(self) -> tuple[int, int]:
        """Writes the vectors of many shards or updates anew, in few segment files: a version is
        opened and searched a little faster then. Every byte is checked first.

        Returns:
            how many segment files there were, and are

        Raises:
            StoreError: if one is damaged, or the disk has no room for a second copy
        """
        with writing(own_folder(self.dataset, self.key)) as writer:
            before = writer.base
            if before is None:
                raise no_index(self.dataset, self.key)
            after = writer.compact() or before
            if after is not before:
                metric = before.info.get("metric", "cosine")
                move_cache(writer.folder / "cache", before.table, after.table, metric)
        return len(before.segments), len(after.segments)

    def tag(
        self,
        query: Query,
        tag: str,
        min_score: float,
        negative: Query | None = None,
        samples: bool = False,
        new_only: bool = False,
    ) -> Action:
        """Tags every region that matches a query; what has the tag stays as it is.

        Args:
            query: see :meth:`search`
            tag: to add
            min_score: the lowest cosine to the query, in [-1, 1]
            negative (None): what to avoid: regions that are more like it than like the query
            samples (False): tag the pictures instead
            new_only (False): look only at regions that are new or edited since this was last run
                with the same query

        Returns:
            what was done, for :func:`alphaclip.indexing.undo`

        Raises:
            AlphaClipError: if the tag or the query is empty, or the score is no cosine
        """

        return tag_matching(self, query, tag, min_score, negative, samples, new_only)

    @checked()
    def label(
        self,
        classes: Classes,
        into: str = "auto",
        precision: float | None = None,
        confidence: float = 0.9,
        reviews: Reviews = None,
        training: Mapping[str, str | None] | None = None,
        progress: Progress | None = None,
        scorer: str | Path | Describer | None = None,
        **options: Any,
    ) -> LabelReport:
        """Gives regions a class where the stated precision can be promised, and queues the rest.

        The first run draws a random sample;
        :func:`alphaclip.indexing.labelling.review.runs.add_reviews` or ``reviews`` say what its
        regions are. Once all are reviewed, the sample is tested, once,
        and what passes is written. Later runs keep the threshold, after a look whether new regions
        are like the reviewed ones. Where nothing passes, the next run learns from the sample and
        draws another; the confidence holds over all tests together.

        Args:
            classes: names, :class:`LabelClass` objects, or their JSON values
            into: a field for copies linked by ``source_id``; or ``field.attribute``, in place
            precision (None): share of the written labels that is to be right, in (0, 1); None
                writes every answer, as a ranking
            confidence: of the promise, in (0, 1)
            reviews (None): label id to the right class, None for "none of these"; or an attribute
                that holds it, as ``ground_truth.label``. Only what it says of the sample is used
            training (None): label id to class of regions to learn from; reviews of the queue come
                to them
            progress (None): told how far it is; None shows a bar in the terminal
            scorer (None): a language model, or its name, see :func:`alphaclip.language.load`, that
                is asked about every region in place of the vectors: the texts of the classes are
                its choices. The promise is the same: it is tested, whatever the scores are
            options: the others of :class:`alphaclip.indexing.labelling.settings.LabelSettings`

        Raises:
            AlphaClipError: if classes contradict each other, the precision cannot be tested, the
                target does not fit, or regions to learn from are in the sample
        """
        describer = None if scorer is None else open_describer(scorer)
        named = None if describer is None else describer.name
        settings = LabelSettings(into, precision, confidence, scorer=named, **options)
        return label_dataset(self, classes, settings, reviews, training, progress, describer)

    def audit(
        self,
        concept: str,
        pictures: int = 100,
        confidence: float = 0.9,
        seed: int = 0,
        detector: str | Path | Grounder | None = None,
    ) -> Audit:
        """Draws pictures at random, in which a person or a detector marks the objects of a concept
        that have no region; its report estimates how many objects the index cannot see.

        Called again with the same concept, number and seed it goes on with the same pictures and
        marks.

        Args:
            concept: in words, such as "excavator"
            pictures (100): to draw
            confidence (0.9): of the interval, in (0, 1)
            seed (0): of the draw
            detector (None): marks the pictures that nobody has looked at, and the report says so;
                see :meth:`Audit.detect`, which also tells of pictures that cannot be read

        Raises:
            AlphaClipError: if the concept is empty, there are no pictures, or the detector cannot
                be had
        """
        samples = samples_of(self.dataset, self.snapshot().version.info)
        audit = open_audit(self, samples, concept, pictures, confidence, seed)
        if detector is not None:
            audit.detect(detector)
        return audit

    def describe(
        self,
        into: str = "caption",
        model: str | Path | Describer = "auto",
        prompt: str | None = None,
        view: fo.SampleCollection | Hits | ReviewQueue | Sequence[str] | None = None,
        limit: int | None = None,
        progress: Progress | None = None,
        overwrite: bool = False,
    ) -> LanguageReport:
        """Has a language model describe regions, and writes what it says to their labels.

        A run that was ended goes on when it is run again; a later one describes only regions that
        are new or edited since, as :meth:`update` has seen them. ``describing`` of
        :mod:`alphaclip.indexing.language.runs` says before how long it takes.

        Args:
            into ("caption"): the attribute for the text; ``<into>_by`` gets the model's name and
                fingerprint, ``<into>_loglik`` the mean log-likelihood of a token
            model ("auto"): what :func:`alphaclip.language.load` gives or loads by name. One that
                sees vectors gets those of the index, and no picture is opened
            prompt (None): what to say; None asks for a short sentence. May name attributes of the
                labels in braces
            view (None): a FiftyOne view, hits, a review queue, or names of regions, see
                :class:`Example`; None takes all
            limit (None): only the first so many
            progress (None): told how far it is; None shows a bar in the terminal
            overwrite (False): also what somebody else has written into the attribute

        Returns:
            what was done; its ``action`` is for :func:`alphaclip.indexing.undo`

        Raises:
            FieldError: if the attribute cannot be written, or no label has one that is named
            AlphaClipError: if there are no such regions, or the model cannot be had
            StoreBusyError: if the same run is on its way elsewhere
        """
        regions = _names_in(view)
        return describing(self, into, model, prompt, regions, limit, overwrite).run(progress)

    def ask(
        self,
        question: str,
        choices: Sequence[str] = ("yes", "no"),
        into: str = "answer",
        model: str | Path | Describer = "auto",
        view: fo.SampleCollection | Hits | ReviewQueue | Sequence[str] | None = None,
        limit: int | None = None,
        order: Order | None = None,
        reviews: str | None = None,
        progress: Progress | None = None,
        overwrite: bool = False,
    ) -> LanguageReport:
        """Asks a language model about regions, and writes its answers to their labels.

        Each choice is scored by how likely it is; nothing is parsed. See :meth:`describe` for how
        it goes on, and for what is not told here.

        Args:
            question: may name attributes of the labels in braces, ``is this a {label}?``
            choices: what may be answered
            into ("answer"): the attribute for the choice; ``<into>_score`` gets its score, or
                ``<into>_p`` its probability once reviews were given, ``<into>_by`` who said it
            model, view, limit, progress, overwrite: see :meth:`describe`
            order (None): "uncertain" takes first the regions of whose answer in ``into`` another
                model was least sure
            reviews (None): ``field.attribute`` that holds the right choice of at least 50 regions;
                these are asked too. What is fitted on them stays for later runs

        Raises:
            AlphaClipError: see :meth:`describe`; or if there are too few reviews
        """
        regions = _names_in(view)
        options = (into, model, regions, limit, order, reviews, overwrite)
        return asking(self, question, choices, *options).run(progress)

    def delete(self) -> None:
        """Removes the index and its Brain run; the dataset's labels stay as they are.

        A deletion that was cut off goes on when it is run again.

        Raises:
            KeyNameError: if the Brain run of this name is not the index's
            StoreBusyError: if the index is being written
        """
        from fiftyone.core.brain import BrainMethod

        has_run(self.dataset, self.key)
        check_key(self.dataset, self.key)
        # First the run: an index without one is still found, a run without an index is not.
        with deleting_index(self.dataset, self.key):
            while has_run(self.dataset, self.key):
                BrainMethod.delete_run(self.dataset, self.key, cleanup=False)


def _names_in(view: Any) -> Any:
    """The names of the regions of a review queue; all else as it is."""
    return [item.label_id for item in view.items] if isinstance(view, ReviewQueue) else view


def _planned_settings(writer: StoreWriter) -> dict[str, Any]:
    return read_plan(writer.folder / "work").settings


def _embed_again(
    dataset: fo.Dataset,
    key: str,
    settings_of_store: Callable[[StoreWriter], dict[str, Any]],
    encoder: Encoder | None,
    progress: Progress | None,
) -> tuple[RegionIndex, MergeReport]:
    """Embeds what has no vector yet, with the settings that a store names."""
    with shown(progress) as show:
        with writing(own_folder(dataset, key), mend=True) as writer:
            settings = settings_of_store(writer)
            loaded = encoder_of(settings, encoder)
            samples = samples_of(dataset, settings)
            report = embed(writer, samples, settings, loaded, show, anew=False)
        return _register(dataset, key, loaded, report, show), report


def _register(
    dataset: fo.Dataset, key: str, encoder: Encoder, report: MergeReport, show: Progress
) -> RegionIndex:
    """Makes what was published known to FiftyOne, and its FAISS index where it takes long."""
    logger.info(
        "%s: %d regions, of them %d added, %d edited; %d gone, %d skipped",
        key, report.regions, report.added, report.edited, report.gone, len(report.skipped),
    )  # fmt: skip
    index = RegionIndex(dataset, key, encoder=encoder)
    index.prepare(show)
    register_run(dataset, key, store_id(dataset, key), encoder.name, index.field)
    score_new(index)
    return index

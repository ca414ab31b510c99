"""A copy of an index, its vectors in another engine, and search through it: the engine proposes
regions, the index's own vectors decide.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cached_property
from threading import RLock
from typing import TYPE_CHECKING, Any

import numpy as np

from alphaclip.errors import AlphaClipError
from alphaclip.files import DamagedError, Stamp, file_stamp
from alphaclip.indexing.brain.held import RECORD, Held, read_held, write_held
from alphaclip.indexing.brain.vector_engines.engines import (
    REACHED_BY,
    check_client,
    engine_of,
    not_in_config,
    public_in,
    title_of,
)
from alphaclip.indexing.brain.vector_engines.vector_engine import VectorEngine
from alphaclip.indexing.dataset.locations import copies, store_folder
from alphaclip.indexing.nearest.brute_force import nothing, rescore, scan_top
from alphaclip.indexing.nearest.exact import search_few
from alphaclip.indexing.nearest.metrics import prepare
from alphaclip.indexing.nearest.tuning import QUERIES, make_queries, measure
from alphaclip.indexing.retrieval.snapshot import Snapshot
from alphaclip.indexing.store.segments import as_bytes
from alphaclip.indexing.store.store import StoreVersion

if TYPE_CHECKING:
    import fiftyone as fo
    from fiftyone.brain import SimilarityIndex

logger = logging.getLogger(__name__)

FEW = 16384
"""So few regions that may be found are compared here, one by one, none of which is missed: to send
their ids to an engine takes as long."""

MANY = 64
"""More queries at once are a job that looks at a whole index, and answered here: each would be a
request of its own."""

OVERSAMPLE, LEAST_CANDIDATES, MORE = 2, 100, 4
"""Candidates for each region to find, and at least: an engine rounds, and leaves some out. So many
times more where too few of them may be found."""

RECALL_K, RECALL_QUERIES = 20, QUERIES // 4


class Copy:
    """A copy of an index, opened: its engine is reached when it is first needed.

    Args:
        dataset: whose index
        key: of the index
        brain_key: of the copy's run
        settings: to reach the engine with, as ``dataset.load_brain_results`` takes them
        run (None): where it is open already

    Raises:
        AlphaClipError: if there is no such copy of this index
    """

    def __init__(
        self,
        dataset: fo.Dataset,
        key: str,
        brain_key: str,
        settings: Mapping[str, Any],
        run: SimilarityIndex | None = None,
    ) -> None:
        of_dataset = copies(dataset)
        if of_dataset.get(brain_key) != key:
            names = [copy for copy, index in of_dataset.items() if index == key]
            raise AlphaClipError(
                f"index {key!r} of dataset {dataset.name!r} has no copy {brain_key!r:.80}; it has: "
                f"{', '.join(names) or 'none'}. indexing.export(index, BACKEND, NAME) makes one"
            )
        if not dataset.has_brain_run(brain_key):
            dataset.reload()
        config = dataset.get_brain_info(brain_key).config
        self.dataset, self.key, self.brain_key = dataset, key, brain_key
        self.method, self.folder = str(config.method), store_folder(config.store)
        self.title = title_of(self.method)
        self._reached_by = dict(getattr(config, REACHED_BY, None) or {})
        self.settings, self._run, self._lock = settings, run, RLock()
        self._held: tuple[Stamp | None, Held | None] = (None, None)

    @cached_property
    def engine(self) -> VectorEngine:
        """Where the vectors are.

        Raises:
            AlphaClipError: if the client is one that the Brain cannot use
        """
        check_client(self.method)
        # The Brain's own is shared: who restricts it to a view would restrict these searches, too.
        settings = {**not_in_config(self.method, self._reached_by), **self.settings}
        run = self._run or self.dataset.load_brain_results(
            self.brain_key, cache=False, load_view=False, **settings
        )
        return engine_of(run)

    def note_address(self) -> None:
        """Writes down in its run how its engine is reached, where that is another than before."""
        public = public_in(self.settings)
        with self.reaching() as engine:
            if public and public != self._reached_by:
                setattr(engine.run.config, REACHED_BY, public)
                engine.run.save_config()
                self._reached_by = public

    @contextmanager
    def reaching(self) -> Iterator[VectorEngine]:
        """Gives the engine, to be asked inside, by one thread at a time.

        Raises:
            AlphaClipError: whatever goes wrong there; each client raises its own
        """
        try:
            with self._lock:
                yield self.engine
        except AlphaClipError:
            raise
        except Exception as error:
            vars(self).pop("engine", None)  # a connection that broke is made anew the next time
            raise AlphaClipError(
                f"copy {self.brain_key!r} in {self.title} cannot be used: {error!s:.300}. If the "
                f"engine is down, start it; indexing.load(dataset, {self.key!r}) searches without"
            ) from error

    def held(self) -> Held | None:
        """What it holds; None if that is not known."""
        path = self.folder / RECORD
        stamp = file_stamp(path)
        if stamp is None or stamp != self._held[0]:
            if self._held[0] is not None:
                # What was loaded anew by another process is another table.
                vars(self).pop("engine", None)
                self._run = None
            try:
                self._held = (stamp, read_held(path))
            except DamagedError as error:
                logger.warning("%s", error)
                self._held = (stamp, None)
        return self._held[1]

    def note(self, held: Held) -> None:
        """Writes down what it holds."""
        write_held(self.folder, held)
        self._held = (file_stamp(self.folder / RECORD), held)

    def searching(self, now: Snapshot) -> CopySearch:
        """Searches a version of the index by what the copy holds."""
        return CopySearch(now, self)

    def measured(self, now: Snapshot) -> dict[str, Any]:
        """The recall of its engine, for texts and for regions; empty if it cannot be measured."""
        try:
            queries = make_queries(now.table, now.metric, 0, now.text_queries)
            few = {
                kind: prepare(some[:RECALL_QUERIES], now.metric, now.table.dim)
                for kind, some in queries.items()
            }
            return measure(self.searching(now).ask, now.table, now.metric, few, RECALL_K)
        except AlphaClipError as error:
            logger.warning("the recall of %s is not measured: %s", self.brain_key, error)
            return {}

    def info(self, version: StoreVersion) -> dict[str, Any]:
        """What is known of it: its ``name`` and ``brain_key``, of which ``version`` of the index
        it is, whether that is ``in_step`` with this one, how many regions it is ``behind``, how
        many ``vectors`` the engine counts (None where it cannot be reached), and the ``recall``."""
        held = self.held()
        behind = len(version) if held is None else len(held.difference(version))
        vectors = None
        with suppress(AlphaClipError), self.reaching() as engine:
            vectors = engine.count()
        return {
            "name": self.title,
            "brain_key": self.brain_key,
            "version": None if held is None else held.version,
            "in_step": not behind,
            "behind": behind,
            "vectors": vectors,
            "recall": {} if held is None else held.recall,
        }


class CopySearch:
    """An engine, as :class:`alphaclip.indexing.nearest.engine.Engine` is one, over one version of
    an index. Regions that the copy does not hold yet are compared here.

    Args:
        now: the version
        copy: of the index
    """

    def __init__(self, now: Snapshot, copy: Copy) -> None:
        self._now, self._copy = now, copy
        self._seen: Held | None = None
        self._behind = np.zeros(0, np.int64)

    @property
    def facts(self) -> dict[str, Any]:
        """The engine, and its recall where it was measured; as JSON."""
        held = self._copy.held()
        recall = {} if held is None else held.recall
        said = {"type": self._copy.title, "metric": self._now.metric}
        return {**said, "recall": recall} if recall else said

    def search(
        self, queries: np.ndarray, k: int, rows: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The nearest vectors to each query; see :meth:`Engine.search`."""
        table, metric = self._now.table, self._now.metric
        vectors = prepare(queries, metric, table.dim)
        count = min(k, len(table) if rows is None else len(rows))
        if count <= 0 or not len(vectors):
            return nothing(len(vectors), count)
        if rows is not None and len(rows) <= FEW:
            return search_few(table, vectors, count, metric, rows)
        if len(vectors) > MANY:
            return self._now.own_engine().search(vectors, count, rows)
        scores, top = self.ask(vectors, count, rows)
        short = (top < 0).any(axis=1)
        if short.any():
            logger.warning(
                "%s: %s came back with %d of %d regions; all are compared here, which takes longer",
                self._copy.brain_key, self._copy.title, (top >= 0).sum(axis=1).min(), count,
            )  # fmt: skip
            scores[short], top[short] = scan_top(table, vectors[short], count, metric, rows)
        return scores, top

    def ask(
        self, vectors: np.ndarray, count: int, rows: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The nearest vectors to each prepared query, as far as the engine finds them: -inf and -1
        stand for what is not found. Scores are exact."""
        table, metric = self._now.table, self._now.metric
        held = self._held()
        with self._copy.reaching() as engine:
            late = self._behind if rows is None else np.intersect1d(self._behind, rows)
            near = scan_top(table, vectors, count, metric, late)[1]
            findable = np.full(len(table), rows is None)
            findable[rows] = True
            most = min(engine.most, held.count)
            lines = [
                np.union1d(self._candidates(engine, vector, count, findable, most), here)
                for vector, here in zip(vectors, near, strict=True)
            ]
        candidates = np.full((len(lines), max(map(len, lines))), -1)
        for line, some in zip(candidates, lines, strict=True):
            line[: len(some)] = some
        return rescore(table, vectors, candidates, count, metric)

    def _candidates(
        self, engine: VectorEngine, query: np.ndarray, count: int, findable: np.ndarray, most: int
    ) -> np.ndarray:
        """Rows that the engine finds, and that may be found: more than count, if there are."""
        share = max(1, int(findable.sum())) / len(findable)
        number = min(most, max(LEAST_CANDIDATES, int(OVERSAMPLE * count / share)))
        while True:
            ids = engine.search(query, number) if number else []
            rows = self._now.lookup.find_keys(as_bytes(ids))
            rows = rows[rows >= 0]
            rows = rows[findable[rows]]
            if len(rows) >= count or number >= most:
                return rows
            number = min(most, MORE * number)

    def _held(self) -> Held:
        """What the copy holds; what it lacks of this version is noted."""
        copy, version = self._copy, self._now.version
        held = copy.held()
        if held is None or held.dim != version.dim:
            state = "not known" if held is None else f"vectors of {held.dim} numbers"
            raise AlphaClipError(
                f"what copy {copy.brain_key!r} of index {copy.key!r} holds is {state}, the index "
                f"holds vectors of {version.dim}: indexing.sync(index, {copy.brain_key!r}) loads "
                "them anew"
            )
        if held is not self._seen:
            self._seen, self._behind = held, held.difference(version).moved
            if len(self._behind):
                logger.warning(
                    "%d regions of index %r are not in its copy %r yet, and compared here: "
                    "indexing.sync moves them", len(self._behind), copy.key, copy.brain_key,
                )  # fmt: skip
        return held

"""Copies of indexes in other engines: one contract for all. Which engines really run here, and
which are stand-ins, `engines_here` says."""

from collections.abc import Callable, Iterator
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
import pytest
from fiftyone import ViewField as F

from alphaclip import indexing
from alphaclip.cli import main
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.brain import copies
from alphaclip.indexing.brain.syncing import SyncReport
from alphaclip.indexing.brain.vector_engines import engines, lance
from alphaclip.indexing.brain.vector_engines.vector_engine import Batch, VectorEngine
from alphaclip.indexing.dataset.locations import own_folder, store_id
from alphaclip.indexing.region_index import RegionIndex
from alphaclip.indexing.retrieval.index import SearchIndex
from alphaclip.indexing.similarity import register_run
from alphaclip.indexing.store.segments import RowIds
from alphaclip.indexing.store.store import writing

from ..brain_data import patches
from . import engines_here

COUNT, DIM = 160, 16
ELSEWHERE: dict[str, dict[str, Any]] = {
    "lancedb": {"uri": "memory://"},
    "pgvector": {"connection_string": "postgresql:///none?host=/nowhere"},
    "redis": {"host": "127.0.0.1", "port": 1},
    "qdrant": {"url": "http://127.0.0.1:1"},
    "milvus": {"uri": "http://127.0.0.1:1"},
}
TEXTS = np.random.default_rng(5).normal(size=(10, DIM)).astype(np.float32)
COUNTS = ("regions", "added", "edited", "kept", "gone", "unreachable", "samples", "unfilled")
INFO = {
    "kind": "regions", "field": "gt", "metric": "cosine", "encoder": "none", "fingerprint": "f",
    "view": {}, "identify": "stat", "stages": [],
    "report": {"seconds": 1, "skipped": [], **dict.fromkeys(COUNTS, 0)},
}  # fmt: skip


class CutOffError(BaseException):
    """What a kill is here: nothing handles it."""


def killed(*args: Any) -> None:
    raise CutOffError


@pytest.fixture(scope="module", autouse=True)
def texts() -> Iterator[None]:
    """Texts that the recall is measured with, where there is no encoder."""
    with pytest.MonkeyPatch.context() as patch:
        probes = SearchIndex._text_probes

        def encoded(self: Any) -> np.ndarray:
            version = self.snapshot().version
            return TEXTS[:, : version.dim] if version.info["encoder"] == "none" else probes(self)

        patch.setattr(SearchIndex, "_text_probes", encoded)
        yield


@pytest.fixture(scope="module")
def dataset(dataset_factory: Callable) -> fo.Dataset:
    """Of labels without pictures, and an index of vectors that are made up."""
    dataset = patches(dataset_factory, [COUNT // 4] * 4)
    publish(dataset)
    register_run(dataset, "regions", store_id(dataset, "regions"), "alphaclip-nano", "gt")
    return dataset


def publish(dataset: fo.Dataset, edited: int = 0, dropped: int = 0, dim: int = DIM) -> None:
    """Publishes a version with a vector for each label: the first ones are others than those of a
    version without edits, the last ones are left out."""
    pairs = zip(dataset.values("id"), dataset.values("gt.detections.id"), strict=True)
    owners, names = zip(*[(one, name) for one, names in pairs for name in names], strict=True)
    rows = np.random.default_rng(0).normal(size=(COUNT, dim))
    rows[:edited] *= -1
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)
    prints = [f"{dim} {i} {'edited' if i < edited else ''}" for i in range(COUNT)]
    last = COUNT - dropped
    ids = RowIds.of(owners[:last], names[:last], "gt", prints[:last])
    with writing(own_folder(dataset, "regions")) as writer:
        segment = writer.add([rows[:last]], ids, dim, np.float16)
        writer.publish([segment], dim, np.dtype(np.float16), INFO)


@pytest.fixture(scope="module", params=[*engines.ENGINES])
def engine(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict]]:
    """An engine, by the Brain's name, and the settings that reach it."""
    folder = tmp_path_factory.mktemp(request.param)
    with pytest.MonkeyPatch.context() as patch:
        start: Any = {
            "lancedb": partial(engines_here.lancedb, folder),
            "pgvector": engines_here.postgres,
            "redis": partial(engines_here.redis_stack, folder),
            "qdrant": partial(engines_here.qdrant, patch),
            "milvus": partial(engines_here.milvus, patch),
        }[request.param]
        patch.setattr(lance, "INDEXED", COUNT // 2)  # in `test_exporting` it compares one by one
        with start() as settings:
            yield request.param, settings


def exported(dataset: fo.Dataset, engine: tuple[str, dict], name: str) -> RegionIndex:
    """A copy, opened."""
    backend, settings = engine
    indexing.export(indexing.load(dataset), backend, name, batch_size=100, **settings)
    return indexing.load(dataset, engine=name, **settings)


@pytest.fixture(scope="module")
def shared(dataset: fo.Dataset, engine: tuple[str, dict]) -> RegionIndex:
    publish(dataset)
    return exported(dataset, engine, f"in_{engine[0]}")


@pytest.fixture
def copy(dataset: fo.Dataset, shared: RegionIndex) -> RegionIndex:
    """The index in the engine, all in step."""
    publish(dataset)
    indexing.sync(shared, shared.copy.brain_key, progress=False)
    return shared


@pytest.fixture
def in_lance(dataset: fo.Dataset, tmp_path: Path) -> Iterator[RegionIndex]:
    """The same, for what does not depend on the engine."""
    publish(dataset)
    with engines_here.lancedb(tmp_path) as settings:
        yield exported(dataset, ("lancedb", settings), "lance")
    dataset.delete_brain_run("lance")


def answers(index: RegionIndex, **options: Any) -> list[list[tuple[str, float]]]:
    """What is found, for some queries, with scores."""
    queries = np.random.default_rng(1).normal(size=(3, index.snapshot().version.dim))
    found = [index.search(query, k=10, **options) for query in queries]
    return [list(zip(h.label_ids.tolist(), h.scores.tolist(), strict=True)) for h in found]


def test_load__finds_the_same(
    dataset: fo.Dataset, copy: RegionIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = indexing.load(dataset)
    for options in ({}, {"negative": TEXTS[0]}, {"per_image": True, "min_score": 0.2}):
        assert answers(copy, **options) == answers(own, **options)
    monkeypatch.setattr(copies, "FEW", 1)
    view = dataset.filter_labels("gt", F("label").ends_with("1"))
    assert answers(copy, view=view) == answers(own, view=view)
    told, recall = copy.info(), copy.info()["engine"].pop("recall")
    assert told["search"]["type"] == told["engine"]["name"] == copy.copy.title
    assert told["engine"]["in_step"] and told["engine"]["behind"] == 0
    assert told["engine"]["vectors"] == (COUNT if copy.copy.engine.counts else None)
    assert recall["k"] == 20 and recall["text"] >= 0.95 and recall["region"] >= 0.95


def test_load__knows_how_the_engine_was_reached(
    dataset: fo.Dataset, engine: tuple[str, dict], copy: RegionIndex
) -> None:
    again = indexing.load(dataset, engine=copy.copy.brain_key)
    assert answers(again) == answers(copy)
    assert again.info()["engine"]["vectors"] == copy.info()["engine"]["vectors"]
    assert indexing.sync(indexing.load(dataset), copy.copy.brain_key, progress=False).moved == 0


def test_load__in_an_engine_that_has_moved(
    dataset: fo.Dataset, in_lance: RegionIndex, tmp_path_factory: pytest.TempPathFactory
) -> None:
    there = tmp_path_factory.mktemp("moved")
    with engines_here.lancedb(there) as settings:
        report = indexing.sync(in_lance, "lance", progress=False, **settings)
        assert report.anew  # Nothing was there
        again = indexing.load(dataset, engine="lance")
        assert again.info()["engine"]["vectors"] == COUNT
        assert again.copy.engine.run.config.uri == settings["uri"]


@pytest.mark.parametrize(
    ("settings", "public"),
    [
        ({"uri": "/data/lance", "token": "t"}, {"uri": "/data/lance"}),
        ({"host": "here", "port": 1, "password": "p"}, {"host": "here", "port": 1}),
        ({"connection_string": "postgresql://me:p@here/db"}, {}),
        ({"connection_string": "host=here password=p"}, {}),
        ({"connection_string": "host=here password = p"}, {}),
        ({"url": "https://token@here/"}, {}),
        ({"connection_string": "postgresql://me@here/db"}, ...),
        ({"url": "https://here/?api_key=k"}, {}),
        ({"uri": "http://[broken"}, {}),
        ({"metric": "cosine"}, {}),
    ],
)
def test_public_in__no_secrets(settings: dict[str, Any], public: Any) -> None:
    assert engines.public_in(settings) == (settings if public is ... else public)


def test_brain__searches_the_copy(
    dataset: fo.Dataset, engine: tuple[str, dict], copy: RegionIndex
) -> None:
    key = copy.copy.brain_key
    dataset.load_brain_results(key, **engine[1])
    view = dataset.to_patches("gt").limit(COUNT // 2)
    near = view.sort_by_similarity(TEXTS[0], k=5, brain_key=key).values("id")
    assert near == view.sort_by_similarity(TEXTS[0], k=5, brain_key="regions").values("id")


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[str]]]:
    """What engines are sent, and what for."""
    sent: list[tuple[str, list[str]]] = []
    for kind in {*engines.ENGINES.values(), VectorEngine}:
        for name in {"replace", "delete"} & vars(kind).keys():
            monkeypatch.setattr(kind, name, noting(vars(kind)[name], name, sent))
    return sent


def noting(method: Callable, name: str, sent: list) -> Callable:
    def note(self: Any, what: Any) -> None:
        sent.append((name, what.ids if isinstance(what, Batch) else list(what)))
        method(self, what)

    return note


def test_sync__moves_only_what_differs(
    dataset: fo.Dataset,
    engine: tuple[str, dict],
    copy: RegionIndex,
    batches: list,
    caplog: pytest.LogCaptureFixture,
) -> None:
    key, names = copy.copy.brain_key, dataset.values("gt.detections.id", unwind=True)
    publish(dataset, edited=1, dropped=2)
    right = answers(indexing.load(dataset))
    assert answers(copy) == right
    assert f"1 regions of index 'regions' are not in its copy '{key}' yet" in caplog.text
    assert copy.info()["engine"]["behind"] == 3
    report = indexing.sync(copy, key, progress=False)
    version = copy.snapshot().version.number
    assert report == SyncReport(version, COUNT - 2, moved=1, dropped=2, anew=False)
    assert ("replace", names[:1]) in batches and ("delete", names[-2:]) in batches
    assert {one for _, some in batches for one in some} == {names[0], *names[-2:]}
    assert copy.info()["engine"]["in_step"] and answers(copy) == right
    run = dataset.load_brain_results(key, cache=False, **engine[1])
    vector = run.get_embeddings(label_ids=names[:1])[0][0]
    np.testing.assert_allclose(vector, copy.vectors(np.array([0]))[0], atol=1e-3)
    # The Brain leaves a transaction open, which keeps Postgres from dropping the table.
    getattr(run, "close_connections", bool)()
    batches.clear()
    assert indexing.sync(copy, key, progress=False).moved == 0
    assert not any(some for _, some in batches)


@pytest.mark.parametrize("edited", [3, COUNT])
def test_sync__goes_on_where_it_was_killed(
    dataset: fo.Dataset, engine: tuple[str, dict], copy: RegionIndex, edited: int
) -> None:
    key = copy.copy.brain_key
    publish(dataset, edited=edited, dropped=1)
    right = answers(indexing.load(dataset))
    with pytest.MonkeyPatch.context() as patch, pytest.raises(CutOffError):
        for name in ("finish", "load"):
            patch.setattr(type(copy.copy.engine), name, killed)
        indexing.sync(copy, key, progress=False)
    index = indexing.load(dataset, engine=key, **engine[1])
    assert not index.info()["engine"]["in_step"]
    assert answers(index) == right
    publish(dataset)  # what was on its way is not right any more
    report = indexing.sync(index, key, progress=False)
    assert report.vectors == COUNT and report.anew == (edited == COUNT)
    assert index.info()["engine"]["vectors"] in (COUNT, None)
    assert answers(index) == answers(indexing.load(dataset))


def test_export__leaves_what_another_export_made(
    dataset: fo.Dataset, engine: tuple[str, dict], copy: RegionIndex
) -> None:
    second = exported(dataset, engine, "second")
    second.copy.engine.drop()
    dataset.delete_brain_run("second")
    assert answers(copy) == answers(indexing.load(dataset))
    if engine[0] == "pgvector":
        name = dataset.get_brain_info(copy.copy.brain_key).config.index_name
        with copy.copy.engine._cursor() as cursor:
            cursor.execute("SELECT indexdef FROM pg_indexes WHERE indexname = %s", (name,))
            assert "USING hnsw (embedding_vector halfvec_cosine_ops)" in cursor.fetchone()[0]


def test_search__where_the_engine_is_down(
    dataset: fo.Dataset, engine: tuple[str, dict], copy: RegionIndex
) -> None:
    key = copy.copy.brain_key
    index = indexing.load(dataset, engine=key, **ELSEWHERE[engine[0]])
    says = rf"copy '{key}' in {copy.copy.title} cannot be used|there is no table"
    with pytest.raises(AlphaClipError, match=says):
        answers(index)
    assert not index.info()["engine"]["vectors"]
    if engine[0] != "lancedb":  # another folder is a database of its own, and filled
        with pytest.raises(AlphaClipError, match=says):
            indexing.sync(index, key, progress=False)


def test_sync__of_other_dimensions(dataset: fo.Dataset, copy: RegionIndex) -> None:
    publish(dataset, dim=8)
    with pytest.raises(AlphaClipError, match=r"vectors of 16 numbers.*of 8: indexing\.sync"):
        answers(copy)
    assert indexing.sync(copy, copy.copy.brain_key, progress=False).anew
    assert answers(copy) == answers(indexing.load(dataset))


def test_sync__of_an_engine_that_lost_all(dataset: fo.Dataset, copy: RegionIndex) -> None:
    if not copy.copy.engine.counts:
        assert copy.info()["engine"]["vectors"] is None  # and so it cannot tell
        return
    copy.copy.engine.drop()
    assert indexing.sync(copy, copy.copy.brain_key, progress=False).anew
    assert answers(copy) == answers(indexing.load(dataset))


def test_search__of_few_regions_among_many(
    dataset: fo.Dataset, in_lance: RegionIndex, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    monkeypatch.setattr(copies, "FEW", 1)
    monkeypatch.setattr(copies, "LEAST_CANDIDATES", 10)
    ranked = indexing.load(dataset).search(TEXTS[0], k=None).label_ids.tolist()
    far = dataset.select_labels(ids=ranked[-12:], fields="gt")
    assert in_lance.search(TEXTS[0], 10, far).label_ids.tolist() == ranked[-12:-2]
    assert "came back" not in caplog.text
    monkeypatch.setattr(VectorEngine, "most", 60)
    assert in_lance.search(TEXTS[0], 10, far).label_ids.tolist() == ranked[-12:-2]
    assert "lance: LanceDB came back with 0 of 10 regions; all are compared here" in caplog.text


def test_search__for_many_is_answered_here(dataset: fo.Dataset, in_lance: RegionIndex) -> None:
    queries = np.random.default_rng(2).normal(size=(copies.MANY + 1, DIM))
    in_lance.copy.engine.drop()
    found = in_lance.snapshot().engine().search(queries, 3)
    assert (found[1] == indexing.load(dataset).snapshot().engine().search(queries, 3)[1]).all()


def test_load__only_of_the_index_that_was_copied(
    dataset: fo.Dataset, in_lance: RegionIndex
) -> None:
    with pytest.raises(AlphaClipError, match=r"has no copy 'other'; it has: .*lance"):
        indexing.load(dataset, engine="other")
    with pytest.raises(AlphaClipError, match="has no copy 'regions'"):
        indexing.sync(indexing.load(dataset), "regions")
    clone = dataset.clone()
    try:
        # Both would change one table.
        with pytest.raises(AlphaClipError, match=r"no copy 'lance'; it has: none.*export"):
            indexing.load(clone, engine="lance")
    finally:
        clone.delete()


def test_sync__of_a_damaged_record_loads_anew(dataset: fo.Dataset, in_lance: RegionIndex) -> None:
    (in_lance.copy.folder / "copy.json").write_text("{}")
    assert in_lance.info()["engine"]["behind"] == COUNT
    with pytest.raises(AlphaClipError, match=r"is not known.*indexing\.sync"):
        answers(in_lance)
    assert indexing.sync(in_lance, "lance", progress=False).anew
    assert answers(in_lance) == answers(indexing.load(dataset))


def test_export__that_was_killed_begins_anew(dataset: fo.Dataset, tmp_path: Path) -> None:
    publish(dataset)
    with engines_here.lancedb(tmp_path) as settings:
        with pytest.MonkeyPatch.context() as patch, pytest.raises(CutOffError):
            for name in ("finish", "drop"):
                patch.setattr(engines.ENGINES["lancedb"], name, killed)
            exported(dataset, ("lancedb", settings), "again")
        (left,) = tmp_path.iterdir()
        dataset._brain_cache = {}
        index = exported(dataset, ("lancedb", settings), "again")
        assert answers(index) == answers(indexing.load(dataset))
        assert len([*tmp_path.iterdir()]) == 1 and not left.exists()


@pytest.mark.parametrize(("backend", "package"), [("redis", "redis"), ("qdrant", "qdrant-client")])
@pytest.mark.parametrize("installed", ["99.1", None])
def test_export__names_a_client_that_the_brain_cannot_use(
    dataset: fo.Dataset, monkeypatch: pytest.MonkeyPatch, backend: str, package: str, installed: Any
) -> None:
    def version(name: str) -> str:
        if installed is None:
            raise metadata.PackageNotFoundError(name)
        return installed

    monkeypatch.setattr(metadata, "version", version)
    says = rf'{package} 99\.1 is installed.*pip install "{package}<' if installed else "is missing"
    with pytest.raises(AlphaClipError, match=says):
        indexing.export(indexing.load(dataset), backend, "refused")
    assert not dataset.has_brain_run("refused")


def test_cli__syncs(dataset: fo.Dataset, capsys: pytest.CaptureFixture) -> None:
    publish(dataset)
    assert main(["index", "export", dataset.name, "regions", "sklearn", "skl"]) == 0
    publish(dataset, edited=1)
    assert main(["index", "sync", dataset.name, "regions", "skl"]) == 0
    assert "1 vectors moved, 0 dropped" in capsys.readouterr().out
    index = indexing.load(dataset, engine="skl")
    assert answers(index) == answers(indexing.load(dataset))

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
from alphaclip.indexing.brain.vector_engines import engines
from alphaclip.indexing.brain.vector_engines.vector_engine import Batch, VectorEngine
from alphaclip.indexing.dataset.locations import own_folder, store_id
from alphaclip.indexing.region_index import RegionIndex
from alphaclip.indexing.retrieval.index import SearchIndex
from alphaclip.indexing.similarity import register_run
from alphaclip.indexing.store.segments import RowIds
from alphaclip.indexing.store.store import writing

from ..brain_data import patches
from . import engines_here

COUNT, DIM = 240, 16
ELSEWHERE: dict[str, dict[str, Any]] = {
    "lancedb": {"uri": "memory://"},
    "pgvector": {"connection_string": "postgresql:///none?host=/nowhere"},
    "redis": {"host": "127.0.0.1", "port": 1},
    "qdrant": {"url": "http://127.0.0.1:1"},
    "milvus": {"uri": "http://127.0.0.1:1"},
}
TEXTS = np.random.default_rng(5).normal(size=(20, DIM)).astype(np.float32)


COUNTS = ("regions", "added", "edited", "kept", "gone", "unreachable", "samples", "unfilled")
INFO = {
    "kind": "regions", "field": "gt", "metric": "cosine", "encoder": "none", "fingerprint": "f",
    "view": {}, "identify": "stat", "stages": [],
    "report": {"seconds": 1, "skipped": [], **dict.fromkeys(COUNTS, 0)},
}  # fmt: skip


class CutOffError(BaseException):
    """What a kill is here: nothing handles it."""


@pytest.fixture(scope="module", params=[*engines.ENGINES])
def engine(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict]]:
    """An engine, by the Brain's name, and the settings that reach it."""
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "lancedb":
        pytest.importorskip("lancedb")
        yield "lancedb", {"uri": str(folder)}
        return
    with pytest.MonkeyPatch.context() as patch:
        started = {
            "pgvector": engines_here.postgres,
            "redis": partial(engines_here.redis_stack, folder),
            "qdrant": partial(engines_here.qdrant, patch),
            "milvus": partial(engines_here.milvus, patch),
        }[request.param]
        with started() as settings:
            yield request.param, settings


@pytest.fixture(autouse=True)
def texts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts that the recall is measured with; there is no encoder."""
    monkeypatch.setattr(
        SearchIndex, "_text_probes", lambda self: TEXTS[:, : self.snapshot().version.dim]
    )


@pytest.fixture
def dataset(dataset_factory: Callable) -> fo.Dataset:
    dataset = patches(dataset_factory, [COUNT // 4] * 4)
    publish(dataset)
    register_run(dataset, "regions", store_id(dataset, "regions"), "alphaclip-nano", "gt")
    return dataset


def publish(dataset: fo.Dataset, edited: int = 0, dropped: int = 0, dim: int = DIM) -> None:
    """Publishes a version with a vector for each label: the first ones are others than those of a
    version without edits, the last ones are left out."""
    samples = dataset.values("id")
    labels = dataset.values("gt.detections.id")
    owners = [one for one, of in zip(samples, labels, strict=True) for _ in of]
    names = [name for of in labels for name in of]
    rows = np.random.default_rng(0).normal(size=(COUNT, dim))
    rows[:edited] = -rows[:edited]
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)
    prints = [f"{dim} {i} {'edited' if i < edited else ''}" for i in range(COUNT)]
    last = COUNT - dropped
    ids = RowIds.of(owners[:last], names[:last], "gt", prints[:last])
    with writing(own_folder(dataset, "regions")) as writer:
        segment = writer.add([rows[:last]], ids, dim, np.float16)
        writer.publish([segment], dim, np.dtype(np.float16), INFO)


def answers(index: RegionIndex, **options: Any) -> list[list[tuple[str, float]]]:
    """What is found, for some queries, with scores."""
    queries = np.random.default_rng(1).normal(size=(3, index.snapshot().version.dim))
    found = [index.search(query, k=10, **options) for query in queries]
    return [list(zip(h.label_ids.tolist(), h.scores.tolist(), strict=True)) for h in found]


def exported(dataset: fo.Dataset, engine: tuple[str, dict], name: str = "copy") -> RegionIndex:
    """A copy, opened."""
    backend, settings = engine
    indexing.export(indexing.load(dataset), backend, name, batch_size=100, **settings)
    return indexing.load(dataset, engine=name, **settings)


def test_load__finds_the_same(
    dataset: fo.Dataset, engine: tuple[str, dict], monkeypatch: pytest.MonkeyPatch
) -> None:
    index, own = exported(dataset, engine), indexing.load(dataset)
    assert answers(index) == answers(own)
    assert answers(index, negative=TEXTS[0]) == answers(own, negative=TEXTS[0])
    assert answers(index, per_image=True, min_score=0.2) == answers(
        own, per_image=True, min_score=0.2
    )
    many = index.search_many(list(TEXTS[:3]), k=5)
    assert [h.label_ids.tolist() for h in many] == [
        h.label_ids.tolist() for h in own.search_many(list(TEXTS[:3]), k=5)
    ]
    monkeypatch.setattr(copies, "FEW", 1)
    view = dataset.filter_labels("gt", F("label").ends_with("1"))
    assert 0 < view.count("gt.detections") < COUNT
    assert answers(index, view=view) == answers(own, view=view)
    told = index.info()
    assert told["search"]["type"] == told["engine"]["name"] == engines.title_of(engine[0])
    assert told["engine"] | {"vectors": None} == {
        "name": engines.title_of(engine[0]), "brain_key": "copy", "version": 1, "in_step": True,
        "behind": 0, "vectors": None, "recall": told["engine"]["recall"],
    }  # fmt: skip
    assert told["engine"]["vectors"] in (COUNT, None)
    recall = told["engine"]["recall"]
    assert recall["k"] == 20 and recall["text"] >= 0.95 and recall["region"] >= 0.95


def test_brain__searches_the_copy(dataset: fo.Dataset, engine: tuple[str, dict]) -> None:
    exported(dataset, engine)
    dataset.load_brain_results("copy", **engine[1])
    view = dataset.to_patches("gt").limit(COUNT // 2)
    near = view.sort_by_similarity(TEXTS[0], k=5, brain_key="copy").values("id")
    assert near == view.sort_by_similarity(TEXTS[0], k=5, brain_key="regions").values("id")


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[str]]]:
    """What engines are sent, as it was called for."""
    sent: list[tuple[str, list[str]]] = []
    for kind in {*engines.ENGINES.values(), VectorEngine}:
        for name in ("replace", "delete"):
            if name in vars(kind):
                monkeypatch.setattr(kind, name, noting(vars(kind)[name], name, sent))
    return sent


def noting(method: Callable, name: str, sent: list) -> Callable:
    def note(self: Any, what: Any) -> None:
        sent.append((name, what.ids if isinstance(what, Batch) else list(what)))
        method(self, what)

    return note


def test_sync__moves_only_what_differs(
    dataset: fo.Dataset, engine: tuple[str, dict], batches: list, caplog: pytest.LogCaptureFixture
) -> None:
    index = exported(dataset, engine)
    names = dataset.values("gt.detections.id", unwind=True)
    publish(dataset, edited=1, dropped=2)
    right = answers(indexing.load(dataset))
    assert answers(index) == right
    assert "1 regions of index 'regions' are not in its copy 'copy' yet" in caplog.text
    assert index.info()["engine"]["behind"] == 3
    report = indexing.sync(index, "copy", progress=False)
    assert report == SyncReport(2, COUNT - 2, moved=1, dropped=2, anew=False)
    assert ("replace", names[:1]) in batches and ("delete", names[-2:]) in batches
    assert {one for _, some in batches for one in some} == {names[0], *names[-2:]}
    assert index.info()["engine"]["in_step"] and answers(index) == right
    run = dataset.load_brain_results("copy", cache=False, **engine[1])
    vector = run.get_embeddings(label_ids=names[:1])[0][0]
    np.testing.assert_allclose(vector, index.vectors(np.array([0]))[0], atol=1e-3)
    batches.clear()
    assert indexing.sync(index, "copy", progress=False).moved == 0
    assert not [some for _, some in batches if some]


@pytest.mark.parametrize("edited", [3, COUNT])
def test_sync__goes_on_where_it_was_killed(
    dataset: fo.Dataset, engine: tuple[str, dict], edited: int
) -> None:
    index = exported(dataset, engine)
    publish(dataset, edited=edited, dropped=1)
    right = answers(indexing.load(dataset))
    with pytest.MonkeyPatch.context() as patch, pytest.raises(CutOffError):
        for name in ("finish", "load"):
            patch.setattr(type(index.copy.engine), name, killed)
        indexing.sync(index, "copy", progress=False)
    index = indexing.load(dataset, engine="copy", **engine[1])
    assert not index.info()["engine"]["in_step"]
    assert answers(index) == right
    publish(dataset)  # what was on its way is not right any more
    report = indexing.sync(index, "copy", progress=False)
    assert report.vectors == COUNT and report.anew == (edited == COUNT)
    assert index.info()["engine"]["vectors"] in (COUNT, None)
    assert answers(index) == answers(indexing.load(dataset))


def killed(*args: Any) -> None:
    raise CutOffError


def test_export__leaves_what_another_export_made(
    dataset: fo.Dataset, engine: tuple[str, dict]
) -> None:
    index = exported(dataset, engine)
    second = exported(dataset, engine, "second")
    second.copy.engine.drop()
    assert answers(index) == answers(indexing.load(dataset))
    if engine[0] == "pgvector":
        with index.copy.engine._cursor() as cursor:
            name = dataset.get_brain_info("copy").config.index_name
            cursor.execute("SELECT indexdef FROM pg_indexes WHERE indexname = %s", (name,))
            assert "USING hnsw (embedding_vector halfvec_cosine_ops)" in cursor.fetchone()[0]


def test_search__where_the_engine_is_down(dataset: fo.Dataset, engine: tuple[str, dict]) -> None:
    exported(dataset, engine)
    index = indexing.load(dataset, engine="copy", **ELSEWHERE[engine[0]])
    says = rf"copy 'copy' in {engines.title_of(engine[0])} cannot be used|there is no table"
    with pytest.raises(AlphaClipError, match=says):
        answers(index)
    assert not index.info()["engine"]["vectors"]
    if engine[0] != "lancedb":  # another folder is a database of its own, and filled
        with pytest.raises(AlphaClipError, match=says):
            indexing.sync(index, "copy", progress=False)


def test_sync__of_other_dimensions(dataset: fo.Dataset, engine: tuple[str, dict]) -> None:
    index = exported(dataset, engine)
    publish(dataset, dim=8)
    with pytest.raises(AlphaClipError, match=r"vectors of 16 numbers.*of 8: indexing.sync"):
        answers(index)
    assert indexing.sync(index, "copy", progress=False).anew
    assert answers(index) == answers(indexing.load(dataset))


def test_sync__of_an_engine_that_lost_all(dataset: fo.Dataset, engine: tuple[str, dict]) -> None:
    index = exported(dataset, engine)
    if not index.copy.engine.counts:
        pytest.skip("it cannot tell")
    index.copy.engine.drop()
    assert index.info()["engine"]["vectors"] in (0, None)
    assert indexing.sync(index, "copy", progress=False).anew
    assert answers(index) == answers(indexing.load(dataset))


def test_search__of_few_regions_among_many(
    dataset: fo.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    index, own = exported(dataset, ("lancedb", {"uri": str(tmp_path)})), indexing.load(dataset)
    monkeypatch.setattr(copies, "FEW", 1)
    monkeypatch.setattr(copies, "LEAST_CANDIDATES", 10)
    ranked = own.search(TEXTS[0], k=None).label_ids.tolist()
    far = dataset.select_labels(ids=ranked[-12:], fields="gt")
    assert index.search(TEXTS[0], 10, far).label_ids.tolist() == ranked[-12:-2]
    assert caplog.text == ""
    monkeypatch.setattr(VectorEngine, "most", 60)
    hits = index.search(TEXTS[0], 10, far)
    assert hits.label_ids.tolist() == ranked[-12:-2]
    assert "copy: LanceDB came back with 0 of 10 regions; all are compared here" in caplog.text


def test_search__for_many_is_answered_here(dataset: fo.Dataset, tmp_path: Path) -> None:
    index = exported(dataset, ("lancedb", {"uri": str(tmp_path)}))
    queries = np.random.default_rng(2).normal(size=(copies.MANY + 1, DIM))
    index.copy.engine.drop()
    found = index.snapshot().engine().search(queries, 3)
    assert (found[1] == indexing.load(dataset).snapshot().engine().search(queries, 3)[1]).all()


def test_update__brings_its_copy_in_step(index: RegionIndex, tmp_path: Path) -> None:
    dataset = index.dataset
    indexing.export(index, "lancedb", "copy", uri=str(tmp_path))
    there = indexing.load(dataset, engine="copy", uri=str(tmp_path))
    texts = there.info()["engine"]["recall"]["text"]
    assert texts == 1 and there.info()["search"]["recall"]["k"] == 6
    sample = dataset.first()
    sample.boxes.detections[0].bounding_box = [0.2, 0.3, 0.4, 0.4]
    sample.save()
    assert there.update(progress=False).edited == 1
    assert there.info()["engine"]["in_step"]
    right = indexing.load(dataset).search("a box", k=5)
    found = there.search("a box", k=5)
    assert found.label_ids.tolist() == right.label_ids.tolist()
    assert found.scores.tolist() == right.scores.tolist()


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
    says = f'{package} 99.1 is installed.*pip install "{package}<' if installed else "is missing"
    with pytest.raises(AlphaClipError, match=says):
        indexing.export(indexing.load(dataset), backend, "copy")
    assert dataset.list_brain_runs() == ["regions"]


def test_load__only_of_the_index_that_was_copied(dataset: fo.Dataset, tmp_path: Path) -> None:
    uri = str(tmp_path)
    exported(dataset, ("lancedb", {"uri": uri}))
    with pytest.raises(AlphaClipError, match="no copy 'other'; it has: copy"):
        indexing.load(dataset, engine="other")
    with pytest.raises(AlphaClipError, match="has no copy 'regions'"):
        indexing.sync(indexing.load(dataset), "regions")
    clone = dataset.clone()
    try:
        # Both would change one table.
        with pytest.raises(AlphaClipError, match=r"no copy 'copy'; it has: none.*export"):
            indexing.load(clone, engine="copy", uri=uri)
    finally:
        clone.delete()


def test_export__that_was_killed_begins_anew(dataset: fo.Dataset, tmp_path: Path) -> None:
    settings = {"uri": str(tmp_path)}
    with pytest.MonkeyPatch.context() as patch, pytest.raises(CutOffError):
        for owner in (engines.ENGINES["lancedb"], type(dataset)):
            patch.setattr(owner, "finish" if owner is not type(dataset) else "save", killed)
        patch.setattr(engines.ENGINES["lancedb"], "drop", killed)
        exported(dataset, ("lancedb", settings))
    dataset.reload()
    dataset._brain_cache = {}
    left = list(tmp_path.iterdir())
    index = exported(dataset, ("lancedb", settings))
    assert answers(index) == answers(indexing.load(dataset))
    assert len(list(tmp_path.iterdir())) == 1 and left[0] not in tmp_path.iterdir()


def test_sync__of_a_damaged_record_loads_anew(dataset: fo.Dataset, tmp_path: Path) -> None:
    index = exported(dataset, ("lancedb", {"uri": str(tmp_path)}))
    (index.copy.folder / "copy.json").write_text("{}")
    assert index.info()["engine"]["behind"] == COUNT
    with pytest.raises(AlphaClipError, match=r"is not known.*indexing\.sync"):
        answers(index)
    assert indexing.sync(index, "copy", progress=False).anew
    assert answers(index) == answers(indexing.load(dataset))


def test_cli__syncs(dataset: fo.Dataset, capsys: pytest.CaptureFixture) -> None:
    assert main(["index", "export", dataset.name, "regions", "sklearn", "copy"]) == 0
    publish(dataset, edited=1)
    assert main(["index", "sync", dataset.name, "regions", "copy"]) == 0
    assert "copy: version 2, 1 vectors moved, 0 dropped" in capsys.readouterr().out
    index = indexing.load(dataset, engine="copy")
    assert answers(index) == answers(indexing.load(dataset))

"""Stores that somebody else has written: every SHA-256 is right, and what they say is not."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from alphaclip.files import DamagedError, StoreError
from alphaclip.indexing.store import text_table
from alphaclip.indexing.store.manifests import manifest_path, read_manifest
from alphaclip.indexing.store.segments import COLUMNS, RowIds
from alphaclip.indexing.store.store import StoreWriter, open_store, writing
from alphaclip.indexing.store.text_table import read_texts

DIM, ROWS = 4, 5
IDS = RowIds.of([f"s{i}" for i in range(ROWS)], [f"label{i}" for i in range(ROWS)], "f")
UNIT = np.eye(DIM, dtype=np.float32)[[0, 1, 2, 3, 0]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store of two versions, one row of the newest dropped."""
    with writing(tmp_path / "store") as writer:
        segment = writer.add([UNIT], IDS, DIM, np.float16)
        for piece in (segment, segment.keeping(np.arange(ROWS) > 0)):
            writer.publish([piece], DIM, np.dtype(np.float16), {"kind": "regions"})
    return tmp_path / "store"


def publish(folder: Path, change: Callable[[dict], None] | None = None, text: str = "") -> None:
    """Writes over the newest manifest, as somebody who knows how."""
    path = manifest_path(folder, 2)
    manifest = json.loads(path.read_text())
    del manifest["sha256"]
    if change is not None:
        change(manifest)
    digest = json.dumps([path.name, manifest], sort_keys=True).encode()
    manifest["sha256"] = hashlib.sha256(digest).hexdigest()
    path.write_text(text or json.dumps(manifest))


def replace_file(folder: Path, kind: str, content: bytes) -> None:
    """Puts a file into a store and its manifest."""
    sha256 = hashlib.sha256(content).hexdigest()
    suffix = ".parquet" if kind == "rows" else ".npy"
    file = {"file": f"data/{sha256[:24]}{suffix}", "sha256": sha256, "bytes": len(content)}
    (folder / file["file"]).write_bytes(content)
    publish(folder, lambda manifest: manifest["segments"][0].update({kind: file}))


def array(values: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, values)
    return stream.getvalue()


def table(columns: dict[str, Any], **options: Any) -> bytes:
    stream = io.BytesIO()
    pq.write_table(pa.table(columns), stream, **options)
    return stream.getvalue()


def set_at(*path: Any, value: Any) -> Callable[[dict], None]:
    def change(manifest: dict) -> None:
        inner: Any = manifest
        for name in path[:-1]:
            inner = inner[name]
        inner[path[-1]] = value

    return change


NAMES = [
    "../../elsewhere.npy",
    "/etc/passwd",
    "data/../../x.npy",
    "data/x.npy",
    "data/" + "0" * 24 + ".npy/x",
    "data\\" + "0" * 24 + ".npy",
    "data/" + "0" * 24 + ".npy\n",
    "data/" + "0" * 24 + ".npy",
    "",
    7,
    None,
    ["data"],
]


def file_named(name: Any) -> dict[str, Any]:
    return {"file": name, "sha256": "1" * 64, "bytes": 0}


WRONG = [
    *(set_at("segments", 0, "vectors", "file", value=name) for name in NAMES),
    *(set_at("segments", 0, "kept", "file", value=name) for name in NAMES[:3]),
    *(set_at("segments", 0, "rows", value=value) for value in (None, [], "x", {}, 3)),
    *(set_at("segments", 0, "ids", value=value) for value in (None, [], "x", {}, 3)),
    *(set_at("segments", 0, "rows", "blocks", value=value) for value in (None, [], "x", {}, 3)),
    *(set_at("segments", 0, "ids", value=file_named(name)) for name in NAMES),
    *(set_at("segments", 0, "vectors", "blocks", value=file_named(name)) for name in NAMES),
    *(set_at("segments", 0, "rows", "bytes", value=value) for value in (-1, "1", 1.5, True, None)),
    *(set_at("segments", 0, "rows", "sha256", value=value) for value in ("", "x" * 64, 1)),
    *(set_at("segments", 0, "count", value=value) for value in ("3", -1, 4, 10**30, None)),
    *(set_at("segments", value=value) for value in (None, {}, "x", [1], [[]])),
    *(set_at("dim", value=value) for value in (None, "4", -4, 3, 10**30)),
    *(set_at("dtype", value=value) for value in (None, 3, "object", "float64", "float32", "x,y")),
    *(set_at("version", value=value) for value in (None, 1, 3, "2", True)),
    *(set_at("format", value=value) for value in (None, "2", [], 2.0)),
    *(set_at("info", value=value) for value in (None, [], "x")),
    *(set_at("info", "kind", value=value) for value in (None, 1)),
    *(set_at("info", "stages", value=value) for value in ({}, "x", 1)),
    *(set_at("info", "view", value=value) for value in ([], "x", 1)),
    lambda manifest: manifest.clear(),
    lambda manifest: manifest["segments"][0].pop("rows"),
    lambda manifest: manifest["segments"][0]["vectors"].pop("sha256"),
]


@pytest.mark.parametrize("change", WRONG)
def test_manifest__is_not_what_is_written_here(folder: Path, change: Callable) -> None:
    publish(folder, change)
    with pytest.raises(DamagedError) as error:
        open_store(folder)
    assert str(folder) in str(error.value)
    with writing(folder, mend=True) as writer:
        assert writer.base is not None


@pytest.mark.parametrize("text", ["", "[]", "[" * 10_000, "{" + '"a":[' * 300 + "]" * 300 + "}"])
def test_manifest__is_no_json(folder: Path, text: str) -> None:
    publish(folder, text=text or " ")
    with pytest.raises(DamagedError, match=r"is damaged: index\.update"):
        open_store(folder)


def test_manifest__too_large(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with manifest_path(folder, 2).open("r+b") as file:
        file.truncate(1 << 31)
    with pytest.raises(DamagedError, match=r"is damaged: index\.update"):
        open_store(folder)


HUGE = b"\x93NUMPY\x01\x00v\x00" + b"{'descr': '<f2', 'fortran_order': False, 'shape': (%d, 4), }"
ARRAYS = {
    "empty": b"",
    "text": b"vectors",
    "objects": array(np.array([{}, {}])),
    "another shape": array(np.zeros(20, np.float16)),
    "another number": array(np.zeros((4, DIM), np.float16)),
    "another type": array(np.zeros((ROWS, DIM), np.float64)),
    "the other type": array(np.zeros((ROWS, DIM), np.float32)),
    "another dimension": array(np.zeros((ROWS, DIM + 1), np.float16)),
    "larger than its file": (HUGE % 10**15).ljust(128),
    "no header": b"\x93NUMPY\x01\x00v\x00" + b"(" * 118,
}


@pytest.mark.parametrize("content", ARRAYS.values(), ids=ARRAYS)
@pytest.mark.parametrize("kind", ["vectors", "kept"])
def test_array__is_not_what_is_written_here(folder: Path, kind: str, content: bytes) -> None:
    replace_file(folder, kind, content)
    with pytest.raises(DamagedError, match="is not what is written here"):
        open_store(folder)


TEXTS = {name: ["x"] * ROWS for name in COLUMNS}
TABLES = {
    "empty": b"",
    "text": b"PAR1PAR1",
    "no columns": table({}),
    "a column less": table({name: TEXTS[name] for name in COLUMNS[1:]}),
    "a column more": table({**TEXTS, "more": ["x"] * ROWS}),
    "numbers": table({**TEXTS, "label_id": list(range(ROWS))}),
    "lists": table({**TEXTS, "label_id": [["x"]] * ROWS}),
    "nothing": table({**TEXTS, "label_id": ["x", None, "x", "x", "x"]}),
    "no text": table({**TEXTS, "label_id": pa.array([b"\xff"] * ROWS, pa.binary())}),
    "a row less": table({name: ["x"] * (ROWS - 1) for name in COLUMNS}),
}


@pytest.mark.parametrize("content", TABLES.values(), ids=TABLES)
def test_rows__are_not_what_is_written_here(folder: Path, content: bytes) -> None:
    replace_file(folder, "rows", content)
    with pytest.raises(DamagedError):
        open_store(folder)


LONG = "x" * 1_000_000


def repeated(text: str, count: int) -> pa.Array:
    return pa.DictionaryArray.from_arrays(np.zeros(count, np.int32), [text])


BOMBS = {
    "one long text, often": lambda: table({name: repeated(LONG, 4_000) for name in COLUMNS}),
    "many rows": lambda: table({name: repeated("x", 12_000_000) for name in COLUMNS}),
    "a long text among short ones": lambda: table(
        {name: ["x"] * 3_999 + [LONG if name == "fingerprint" else "x"] for name in COLUMNS}
    ),
    "a large page": lambda: table(
        {name: ["x" * 70_000_000] for name in COLUMNS}, compression="zstd", use_dictionary=False
    ),
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
def test_rows__a_bomb(folder: Path, bomb: Callable[[], bytes]) -> None:
    content = bomb()
    assert len(content) < 2_000_000
    replace_file(folder, "rows", content)
    with pytest.raises(DamagedError, match="when it is unpacked"):
        open_store(folder)


@pytest.mark.parametrize("repeating", [True, False])
def test_rows__many_that_are_real(tmp_path: Path, repeating: bool) -> None:
    ids = [f"{i * 7919:024x}" for i in range(20_000)]
    columns = {"sample_id": [ids[i // 10] for i in range(len(ids))], "label_id": ids}
    path = tmp_path / "a.parquet"
    path.write_bytes(table(columns, compression="zstd", use_dictionary=repeating))
    read = read_texts(path, list(columns))
    for column, array in zip(columns.values(), text_table.as_fixed(read, path), strict=True):
        assert array.astype(str).tolist() == column


def test_links__of_files(folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    entry = read_manifest(folder)["segments"][0]
    path = folder / entry["vectors"]["file"]
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DamagedError, match="is damaged"):
        open_store(folder)
    with writing(folder, mend=True) as writer:
        segment = writer.add([UNIT], IDS, DIM, np.float16)
        writer.publish([segment], DIM, np.dtype(np.float16), {})
    assert not path.is_symlink()
    assert len(open_store(folder)) == ROWS


@pytest.mark.parametrize("name", ["data", "cache", "work"])
def test_links__of_folders(folder: Path, tmp_path: Path, name: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    if name == "data":
        (folder / name).rename(elsewhere)
    else:
        elsewhere.mkdir()
    (elsewhere / "mine.json").write_text("{}")
    before = sorted(elsewhere.iterdir())
    (folder / name).symlink_to(elsewhere)
    with pytest.raises(StoreError, match=f"{name} is a link"), writing(folder) as writer:
        writer.publish([], DIM, np.dtype(np.float16), {})
    assert sorted(elsewhere.iterdir()) == before


def test_links__of_a_manifest(folder: Path, tmp_path: Path) -> None:
    path = manifest_path(folder, 2)
    path.rename(tmp_path / path.name)
    path.symlink_to(tmp_path / path.name)
    with pytest.raises(DamagedError, match="is a link"):
        open_store(folder)


@pytest.mark.parametrize("name", ["writer.lock", "writer.txt"])
def test_links__of_the_lock(folder: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "mine").write_text("mine")
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(tmp_path / "mine")
    with pytest.raises(StoreError, match="is a link"), writing(folder):
        pass
    assert (tmp_path / "mine").read_text() == "mine"


def test_adopt__what_leads_out_of_the_folder(folder: Path, tmp_path: Path) -> None:
    """As a plan that was handed on could say, with a link that makes it lead somewhere."""
    source = tmp_path / "plan"
    made = StoreWriter(source, None).add([UNIT], IDS, DIM, np.float16)
    (source / "link").symlink_to(source / "data")
    name = made.entry["vectors"]["file"].replace("data/", "link/../../elsewhere/")
    (tmp_path / "elsewhere").mkdir()
    with writing(folder) as writer, pytest.raises(DamagedError, match="is not what is written"):
        writer.adopt(source, {**made.entry, "vectors": {**made.entry["vectors"], "file": name}})
    assert not list((tmp_path / "elsewhere").iterdir())
    path = source / made.entry["vectors"]["file"]
    path.rename(tmp_path / "mine")
    path.symlink_to(tmp_path / "mine")
    with writing(folder) as writer:
        writer.publish([], DIM, np.dtype(np.float16), {})
        writer.publish([], DIM, np.dtype(np.float16), {})
        with pytest.raises(StoreError, match="is a link"):
            writer.adopt(source, made.entry)
    (source / "data").rename(tmp_path / "mine too")
    (source / "data").symlink_to(tmp_path / "mine too")
    with writing(folder) as writer, pytest.raises(StoreError, match="is a link"):
        writer.adopt(source, made.entry)

"""The versions of a store."""

from pathlib import Path

import pytest

from alphaclip.files import DamagedError, StoreError
from alphaclip.indexing.store.manifests import (
    FORMAT,
    files_of,
    has_store,
    manifest_path,
    newest_version,
    read_manifest,
    versions,
    write_manifest,
)


def manifest(version: int, **more: object) -> dict:
    shape = {"dim": 3, "dtype": "float16"}
    return {"format": FORMAT, "version": version, **shape, "segments": [], "info": {}, **more}


def test_versions(tmp_path: Path) -> None:
    assert versions(tmp_path / "missing") == []
    for version in (1, 9, 10, 1234567):
        write_manifest(tmp_path, manifest(version))
    for name in ("manifest-12.json", "manifest-000099.json.0f.part", "manifest-abcdef.json"):
        (tmp_path / name).write_text("")
    assert versions(tmp_path) == [1234567, 10, 9, 1]
    assert newest_version(tmp_path) == 1234567
    assert manifest_path(tmp_path, 9).name == "manifest-000009.json"


def test_no_store(tmp_path: Path) -> None:
    assert not has_store(tmp_path)
    with pytest.raises(StoreError, match="holds no index: build one first"):
        newest_version(tmp_path)
    (tmp_path / "manifest.json").write_text("{}")
    assert has_store(tmp_path)
    with pytest.raises(StoreError, match="format 1, which is not read any more"):
        newest_version(tmp_path)


def test_read(tmp_path: Path) -> None:
    write_manifest(tmp_path, manifest(1, info={"field": "fälder", "score": 0.1}))
    write_manifest(tmp_path, manifest(2))
    assert read_manifest(tmp_path, 1)["info"] == {"field": "fälder", "score": 0.1}
    assert read_manifest(tmp_path) == manifest(2)
    with pytest.raises(DamagedError, match=r"manifest-000003\.json is missing"):
        read_manifest(tmp_path, 3)


def test_newer_format(tmp_path: Path) -> None:
    write_manifest(tmp_path, manifest(1, format=FORMAT + 1))
    with pytest.raises(StoreError, match="upgrade alphaclip-fiftyone") as found:
        read_manifest(tmp_path)
    assert not isinstance(found.value, DamagedError)


def test_damaged_format_is_not_a_newer_one(tmp_path: Path) -> None:
    write_manifest(tmp_path, manifest(1))
    path = manifest_path(tmp_path, 1)
    path.write_text(path.read_text().replace(f'"format": {FORMAT}', f'"format": {FORMAT + 1}'))
    with pytest.raises(DamagedError, match=r"manifest-000001\.json is damaged"):
        read_manifest(tmp_path)


def test_files_of() -> None:
    one = {"vectors": {"file": "a"}, "rows": {"file": "b"}, "kept": {"file": "c"}}
    other = {"vectors": {"file": "a"}, "rows": {"file": "d"}}
    assert files_of(manifest(1, segments=[one, other])) == {"a", "b", "c", "d"}

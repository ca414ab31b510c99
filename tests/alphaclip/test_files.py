"""Files that are there whole or not at all, and the writer's lock."""

import errno
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import BinaryIO

import pytest

from alphaclip import files
from alphaclip.errors import AlphaClipError
from alphaclip.files import (
    DEEPEST_JSON,
    StoreBusyError,
    StoreError,
    file_stamp,
    is_whole,
    link_or_copy,
    make_folder,
    parse_json,
    read_json,
    write_atomically,
    write_by_hash,
    writer_lock,
)


def test_write_atomically(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    for content in (b"one", b"two"):
        write_atomically(path, lambda stream, content=content: stream.write(content))
        assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_write_atomically__disk_full(tmp_path: Path, number: int) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b"before")

    def write(stream: BinaryIO) -> None:
        stream.write(b"half of")
        raise OSError(number, "full")

    with pytest.raises(StoreError, match=r"a\.json: the disk is full"):
        write_atomically(path, write)
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_write_atomically__other_errors_leave_nothing(tmp_path: Path) -> None:
    def write(stream: BinaryIO) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "a", write)
    assert not list(tmp_path.iterdir())
    (tmp_path / "note").write_text("no folder")
    with pytest.raises(StoreError, match="cannot be written"):
        write_atomically(tmp_path / "note" / "a", lambda stream: stream.write(b""))
    assert list(tmp_path.iterdir()) == [tmp_path / "note"]


def test_write_by_hash(tmp_path: Path) -> None:
    def write(stream: files.HashingWriter) -> None:
        stream.write(b"ab")
        stream.write(memoryview(b"c"))

    for _ in range(2):
        path, sha256, size = write_by_hash(tmp_path / "x" / "y", ".npy", write)
        assert sha256 == hashlib.sha256(b"abc").hexdigest()
        assert path.name == sha256[:24] + ".npy"
        assert size == 3
        assert path.read_bytes() == b"abc"
        assert list(path.parent.iterdir()) == [path]


def test_write_by_hash__heals(tmp_path: Path) -> None:
    path, _, _ = write_by_hash(tmp_path, ".npy", lambda stream: stream.write(b"abc"))
    inode = path.stat().st_ino
    write_by_hash(tmp_path, ".npy", lambda stream: stream.write(b"abc"))
    assert path.stat().st_ino == inode
    path.write_bytes(b"abd")
    write_by_hash(tmp_path, ".npy", lambda stream: stream.write(b"abc"))
    assert path.read_bytes() == b"abc"


@pytest.mark.parametrize("links", [True, False])
def test_link_or_copy(tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not links:
        monkeypatch.setattr(os, "link", unsupported)
    source, path = tmp_path / "a", tmp_path / "b"
    source.write_bytes(b"abc")
    path.write_bytes(b"wrong")
    for _ in range(2):
        link_or_copy(source, path)
        assert path.read_bytes() == b"abc"
    assert source.samefile(path) == links
    assert sorted(tmp_path.iterdir()) == [source, path]
    with pytest.raises(StoreError, match="missing"):
        link_or_copy(tmp_path / "missing", path)


def unsupported(*arguments: object) -> None:
    raise OSError(errno.EXDEV, "Invalid cross-device link")


def test_make_folder(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StoreError, match="cannot be written"):
            make_folder(folder)


def test_lock__names_the_other(tmp_path: Path) -> None:
    with writer_lock(tmp_path):
        with pytest.raises(StoreBusyError, match=f"written by process {os.getpid()} on"):
            enter(tmp_path)
        (tmp_path / "writer.txt").write_bytes(b"")
        with pytest.raises(StoreBusyError, match="written by another process"):
            enter(tmp_path)
        (tmp_path / "writer.txt").write_bytes(b"\xff\xff")
        with pytest.raises(StoreBusyError, match="written by another process"):
            enter(tmp_path)
    enter(tmp_path)


def test_lock__ends_with_the_process(tmp_path: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path\n"
        "from alphaclip.files import writer_lock\n"
        "with writer_lock(Path(sys.argv[1])): os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", script, str(tmp_path)]).returncode == -9
    assert (tmp_path / "writer.txt").read_text().startswith("process ")
    enter(tmp_path)


def test_lock__full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_text", full)
        with pytest.raises(StoreError, match="the disk is full"):
            enter(tmp_path)
    enter(tmp_path)


def enter(folder: Path) -> None:
    with writer_lock(folder):
        pass


def test_file_stamp__tells_a_file_from_what_took_its_place(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert file_stamp(path) is None
    write_atomically(path, lambda stream: stream.write(b"a"))
    stamp = file_stamp(path)
    assert stamp == file_stamp(path)
    write_atomically(path, lambda stream: stream.write(b"a"))
    assert file_stamp(path) != stamp


@pytest.mark.parametrize("content", [b"7", b'"a"', b"[]", b'\xef\xbb\xbf{"a": [1, {"b": null}]}'])
def test_read_json(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.json").write_bytes(content)
    assert read_json(tmp_path / "a.json") == json.loads(content)
    assert read_json(tmp_path / "a.json", largest=len(content)) == json.loads(content)
    with pytest.raises(AlphaClipError, match=r"a\.json cannot be read as JSON: it has"):
        read_json(tmp_path / "a.json", largest=len(content) - 1)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe", b"[" * 10**6, b'{"a":' * 10**5, b"1" * 10**4, b"[1] [2]"]
)
def test_read_json__malformed(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(AlphaClipError, match=r"a\.json cannot be read as JSON"):
        read_json(tmp_path / "a.json")
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "none.json")


@pytest.mark.parametrize("begin, end", [("[", "]"), ('{"a": [1, ', "]}")])
def test_parse_json__depth(begin: str, end: str) -> None:
    most = (DEEPEST_JSON - 1) // (2 if "{" in begin else 1)
    assert parse_json(begin * most + "0" + end * most, "it")
    with pytest.raises(AlphaClipError, match=r"it cannot be read as JSON.*256 deep"):
        parse_json(begin * (most + 1) + "0" + end * (most + 1), "it")


def test_links__are_not_followed(tmp_path: Path) -> None:
    path, sha256, size = write_by_hash(tmp_path / "data", ".bin", lambda stream: stream.write(b"a"))
    assert is_whole(path, sha256, size)
    path.rename(tmp_path / "mine")
    path.symlink_to(tmp_path / "mine")
    assert not is_whole(path, sha256, size)
    assert write_by_hash(tmp_path / "data", ".bin", lambda stream: stream.write(b"a"))[0] == path
    assert not path.is_symlink()
    (tmp_path / "link").symlink_to(tmp_path / "data")
    with pytest.raises(StoreError, match="link is a link"):
        write_by_hash(tmp_path / "link", ".bin", lambda stream: stream.write(b"b"))
    assert list((tmp_path / "data").iterdir()) == [path]

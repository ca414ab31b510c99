"""Files that are there whole or not at all, and the writer's lock."""

import errno
import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import BinaryIO

import pytest

from alphaclip import files
from alphaclip.files import (
    StoreBusyError,
    StoreError,
    deleting,
    file_stamp,
    folder_in_environment,
    link_or_copy,
    make_folder,
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


def test_deleting__keeps_others_out_and_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    make_folder(folder / "data")
    for name in ("data/a", "b", "found.json", "writer.txt"):
        (folder / name).write_text("")
    with writer_lock(folder), pytest.raises(StoreBusyError), deleting(folder):
        raise AssertionError("nobody is the writer here")
    with pytest.raises(KeyError), deleting(folder):
        raise KeyError
    assert (folder / "data" / "a").exists()
    with deleting(folder), pytest.raises(StoreBusyError):
        enter(folder)
    assert not folder.exists()
    with deleting(folder):
        pass
    assert not folder.exists()


def test_deleting__what_it_is_found_by_goes_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "store"
    make_folder(folder / "data")
    for name in ("data/a", "a", "found.json", "z"):
        (folder / name).write_text("")
    gone: list[str] = []
    unlink = Path.unlink
    monkeypatch.setattr(Path, "unlink", lambda self: (gone.append(self.name), unlink(self)))
    with deleting(folder, lambda: [folder / "found.json"]):
        pass
    assert gone[-3:] == ["found.json", "writer.txt", "writer.lock"]
    assert sorted(gone[:-3]) == ["a", "z"]


def test_deleting__who_had_opened_the_lock_has_it_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock on a file that has no name any more locks nothing."""
    fcntl = pytest.importorskip("fcntl")
    flock, deleted = fcntl.flock, []

    def delete_first(descriptor: int, operation: int) -> None:
        if not deleted:
            deleted.append(1)
            (tmp_path / "writer.lock").unlink()
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", delete_first)
    with writer_lock(tmp_path):
        assert deleted
        with pytest.raises(StoreBusyError):
            enter(tmp_path)


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ("~/vectors", "{home}/vectors"),
        ("~", "{home}"),
        ("vectors", "{here}/vectors"),
        ("/vectors", "/vectors"),
        ("", None),
    ],
)
def test_folder_in_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str, expected: str | None
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FOLDER", named)
    whole = expected and Path(expected.format(home=tmp_path / "home", here=tmp_path))
    assert folder_in_environment("FOLDER") == whole
    monkeypatch.setenv("FOLDER", "~nobody-of-this-name/vectors")
    with pytest.raises(StoreError, match="FOLDER is '~nobody"):
        folder_in_environment("FOLDER")


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

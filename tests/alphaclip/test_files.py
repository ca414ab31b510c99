"""Files that are there whole or not at all, and the writer's lock."""

import errno
import hashlib
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import pytest

from alphaclip import files
from alphaclip.errors import AlphaClipError
from alphaclip.files import (
    DEEPEST_JSON,
    DamagedError,
    StoreBusyError,
    StoreError,
    check_folder,
    deleting,
    file_stamp,
    folder_in_environment,
    is_whole,
    link_or_copy,
    make_folder,
    parse_json,
    read_checked,
    read_json,
    remove_partials,
    replacing,
    update_text,
    write_atomically,
    write_by_hash,
    write_checked,
    write_checksums,
    write_text,
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


CONTENT = {"a": [1, 2.5, None, "ä\ud800"], "b": {"c": True}, "d": float("inf")}


def test_checked_json(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    assert read_checked(path, "") is None
    write_checked(path, CONTENT)
    assert read_checked(path, "") == CONTENT
    write_checked(path, {"counts": {10: "x", 9: (1, 2)}})
    assert read_checked(path, "") == {"counts": {"10": "x", "9": [1, 2]}}


def test_checked_json__every_flipped_bit(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_checked(path, CONTENT)
    content = path.read_bytes()
    for at in range(len(content)):
        for bit in range(8):
            wrong = bytearray(content)
            wrong[at] ^= 1 << bit
            path.write_bytes(wrong)
            try:
                assert read_checked(path, "do this") == CONTENT
            except DamagedError as error:
                assert str(error) == f"{path} is damaged: do this"


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"sha256": 1}', "[" * 10**5, '"a"'])
def test_checked_json__malformed(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(DamagedError):
        read_checked(path, "")


def test_checked_json__renamed(tmp_path: Path) -> None:
    write_checked(tmp_path / "a.json", {"version": 1})
    (tmp_path / "a.json").rename(tmp_path / "b.json")
    with pytest.raises(DamagedError):
        read_checked(tmp_path / "b.json", "")


def test_checked_json__unreadable(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be read") as found:
        read_checked(tmp_path, "")
    assert not isinstance(found.value, DamagedError)


def test_checked_json__of_a_version_without_checksums(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"a": 1}')
    assert read_checked(path, "", "checksum", optional=True) == {"a": 1}
    write_checked(path, {"sha256": "of something else"}, "checksum")
    assert read_checked(path, "", "checksum", optional=True) == {"sha256": "of something else"}
    path.write_text(path.read_text().replace("else", "more"))
    with pytest.raises(DamagedError, match="do this"):
        read_checked(path, "do this", "checksum", optional=True)
    for text in ("[]", '"a"', "1"):
        path.write_text(text)
        with pytest.raises(DamagedError):
            read_checked(path, "", "checksum", optional=True)


def test_replacing__is_for_what_takes_a_path(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "a.txt"
    with replacing(path) as partial:
        partial.write_text("whole")
        assert not path.exists()
    with pytest.raises(KeyError), replacing(path) as partial:
        partial.write_text("half")
        raise KeyError
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


def test_write_text__half_a_surrogate_pair_is_escaped(tmp_path: Path) -> None:
    """As a name of a file that is no UTF-8; JSON has the same escape."""
    path, name = tmp_path / "a.json", "b\udcff.jpg"
    write_text(path, json.dumps([name], ensure_ascii=False))
    assert json.loads(path.read_text("utf-8")) == [name]


def test_update_text__nobody_undoes_the_change_of_another(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "names.txt"

    def add(number: int) -> None:
        update_text(path, lambda text: f"{text or ''}{number} ")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(24)))
    assert sorted(map(int, path.read_text().split())) == list(range(24))


def test_update_text__without_a_change_nothing_is_written(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xff")
    update_text(path, lambda text: text or "new")
    stamp = file_stamp(path)
    path.with_name(".a.txt.lock").unlink()
    update_text(path, lambda text: text or "newer")
    assert (path.read_text(), file_stamp(path)) == ("new", stamp)
    assert list(tmp_path.iterdir()) == [path]


def test_check_folder__names_the_file_that_is_another(tmp_path: Path) -> None:
    check_folder(tmp_path)
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    write_checksums(tmp_path, ["b", "a"])
    check_folder(tmp_path)
    (tmp_path / "a").write_text("c")
    with pytest.raises(DamagedError, match=r"a is not what was written there.*delete .*checksums"):
        check_folder(tmp_path)
    (tmp_path / "a").unlink()
    with pytest.raises(DamagedError, match="a is not what was written"):
        check_folder(tmp_path)
    for text in ("{", "[1]", '{"../a": "x"}', "5"):
        (tmp_path / "checksums.json").write_text(text)
        with pytest.raises(DamagedError):
            check_folder(tmp_path)


def test_remove_partials__takes_what_is_old_enough(tmp_path: Path) -> None:
    remove_partials(tmp_path / "none")
    old, new = tmp_path / "a" / "x.1.part", tmp_path / "y.2.part"
    old.parent.mkdir()
    for path in (old, new, tmp_path / "whole"):
        path.touch()
    os.utime(old, (time.time() - 7200,) * 2)
    remove_partials(tmp_path, 3600)
    assert (old.exists(), new.exists()) == (False, True)
    remove_partials(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "whole"]


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

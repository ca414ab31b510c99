"""Shards as img2dataset writes them, and what is refused in them."""

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from alphaclip.training.pairs.captions.grounded_captions import read_caption_shards
from alphaclip.training.pairs.format.records import PairError, Skipped
from alphaclip.training.pairs.sources.img2dataset import (
    PictureFile,
    PictureFolder,
    find_shards,
    read_member,
    scan_shard,
)

from ..conftest import picture_file as picture


@pytest.fixture
def shard(tmp_path: Path) -> Callable[..., Path]:
    """Writes a tar: ``shard({"a.jpg": b"..."}, tarfile.TarInfo(...))``."""

    def write(members: dict[str, bytes], *others: tarfile.TarInfo) -> Path:
        path = tmp_path / "shards" / "00000.tar"
        path.parent.mkdir(exist_ok=True)
        with tarfile.open(path, "w") as tar:
            for name, content in members.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
            for info in others:
                tar.addfile(info)
        return path

    return write


def link(name: str, to: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, to
    return info


def test_scan_shard__members_of_a_key_belong_together(shard: Callable[..., Path]) -> None:
    path = shard(
        {
            "0.jpg": picture(1),
            "0.txt": b"a dog",
            "0.json": b'{"caption": "a cat", "url": "http://a/0"}',
            "1.png": picture(2, "PNG"),
            "1.txt": b" a bird\n",
            "2.json": b"{}",
            "2.npy": b"left alone",
        }
    )
    (first, second, third), left_out = scan_shard(path)
    assert left_out == []
    assert first.content() == {"caption": "a cat", "url": "http://a/0"}
    assert second.content() == {"caption": "a bird"}
    assert (third.image, third.location) == (None, "00000.tar/2")
    assert read_member(path.parent, "00000.tar/1") == picture(2, "PNG")


def test_scan_shard__links_and_names_that_lead_out_are_refused(
    shard: Callable[..., Path],
) -> None:
    path = shard(
        {"/etc/a.jpg": b"x", "../b.jpg": b"x", "c/../../d.txt": b"x", "good.jpg": picture(1)},
        link("e.jpg", "/etc/hostname"),
        link("f.jpg", "good.jpg", tarfile.LNKTYPE),
    )
    pictures, left_out = scan_shard(path)
    assert [found.key for found in pictures] == ["good"]
    assert [skipped.reason for skipped in left_out] == ["member refused"] * 5
    assert sorted(str(found.name) for found in path.parent.iterdir()) == ["00000.tar"]


def test_scan_shard__a_cut_shard_gives_what_is_whole(shard: Callable[..., Path]) -> None:
    path = shard({f"{n}.jpg": picture(n, side=40) for n in range(4)})
    path.write_bytes(path.read_bytes()[:6000])
    pictures, left_out = scan_shard(path)
    assert 1 <= len(pictures) < 4
    assert {skipped.reason for skipped in left_out} == {"shard cut or damaged"}
    for found in pictures:
        location = f"00000.tar/{found.key}"
        assert read_member(path.parent, location) == picture(int(found.key), side=40)


def test_scan_shard__no_tar_is_counted(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"nothing" * 200)
    pictures, (skipped,) = scan_shard(tmp_path / "a.tar")
    assert (pictures, skipped.reason) == ([], "shard cut or damaged")
    with pytest.raises(PairError, match=r"holds no \.tar"):
        find_shards(tmp_path / "none")


def test_folder__opens_files_and_members_and_says_what_is_missing(
    shard: Callable[..., Path],
) -> None:
    path = shard({"0.jpg": picture(1), "1.jpg": b"no picture", "2.txt": b"a"})
    (path.parent / "a.png").write_bytes(picture(2, "PNG"))
    (path.parent / "cut.jpg").write_bytes(picture(3, side=400)[:2000])
    folder = PictureFolder(path.parent)
    assert folder.open("00000.tar/0") == PictureFile(picture(1), "jpg")
    assert folder.open("a.png") == PictureFile(picture(2, "PNG"), "png")
    reasons = {
        "00000.tar/1": "not a picture",
        "00000.tar/2": "missing",
        "00001.tar/0": "missing",
        "../00000.tar/0": "path outside the folder",
        "/etc/hostname": "path outside the folder",
        "none.png": "missing",
        "00000.tar": "not a picture",
        "cut.jpg": "damaged picture",
        "file:///etc/hostname": "an address, not a file",
    }
    for location, reason in reasons.items():
        made = folder.open(location)
        assert isinstance(made, Skipped)
        assert made.reason == reason


def test_read_caption_shards__pictures_with_captions(shard: Callable[..., Path]) -> None:
    entry = json.dumps({"license": "cc0"}).encode()
    path = shard(
        {
            "0.jpg": picture(1),
            "0.txt": b"a dog",
            "0.json": entry,
            "1.txt": b"gone",
            "2.jpg": picture(2),
            "3.jpg": picture(3),
            "3.json": b"{",
        }
    )
    (row,), left_out = read_caption_shards(path)
    assert (row.place, row.caption, row.licence) == ("00000.tar/0", "a dog", "cc0")
    assert [skipped.reason for skipped in left_out] == [
        "missing in its shard",
        "row without a caption",
        "JSON damaged",
    ]

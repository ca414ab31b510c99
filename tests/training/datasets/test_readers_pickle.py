"""Pickles: plain data is read, everything else is refused before any of it is followed."""

import os
import pickle
import pickletools
from collections import OrderedDict
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alphaclip.errors import AlphaClipError
from alphaclip.training.datasets import plain_pickle
from alphaclip.training.datasets.plain_pickle import ALLOWED, load_plain_pickle

REF = {
    "sent_ids": [0, 1],
    "file_name": "COCO_train2014_000000581857_16.jpg",
    "ann_id": 1719310,
    "ref_id": 0,
    "image_id": 581857,
    "split": "train",
    "category_id": 1,
    "sentences": [
        {"tokens": ["the", "lady"], "raw": "THE LADY", "sent_id": 0, "sent": "the lady"},
        {
            "tokens": ["caf\u00e9"],
            "raw": "caf\u00e9 \u65e5\u672c",
            "sent_id": 1,
            "sent": "caf\u00e9",
        },
    ],
}
REFS = [REF, REF, {**REF, "score": 0.5, "none": None, "yes": True, "big": -(2**70), "raw": b"x"}]


@pytest.mark.parametrize("protocol", range(3, pickle.HIGHEST_PROTOCOL + 1))
def test_plain_data__is_read_from_every_protocol(tmp_path: Path, protocol: int) -> None:
    (tmp_path / "refs.p").write_bytes(pickle.dumps(REFS, protocol))
    assert load_plain_pickle(tmp_path / "refs.p") == REFS


@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_plain_data__is_read_from_old_protocols(tmp_path: Path, protocol: int) -> None:
    """Python 3 writes bytes in these by a call, so that only Python 2 can."""
    refs = [REF, {**REF, "score": 0.5, "none": None, "yes": True, "big": -(2**70)}]
    (tmp_path / "refs.p").write_bytes(pickle.dumps(refs, protocol))
    assert load_plain_pickle(tmp_path / "refs.p") == refs


PYTHON_2 = {
    "protocol 0": b"(lp1\n(dp2\nS'raw'\np3\nS'caf\\xe9'\np4\nsS'ann_id'\np5\nI17\n"
    b"sS'big'\nL5L\nsS'u'\nV\\u65e5\np6\nsag2\na.",
    "protocol 2": b"\x80\x02]q\x01}q\x02(U\x03rawq\x03U\x04caf\xe9q\x04U\x06ann_idq\x05K\x11"
    b"U\x03bigq\x06\x8a\x01\x05U\x01uq\x07X\x03\x00\x00\x00\xe6\x97\xa5q\x08uah\x02a.",
}


@pytest.mark.parametrize("content", PYTHON_2.values(), ids=PYTHON_2.keys())
def test_plain_data__of_python_2_has_its_bytes_as_latin1(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "refs.p").write_bytes(content)
    expected = {"raw": "caf\u00e9", "ann_id": 17, "big": 5, "u": "\u65e5"}
    assert load_plain_pickle(tmp_path / "refs.p") == [expected, expected]


class Attack:
    """Makes a folder when it is unpickled."""

    def __init__(self, target: str) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (self.target,)


class Plain:
    """A class like any other."""


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_call__never_happens(tmp_path: Path, protocol: int) -> None:
    target = tmp_path / "made"
    content = pickle.dumps([REF, Attack(str(target))], protocol)
    (tmp_path / "refs.p").write_bytes(content)
    with pytest.raises(AlphaClipError, match=r"is not read: it has the instruction \w*GLOBAL"):
        load_plain_pickle(tmp_path / "refs.p")
    assert not target.exists()
    pickle.loads(content)
    assert target.is_dir()


SYSTEM = {
    "os.system": b"cos\nsystem\n(S'touch %s'\ntR.",
    "os.system, protocol 4": b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x08touch %s\x85R.",
    "INST": b"(S'touch %s'\nios\nsystem\n.",
    "OBJ": b"(cos\nsystem\nS'touch %s'\no.",
    "NEWOBJ": b"\x80\x02cos\nsystem\n(S'touch %s'\nt\x81.",
    "BUILD": b"(lp0\n(dp1\nb.",
    "REDUCE without a global": b"(lp0\n(tR.",
    "PERSID": b"Pid\n.",
    "BINPERSID": b"U\x02idQ.",
    "EXT1": b"\x80\x02\x82\x01.",
    "EXT4": b"\x80\x02\x84\x01\x00\x00\x00.",
    "a tuple": pickle.dumps([(1, 2)]),
    "a set": pickle.dumps([{1, 2}]),
    "a frozen set": pickle.dumps([frozenset({1})]),
    "a byte array": pickle.dumps([bytearray(b"x")], 5),
    "POP and DUP": b"(lp0\n20.",
}


@pytest.mark.parametrize("content", SYSTEM.values(), ids=SYSTEM.keys())
def test_instructions__beyond_plain_data_are_refused(tmp_path: Path, content: bytes) -> None:
    target = tmp_path / "made"
    if b"%s" in content:
        content = content.replace(b"%s", str(target).encode())
    (tmp_path / "refs.p").write_bytes(content)
    with pytest.raises(AlphaClipError, match=r"is not read|is damaged"):
        load_plain_pickle(tmp_path / "refs.p")
    assert not target.exists()


@pytest.mark.parametrize(
    "value",
    [Plain(), Plain, os.system, len, print, lambda: 0, date(2020, 1, 1), OrderedDict(a=1),
     np.zeros(3), 1j],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_values__with_a_class_or_a_function_are_refused(tmp_path: Path, value: Any) -> None:
    try:
        content = pickle.dumps([value])
    except (AttributeError, pickle.PicklingError):
        content = b"cbuiltins\neval\n."
    (tmp_path / "refs.p").write_bytes(content)
    with pytest.raises(AlphaClipError, match="is not read: it has the instruction"):
        load_plain_pickle(tmp_path / "refs.p")


def test_unpickler__refuses_by_itself_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Should the look through the instructions miss one."""
    monkeypatch.setattr(plain_pickle, "_check", lambda content: None)
    for content in (b"cos\nsystem\n.", b"Pid\n.", pickle.dumps(Plain())):
        (tmp_path / "refs.p").write_bytes(content)
        with pytest.raises(AlphaClipError, match=r"is not read: it (asks for|refers to)"):
            load_plain_pickle(tmp_path / "refs.p")


@pytest.mark.parametrize(
    "content",
    [
        b"]r\xff\xff\xff\x7f.",
        b"]p4294967295\n.",
        b"]p-1\n.",
        b"]r\x10\x00\x00\x00.",
    ],
    ids=["LONG_BINPUT", "PUT", "a negative PUT", "a gap"],
)
def test_memo__may_not_be_larger_than_the_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "refs.p").write_bytes(content)
    with pytest.raises(AlphaClipError, match=r"has a memo of|is damaged"):
        load_plain_pickle(tmp_path / "refs.p")


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_damaged__cut_anywhere(tmp_path: Path, protocol: int) -> None:
    content = pickle.dumps([REF], protocol)
    for end in range(0, len(content), 7):
        (tmp_path / "refs.p").write_bytes(content[:end])
        with pytest.raises(AlphaClipError, match="is damaged"):
            load_plain_pickle(tmp_path / "refs.p")


@pytest.mark.parametrize(
    "content",
    [b"", b"no pickle", b"\x80\x09.", b"X\xff\xff\xff\x7fa.", b"\x8d" + b"\xff" * 8 + b".",
     b"\x95" + b"\xff" * 8 + b"N.", b"h\x05.", b"s.", b"\x8b\xff\xff\xff\x7f.", b"(l(ls.",
     b"L" + b"9" * 10_000 + b"L\n."],
    ids=range(11),
)  # fmt: skip
def test_damaged__or_lying_about_lengths(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "refs.p").write_bytes(content)
    with pytest.raises(AlphaClipError, match=r"is damaged|is not read"):
        load_plain_pickle(tmp_path / "refs.p")


def test_too_large__is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain_pickle, "MAX_BYTES", 3)
    (tmp_path / "refs.p").write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(AlphaClipError, match="more than 3 bytes"):
        load_plain_pickle(tmp_path / "refs.p")


def test_allowed__are_instructions_that_exist_and_call_nothing() -> None:
    names = {opcode.name for opcode in pickletools.opcodes}
    assert names >= ALLOWED
    refused = names - ALLOWED
    assert refused >= {"GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD", "INST", "OBJ", "NEWOBJ",
                       "NEWOBJ_EX", "EXT1", "EXT2", "EXT4", "PERSID", "BINPERSID"}  # fmt: skip

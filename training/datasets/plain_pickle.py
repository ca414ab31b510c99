"""Pickles of lists, dictionaries, texts and numbers; everything else is refused unread."""

from __future__ import annotations

import pickle
import pickletools
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, NoReturn

from alphaclip.errors import AlphaClipError

MAX_BYTES = 512 * 1024**2
"""The largest of RefCOCO's files has some ten megabytes."""

_NUMBERS = "INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT NONE NEWTRUE NEWFALSE"
_TEXTS = (
    "STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 "
    "BINBYTES SHORT_BINBYTES BINBYTES8"
)
_CONTAINERS = "MARK EMPTY_LIST LIST APPEND APPENDS EMPTY_DICT DICT SETITEM SETITEMS"
_MEMO = "PUT BINPUT LONG_BINPUT MEMOIZE GET BINGET LONG_BINGET"

ALLOWED = frozenset(f"PROTO FRAME STOP {_NUMBERS} {_TEXTS} {_CONTAINERS} {_MEMO}".split())
"""The instructions that plain data is made of. There is none that names a class or a function,
calls something or builds an object, and no tuple, so that no key is costly to hash."""

_OPCODES = {opcode.code.encode("latin1"): opcode for opcode in pickletools.opcodes}
_PUTS = ("PUT", "BINPUT", "LONG_BINPUT")


def load_plain_pickle(path: Path) -> Any:
    """Reads a pickle that holds plain data only.

    The instructions are looked through before any is followed. Texts of Python 2 are read as
    Latin-1.

    Args:
        path: of the file, of any protocol

    Returns:
        lists, dictionaries, str, bytes, int, float, bool and None

    Raises:
        AlphaClipError: if it names a class, a function or anything but plain data, is damaged, or
            is larger than any such file
    """
    if path.stat().st_size > MAX_BYTES:
        raise AlphaClipError(f"{path} has more than {MAX_BYTES} bytes: it is another file")
    content = path.read_bytes()
    try:
        _check(content)
        return _PlainUnpickler(BytesIO(content), encoding="latin1").load()
    except _Refused as error:
        raise AlphaClipError(
            f"{path} is not read: {error}. RefCOCO's own files hold plain data only; get it again"
        ) from error
    except Exception as error:
        raise AlphaClipError(
            f"{path} is damaged ({type(error).__name__}): get the file again"
        ) from error


class _Refused(Exception):
    """A pickle asks for more than plain data."""


class _PlainUnpickler(pickle.Unpickler):
    """Refuses every class, function and persistent id, should the check have missed one."""

    def find_class(self, module_name: str, global_name: str) -> NoReturn:
        raise _Refused(f"it asks for {module_name[:40]}.{global_name[:40]}")

    def persistent_load(self, pid: Any) -> NoReturn:
        raise _Refused("it refers to an object outside the file")


def _check(content: bytes) -> None:
    """Looks through the instructions; a memo's place may not exceed their number."""
    for count, (name, argument, position) in enumerate(_instructions(BytesIO(content))):
        if name not in ALLOWED:
            raise _Refused(f"it has the instruction {name} at byte {position}")
        if name in _PUTS and int(argument) > count:
            raise _Refused(f"it has a memo of {argument} places at byte {position}")


def _instructions(stream: BytesIO) -> Iterator[tuple[str, Any, int]]:
    """Names, arguments and places; as pickletools.genops, which stops at Python 2's bytes."""
    name = ""
    while name != "STOP":
        position = stream.tell()
        opcode = _OPCODES[stream.read(1)]
        name = opcode.name
        if name == "STRING":
            yield name, stream.readline(), position
        else:
            yield name, opcode.arg.reader(stream) if opcode.arg else None, position

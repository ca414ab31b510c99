"""What manifests and plans say, checked before it is acted on.

A file that carries its own SHA-256 is what was written, but anybody may have written it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from alphaclip.errors import brief
from alphaclip.files import DamagedError, malformed

Kinds = Mapping[str, type | tuple[type, ...]]

_SEGMENT: Kinds = {"count": int, "vectors": dict, "rows": dict}
_KINDS = (*_SEGMENT, "ids", "kept")[1:]
_FILE: Kinds = {"file": str, "sha256": str, "bytes": int}
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"data/([0-9a-f]{24})\.(?:npy|parquet)")
_LISTED = re.compile(r"(?:wanted-[0-9a-f]{8}|todo-[0-9a-f]{8}-[0-9]{5,9})\.parquet")


def check_kinds(content: Any, kinds: Kinds, where: object, optional: Kinds | None = None) -> None:
    """Looks whether an object has these names, and values of these types; numbers are counts.

    Args:
        content: from JSON
        kinds: of the names that it must have
        where: it was read, for messages
        optional (None): of those that it may have; what else it has is of a later version

    Raises:
        DamagedError: if not; says where and what
    """
    if not isinstance(content, dict):
        raise malformed(where, "it", content)
    there = {name: kind for name, kind in (optional or {}).items() if name in content}
    for name, kind in {**kinds, **there}.items():
        if name not in content:
            raise DamagedError(f"{where} is not what is written here: {name} is missing")
        value = content[name]
        # True is no number
        is_kind = type(value) in (kind if isinstance(kind, tuple) else (kind,))
        if not is_kind or (type(value) is int and value < 0):
            raise malformed(where, name, value)


def check_segment(entry: Any, where: object) -> None:
    """Looks whether an entry names the files of a segment, all in ``data/`` and by their content.

    Raises:
        DamagedError: if not
    """
    check_kinds(entry, _SEGMENT, where, {"ids": dict, "kept": dict})
    for kind, file in files_of_segment(entry):
        check_data_file(file, where, kind)


def files_of_segment(entry: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What each file of a segment holds, and its name, SHA-256 and size."""
    for kind in _KINDS:
        if kind in entry:
            yield kind, entry[kind]
            if "blocks" in entry[kind]:
                yield "checksums", entry[kind]["blocks"]


def check_data_file(file: Any, where: object, kind: str) -> None:
    """Looks whether this names a file in ``data/``, by its content.

    Raises:
        DamagedError: if not
    """
    _check_file(file, where)
    name = _NAME.fullmatch(file["file"])
    if name is None or not file["sha256"].startswith(name[1]):
        raise malformed(where, f"the file of its {kind}", file["file"])


def check_skipped(skipped: list[Any], where: object) -> None:
    """Looks whether a list is of regions and pictures that were left out.

    Raises:
        DamagedError: if not
    """
    for one in skipped:
        check_kinds(one, {"filepath": str, "label_id": str, "reason": str}, where)


def check_list(file: Any, where: object) -> None:
    """Looks whether this names a list of a plan, beside it; one in memory has no SHA-256.

    Raises:
        DamagedError: if not
    """
    if isinstance(file, dict) and "sha256" in file:
        _check_file(file, where)
    check_kinds(file, {"file": str}, where)
    if not _LISTED.fullmatch(file["file"]):
        raise malformed(where, "a file", file["file"])


def _check_file(file: Any, where: object) -> None:
    check_kinds(file, _FILE, where)
    if not _SHA256.fullmatch(file["sha256"]):
        raise malformed(where, f"the SHA-256 of {brief(file['file'])}", file["sha256"])

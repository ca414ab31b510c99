"""Jobs that go on where they stopped: what they were begun with, and one writer at a time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from alphaclip.files import write_text
from alphaclip.training.pairs.format.errors import PairError

T = TypeVar("T")

LOCK = ".writer.lock"


def make_plan(
    items: Sequence[T], identify: Callable[[T], str], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """What has to agree when a job goes on.

    Args:
        items: in order
        identify: a text that tells an item from others, the same in every run
        settings: all that decides what is made, as JSON holds it

    Returns:
        ``items`` (their number), ``fingerprint`` (of all of them) and ``settings``
    """
    digest = hashlib.sha256()
    for item in items:
        digest.update(f"{identify(item)}\n".encode("utf-8", "surrogatepass"))
    content = {"items": len(items), "fingerprint": digest.hexdigest(), "settings": settings}
    plan: dict[str, Any] = json.loads(json.dumps(content))
    return plan


def agree(path: Path, plan: Mapping[str, Any]) -> None:
    """Keeps the plan of a job that begins, and compares it with that of one that goes on.

    Args:
        path: where the plan is kept
        plan: see :func:`make_plan`

    Raises:
        PairError: if they differ; says in what
        AlphaClipError: if it cannot be written
    """
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        write_text(path, json.dumps(plan, ensure_ascii=False, indent=1) + "\n")
        return
    except (OSError, ValueError) as error:
        raise PairError(f"{path} cannot be read ({error}): take another folder") from error
    if found != plan:
        raise PairError(
            f"{path.parent} holds what another job made ({_difference(found, plan)}): take "
            "another folder, delete this one, or go on with what it was begun with"
        )


@contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Makes this process the one that writes into a folder; the lock ends with the process.

    What a writer that was killed left half-written is deleted.

    Args:
        folder: made if need be

    Raises:
        PairError: if another process writes there, or the folder cannot be written
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / LOCK)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise PairError(f"another process writes into {folder}: wait until it is done") from error
    except (OSError, NotImplementedError) as error:
        raise PairError(f"{folder} cannot be written ({error}): take another folder") from error
    try:
        for partial in folder.glob("*.part"):
            with suppress(OSError):
                partial.unlink()
        yield
    finally:
        lock.release()


def _difference(found: Any, plan: Mapping[str, Any]) -> str:
    old, new = _flat(found), _flat(plan)
    names = [name for name in sorted(old.keys() | new.keys()) if old.get(name) != new.get(name)]
    lines = [f"{name}: {old.get(name)!r:.60} there, {new.get(name)!r:.60} now" for name in names]
    return "; ".join(lines[:3])


def _flat(content: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(content, Mapping):
        return {prefix or "content": content}
    found: dict[str, Any] = {}
    for name, value in content.items():
        found |= _flat(value, f"{prefix}.{name}" if prefix else name)
    return found

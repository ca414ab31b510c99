"""What was done to a dataset's labels, kept so that it can be taken back."""

from __future__ import annotations

import logging
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime, timezone
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from alphaclip.arguments import check, checked
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.dataset.records import RecordError, Records, new_key

if TYPE_CHECKING:
    import fiftyone as fo

logger = logging.getLogger(__name__)

Kind = Literal["tag", "tag_samples", "label", "copy", "attribute", "save_view"]

STORE, CHANGES = "actions", "changes"
MOST_ACTIONS = 200
"""Actions that can be taken back; the oldest are forgotten first. Each keeps what it changed in the
database, some 100 bytes for a label."""

_CHUNK = 20_000
"""Changes in one record: some 2 MB, where 16 MB is the most."""

_DOCUMENT_BYTES = 4_000_000
"""Of the labels in one record, but for a single one that is larger: 16 MB is the most."""


class Change(NamedTuple):
    """What happened to one label.

    Attributes:
        field: that holds the label
        sample_id: of its picture
        label_id: of the label
        before: what was there: a label's class; for a copy, a digest of what was written; for an
            attribute, JSON of what was written and what was there
    """

    field: str
    sample_id: str
    label_id: str
    before: str | None = None


@dataclass(frozen=True)
class Action:
    """Something that was done, as JSON holds it; the changes themselves are kept beside it.

    Attributes:
        id: for :func:`alphaclip.indexing.act.acting.undo`
        kind: "tag", "tag_samples", "label", "copy", "attribute" or "save_view"
        count: how many labels it changed, made, or put into a view
        left: how many hits it left as they were: they had the tag or a label, or are gone
        detail: what was done, such as ``{"tag": "fruit"}``
        made_at: the time, ISO 8601, UTC
        undone: whether it was taken back
    """

    id: str
    kind: Kind
    count: int
    left: int = 0
    detail: dict[str, Any] = field(default_factory=dict)
    made_at: str = ""
    undone: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The same in JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Action:
        """An action from its JSON values; names of later versions are left out.

        Raises:
            TypeError: if they are not those of an action
        """
        own = {one.name: values[one.name] for one in fields(cls) if one.name in values}
        action = cls(**own)
        kinds = (str, str, int, int, dict, str, bool)
        is_action = all(map(isinstance, vars(action).values(), kinds))
        if not is_action or action.kind not in get_args(Kind):
            raise TypeError(f"{values!r:.120} is no action")
        return action


@dataclass(frozen=True)
class Made:
    """What actions on a field or an attribute have declared for it.

    Attributes:
        field: whether the field itself
        attributes: of its labels
    """

    field: bool
    attributes: list[str]


@dataclass(frozen=True)
class Undone:
    """What became of an action that was taken back.

    Attributes:
        restored: labels that are again as they were before
        left: labels that somebody has edited or deleted since; they stay as they are
    """

    restored: int
    left: int


def begin(
    dataset: fo.Dataset,
    kind: Kind,
    changes: Sequence[Change],
    left: int,
    detail: Mapping[str, Any],
    count: int | None = None,
    key: str | None = None,
) -> Action:
    """Writes down what is about to be done, so that it can be taken back even if it is cut off.

    Args:
        dataset: whose labels
        kind: of action
        changes: to each label
        left: hits that stay as they are
        detail: JSON values
        count (None): labels that change; None counts the changes
        key (None): of :func:`new_key`, where the changes name the action; None makes one
    """
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    total = len(changes) if count is None else count
    action = Action(key or new_key(), kind, total, left, dict(detail), now)
    details = Records(dataset, CHANGES)
    for number, start in enumerate(range(0, len(changes), _CHUNK)):
        details.set(f"{action.id}/{number:06d}", changes[start : start + _CHUNK])
    actions = Records(dataset, STORE)
    actions.set(action.id, action.to_dict())
    for old in actions.keys()[:-MOST_ACTIONS]:
        forget(dataset, old)
    return action


def forget(dataset: fo.Dataset, key: str) -> None:
    """Forgets an action, of which nothing is done or that is too old."""
    details = Records(dataset, CHANGES)
    for one in details.keys(key):
        details.delete(one)
    Records(dataset, STORE).delete(key)


def check_text(name: str, value: str) -> None:
    """Checks a tag or a class.

    Raises:
        AlphaClipError: if it is no text, empty, or longer than 1,000 characters
    """
    if not isinstance(value, str) or not value.strip() or len(value) > 1000:
        raise AlphaClipError(
            f"{name} is {value!r:.120}: expected a text of at most 1,000 characters, not empty"
        )


@checked()
def history(dataset: fo.Dataset, count: int = 50) -> list[Action]:
    """The last things that were done to a dataset through its hits, the newest first.

    What cannot be read any more is left out.
    """

    records = Records(dataset, STORE)

    def readable() -> Iterator[Action]:
        for key in reversed(records.keys()):
            try:
                with records.reading(key) as values:
                    if values is not None:
                        yield Action.from_dict(values)
            except RecordError as error:
                logger.warning("%s", error)

    return list(islice(readable(), max(count, 0)))


def find_action(dataset: fo.Dataset, action: Action | str) -> Action:
    """An action as it is kept now.

    Raises:
        AlphaClipError: if the dataset has no such action any more
    """
    key = check("action", getattr(action, "id", action), "str")
    with Records(dataset, STORE).reading(key) as values:
        if values is not None:
            return Action.from_dict(values)
    raise AlphaClipError(
        f"dataset {dataset.name!r} has no action {key!r}: history(dataset) lists the last "
        f"{MOST_ACTIONS}, of this dataset only"
    )


def made_for(dataset: fo.Dataset, into: str) -> Made:
    """What the actions on a field or attribute that are not taken back have declared for it.

    An action that goes on with the same one takes it over: whichever is taken back last leaves
    nothing declared.
    """
    made = Made(False, [])
    for action in history(dataset, MOST_ACTIONS):
        if not action.undone and action.detail.get("into") == into:
            names = [*made.attributes, *action.detail.get("made", ())]
            made = Made(made.field or bool(action.detail.get("made_field")), names)
    return made


def changes_of(dataset: fo.Dataset, action: Action) -> list[Change]:
    """What an action did to each label.

    Raises:
        AlphaClipError: if that is damaged
    """
    records, changes = Records(dataset, CHANGES), []
    for key in records.keys(f"{action.id}/"):
        with records.reading(key) as rows:
            changes += [Change(*row) for row in rows or []]
    return changes


def keep_replaced(dataset: fo.Dataset, action: Action, value: Any) -> None:
    """Keeps a JSON value that an action is about to replace as a whole."""
    Records(dataset, CHANGES).set(f"{action.id}:replaced", value)


def replaced_by(dataset: fo.Dataset, action: Action) -> Any:
    """What :func:`keep_replaced` kept; None if nothing."""
    return Records(dataset, CHANGES).get(f"{action.id}:replaced")


def keep_documents(
    dataset: fo.Dataset, action: Action, documents: Iterable[tuple[str, Mapping[str, Any]]]
) -> None:
    """Keeps labels that an action is about to replace: the sample and the raw document of each."""
    import bson

    records, number, room = Records(dataset, CHANGES), 0, _DOCUMENT_BYTES
    rows: list[tuple[str, str]] = []
    for sample_id, document in documents:
        text = b64encode(bson.encode(document)).decode()
        if rows and room < len(text):
            records.set(f"{action.id}:documents/{number:06d}", rows)
            number, rows, room = number + 1, [], _DOCUMENT_BYTES
        rows.append((sample_id, text))
        room -= len(text)
    if rows:
        records.set(f"{action.id}:documents/{number:06d}", rows)


def documents_of(dataset: fo.Dataset, action: Action) -> Iterator[tuple[str, dict[str, Any]]]:
    """What :func:`keep_documents` kept."""
    import bson

    records = Records(dataset, CHANGES)
    for key in records.keys(f"{action.id}:documents/"):
        with records.reading(key) as rows:
            yield from [(sample, bson.decode(b64decode(text))) for sample, text in rows or []]


def is_undone(dataset: fo.Dataset, key: str) -> bool:
    """Whether an action was taken back; one that is forgotten or damaged was not."""
    with suppress(AlphaClipError):
        return find_action(dataset, key).undone
    return False


def mark_undone(dataset: fo.Dataset, action: Action) -> None:
    """Remembers that an action was taken back."""
    Records(dataset, STORE).set(action.id, replace(action, undone=True).to_dict())

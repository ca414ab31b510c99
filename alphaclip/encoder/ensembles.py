"""Several encoders as one: vectors whose cosine is the mean of the members' cosines.

The members' unit vectors are joined and scaled by 1 / sqrt(members); so a search over joined
vectors ranks by the mean of what the members say. They may differ in model, method or view.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import tee
from typing import Any

import numpy as np

from alphaclip.arguments import COUNT, checked
from alphaclip.catalog.methods import JOIN
from alphaclip.encoder.encoder import Encoder
from alphaclip.errors import AlphaClipError, brief
from alphaclip.regions.region import Region
from alphaclip.views.prefetch import Failure, OnError, Picture
from alphaclip.views.view import View


@dataclass(frozen=True)
class MemberViews(View):
    """The views of an ensemble's members, in their order."""

    members: tuple[View, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The members' views, as JSON holds them; `read_view` reads it."""
        return {"members": [view.to_dict() for view in self.members]}


class Ensemble(Encoder):
    """Encodes with each of its members; made by :func:`alphaclip.load`.

    Every member opens and cuts the pictures for itself.

    Args:
        members: at least two, with different vectors
    """

    def __init__(self, members: Sequence[Encoder]) -> None:
        if len(members) < 2:
            raise AlphaClipError(f"{len(members)} encoders were named: expected one, or several")
        names = [member.name for member in members]
        if len({member.fingerprint for member in members}) < len(members):
            raise AlphaClipError(f"ensemble {JOIN.join(names)}: two of its members are the same")
        self.members = tuple(members)
        self.name = JOIN.join(names)
        self.view = MemberViews(members=tuple(member.view for member in members))
        self.device = members[0].device
        self.dtype = members[0].dtype

    @property
    def dim(self) -> int:
        """Length of a vector: the sum of the members'."""
        return sum(member.dim for member in self.members)

    @property
    def image_size(self) -> int:
        """Not stated: raises AlphaClipError, since the members do not look at one view."""
        raise self._not_one_view()

    @cached_property
    def fingerprint(self) -> str:
        """Made from the members'."""
        return _joint(member.fingerprint for member in self.members)

    @cached_property
    def text_fingerprint(self) -> str:
        """Made from the members'."""
        return _joint(member.text_fingerprint for member in self.members)

    @checked(batch_size=COUNT)
    def encode_many(
        self,
        items: Iterable[tuple[Picture, Sequence[Region]]],
        on_error: OnError | None = None,
        batch_size: int | None = None,
        apart: Container[int] = (),
    ) -> Iterator[np.ndarray]:
        """See `Encoder.encode_many`; what fails for one member has failed, and is told once."""
        told: set[tuple[int, int | None]] = set()

        def tell(failure: Failure) -> None:
            if on_error and (failure.item, failure.region) not in told:
                told.add((failure.item, failure.region))
                on_error(failure)

        streams = tee(items, len(self.members))
        rows = (
            member.encode_many(stream, on_error and tell, batch_size, apart)
            for member, stream in zip(self.members, streams, strict=True)
        )
        return map(_join, zip(*rows, strict=True))

    def encode_text(
        self, prompts: Sequence[str], templates: Sequence[str] | None = None
    ) -> np.ndarray:
        """See `Encoder.encode_text`."""
        return _join([member.encode_text(prompts, templates) for member in self.members])

    def encode_views(self, *args: Any, **kwargs: Any) -> np.ndarray:
        """Not possible: raises AlphaClipError, since the members do not look at one view."""
        raise self._not_one_view()

    def _not_one_view(self) -> AlphaClipError:
        return AlphaClipError(
            f"{self.name} is an ensemble, whose members are shown regions in ways of their own: "
            f"take one of them, such as {self.members[0].name}"
        )


def _join(parts: Sequence[np.ndarray]) -> np.ndarray:
    joined = np.concatenate(parts, axis=1) / np.sqrt(np.float32(len(parts)))
    return np.asarray(joined, np.float32)


def read_view(content: dict[str, Any]) -> View:
    """The view that ``to_dict`` of a `View` or of `MemberViews` stated, as JSON holds it.

    Raises:
        AlphaClipError: if it is none
    """
    try:
        views = tuple(View(**member) for member in content.get("members", [content]))
        hash(views)
    except TypeError as error:
        raise AlphaClipError(f"view is {brief(content)}: {error}") from error
    return MemberViews(members=views) if "members" in content else views[0]


def _joint(fingerprints: Iterable[str]) -> str:
    return hashlib.sha256(JOIN.join(fingerprints).encode()).hexdigest()[:32]

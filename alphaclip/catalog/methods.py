"""Methods: what is done to a model so that it encodes regions, written ``BASE+METHOD``.

Most only show a region in another way, which every model takes. Some take the region from what
the model made of the picture, see `alphaclip.encoder.pooling`; they need no weights beyond the
model's.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alphaclip.errors import ModelNotFoundError

if TYPE_CHECKING:
    from alphaclip.views.view import View

SIGN = "+"
JOIN = " & "
"""Between the names of an ensemble's members."""

REGIONS = "regions"
PROMPTED = "maskprompt"
"""The one method that needs weights of its own."""
NATIVE = "native"
"""The one that only some towers take."""


@dataclass(frozen=True)
class Method:
    """One method.

    Attributes:
        name: as it is written behind the base
        summary: what it does, in a few words
        shows: fields of a `View` that it sets
        pools: whether it takes the region from the model's tokens; one of a name's methods may
    """

    name: str
    summary: str
    shows: Mapping[str, Any] = field(default_factory=dict)
    pools: bool = False

    def lay_over(self, view: View) -> View:
        """Sets what the method shows, and leaves the rest as it is."""
        if self.name == _WHOLE and not view.is_local:
            return replace(view, **{**self.shows, "kind": view.kind})
        return replace(view, **self.shows)


_WHOLE = "whole"
_NEAR = {"kind": "context", "context": 1.5}
_COVER = {"kind": "cover", "context": 2.0}
_CROP = {"kind": "context", "context": 1.0, "alpha": "ones"}
_NATIVE = {"kind": "native", "context": 1.0, "alpha": "ones"}
_MASKED = {**_CROP, "background": "mean"}

METHODS = (
    Method("box", "the alpha map is the region's box", {"alpha": "box"}),
    Method("ones", "the alpha map is all ones", {"alpha": "ones"}),
    Method(_WHOLE, "the whole picture, all-ones alpha", {"kind": "image", "alpha": "ones"}),
    Method("near", "1.5 times the region's box, with what is in it", _NEAR),
    Method("cover", "squares of at most twice the box, each for all regions in it", _COVER),
    Method("crop", "the region's box alone, all-ones alpha", _CROP),
    Method(NATIVE, "crop at the region's own aspect (SigLIP 2 with NaFlex)", _NATIVE),
    Method("maskedcrop", "crop, the mean colour outside the region", _MASKED),
    Method("blur", "blurred outside the region", {"background": "blur"}),
    Method("gray", "without colours outside the region", {"background": "gray"}),
    Method("circle", "a red ellipse round the region", {"marker": "circle"}),
    Method("maskattn", "the last attention sees the region's patches only (MaskCLIP*)", pools=True),
    Method(REGIONS, "region queries in the last blocks, as trained or by the mask", pools=True),
    Method("maskpool", "the mean of the region's patch vectors", pools=True),
    Method("roialign", "RoIAlign of the patch vectors over the region's box", pools=True),
    Method(
        PROMPTED,
        "MaskAdaptedCLIP: OVSeg's weights, FILE+maskprompt",
        {"kind": "context", "context": 1.0, "background": "mean"},
        pools=True,
    ),
)

_BY_NAME = {method.name: method for method in METHODS}
_FRAMES = frozenset(m.name for m in METHODS if "kind" in m.shows)
_ALL_ONES = frozenset(m.name for m in METHODS if m.shows.get("alpha") == "ones")


def split_name(name: str) -> tuple[str, tuple[Method, ...]]:
    """Splits a name into its base and its methods.

    Args:
        name: such as ``openclip:ViT-B-16/openai+near+maskattn``; a ``+`` in the path of a file
            or folder that exists belongs to the path

    Returns:
        the base's name, and the methods in the order in which they are laid over the view

    Raises:
        ModelNotFoundError: there is no such method, close ones are proposed; or two of the
            methods cannot go together
    """
    base = name
    words: list[str] = []
    while SIGN in base and not os.path.exists(Path(base).expanduser()):  # noqa: PTH110
        base, _, word = base.rpartition(SIGN)
        words.insert(0, word)
    for word in words:
        if word not in _BY_NAME:
            close = get_close_matches(word, _BY_NAME, n=3)
            hint = f"did you mean {', '.join(close)}? " if close else ""
            raise ModelNotFoundError(
                f"{name!r}: there is no method {word!r}: {hint}methods are {', '.join(_BY_NAME)}"
            )
    _check_together(words, name)
    return base, tuple(_BY_NAME[word] for word in words)


def lay_over(view: View, methods: Sequence[Method]) -> View:
    """Lays methods over a view, in order: what they set replaces what it had. Laying the same
    methods over the result changes nothing."""
    for method in methods:
        view = method.lay_over(view)
    return view


def default_view(base: View, methods: Sequence[Method]) -> View:
    """The view of a name with methods, where no view is asked for: its base's, laid over.

    Methods that take regions from the model's tokens show the whole picture then, unless another
    method says which part, so that a picture is encoded once for all its regions.
    """
    names = {method.name for method in methods}
    if base.kind == "context" and pooling_of(methods) and not names & _FRAMES:
        # A whole picture has no context: it is as it comes back from JSON.
        base = replace(base, kind="image", context=type(base).context)
    return lay_over(base, methods)


def pooling_of(methods: Sequence[Method]) -> str | None:
    """The name of the method that takes regions from the model's tokens, None if none does."""
    return next((method.name for method in methods if method.pools), None)


def _check_together(words: Sequence[str], name: str) -> None:
    twice = [word for word in _BY_NAME if words.count(word) > 1]
    pooled = [word for word in words if _BY_NAME[word].pools]
    blind = [word for word in words if word in _ALL_ONES]
    if twice:
        raise ModelNotFoundError(f"{name!r}: {twice[0]} is there twice; once is enough")
    if len(pooled) > 1:
        raise ModelNotFoundError(
            f"{name!r}: {' and '.join(pooled)} each take the region in a way of their own: "
            f"choose one, or make an ensemble: BASE+{pooled[0]}{JOIN}BASE+{pooled[1]}"
        )
    if pooled and NATIVE in words:
        raise ModelNotFoundError(
            f"{name!r}: {pooled[0]} takes regions from a square's patches, and native shows each "
            "at its own aspect: leave one of them out"
        )
    if pooled and blind:
        raise ModelNotFoundError(
            f"{name!r}: {blind[0]} says that everything is the region, which leaves {pooled[0]} "
            f"nothing to choose: leave one of them out, or take near+{pooled[0]} for a crop"
        )

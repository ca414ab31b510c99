"""How each kind of model is told which region is meant, and what it is to say of it.

Chat models see the region marked in the picture, cut out of it, or both; Qwen's also read
coordinates. Florence-2 and Kosmos-2 have tokens for boxes. Captioners such as BLIP see a crop and
go on with a text that has begun.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from alphaclip.errors import AlphaClipError, brief
from alphaclip.language.shown import Box
from alphaclip.views.view import View

Way = Literal["crop", "outline", "two", "coordinates"]
"""How a region is shown: a ``crop`` with what is near; an ``outline``, the whole picture with a red
ellipse round it; ``two``, both; ``coordinates``, the whole picture, and the box in words."""

_CROP, _OUTLINE = View("context"), View("image", marker="circle")
_VIEWS = {
    "crop": (_CROP,),
    "outline": (_OUTLINE,),
    "two": (_OUTLINE, _CROP),
    "coordinates": (View("image"),),
}
_SQUASHED = View("squash")
"""As Florence-2 and Kosmos-2 were trained: their boxes count from the picture's own borders."""

_POINTERS = {
    "crop": "The picture shows an object in its middle.",
    "outline": "A red ellipse is drawn round an object in the picture.",
    "two": "A red ellipse is drawn round an object in the first picture, the second picture shows "
    "the same object from near.",
    "coordinates": "Look at the object at {box} in the picture.",
}
_DESCRIBE = "Describe it in one short sentence."
_BRIEFLY = "Answer the question using a single word or phrase."

_ONE_PICTURE = ("llava", "llava_next", "vipllava")
"""Chat models that learnt from one picture at a time."""

_GOES_ON = ("blip", "blip-2", "instructblip", "git", "paligemma")
"""Models without turns: they go on with a text that has begun."""

_FLORENCE_TASKS = ("<REGION_TO_DESCRIPTION>", "<REGION_TO_CATEGORY>", "<REGION_TO_OCR>")
_IN_THOUSANDTHS = ("qwen2_vl", "qwen3_vl", "qwen3_vl_moe", "qwen3_5", "qwen3_5_moe")
_IN_PIXELS = ("qwen2_5_vl",)
_PATCHES = 32
"""Along a side of the grid that Kosmos-2's tokens for boxes count in."""

Wording = Callable[[str, Box], str]


def _same(text: str) -> str:
    return text


@dataclass(frozen=True)
class Dialect:
    """How a model is spoken to.

    Attributes:
        views: of the pictures that it is shown of a region
        describing: from what to say, empty for the usual, and the region's box to the prompt
        asking: the same of a question
        nested: whether its processor takes the list of each prompt's pictures
        takes_marks: whether prompts are some of the model's own marks
        reads: takes such marks out of its text
        says: what of this is no code, for the fingerprint
    """

    views: tuple[View, ...]
    describing: Wording
    asking: Wording
    nested: bool = False
    takes_marks: bool = False
    reads: Callable[[str], str] = _same
    says: tuple[str, ...] = ()


def choose_dialect(
    processor: Any, config: Any, shown: Way | None, has_alpha: bool = False
) -> Dialect:
    """The dialect of a model.

    Args:
        processor: of transformers
        config: of the model
        shown: how a region is shown; None for what suits the model
        has_alpha: whether the model sees the alpha map, and so needs no marks

    Raises:
        AlphaClipError: the model cannot be shown regions this way; says which ways there are
    """
    kind = config.model_type
    if shown is not None and shown not in get_args(Way):
        raise AlphaClipError(f"shown is {brief(shown)}: expected {', '.join(get_args(Way))}")
    if kind in ("florence2", "kosmos-2"):
        _refuse_unless(shown, ("coordinates", "crop"), kind)
        views = (_SQUASHED,) if shown in (None, "coordinates") else _VIEWS["crop"]
        if kind == "florence2":
            return Dialect(views, _florence, _florence, takes_marks=True)
        reads = lambda text: str(processor.post_process_generation(text)[0])  # noqa: E731
        return Dialect(views, _kosmos, _kosmos_question, reads=reads)
    if kind in _GOES_ON:
        _refuse_unless(shown, ("crop", "outline"), kind)
        return Dialect(_VIEWS[shown or "crop"], _plain, _plain)
    if not getattr(processor, "chat_template", None):
        raise AlphaClipError(
            f"this {kind} model has no chat template, so it is not known how it is asked: give its "
            "instruction-tuned version, or add the chat template to its folder"
        )
    if has_alpha:
        _refuse_unless(shown, ("crop",), f"{kind} with an alpha channel")
        return _chat(processor, (_CROP if shown else View("image"),), "")
    speaks_of_boxes = kind in _IN_THOUSANDTHS + _IN_PIXELS
    if shown is None:
        shown = "coordinates" if speaks_of_boxes else "crop" if kind in _ONE_PICTURE else "two"
    if shown == "coordinates" and not speaks_of_boxes:
        _refuse_unless(shown, ("crop", "outline", "two"), kind)
    in_words = _box_in_words(processor, kind) if shown == "coordinates" else str
    return _chat(processor, _VIEWS[shown], _POINTERS[shown], in_words)


def _refuse_unless(shown: str | None, ways: tuple[str, ...], kind: str) -> None:
    if shown is not None and shown not in ways:
        raise AlphaClipError(
            f"shown is {shown!r}, which models of the type {kind} do not take: leave it out, or "
            f"take {' or '.join(map(repr, ways))}"
        )


def _chat(
    processor: Any, views: tuple[View, ...], pointer: str, in_words: Callable[[Box], str] = str
) -> Dialect:
    def prompt(text: str, box: Box) -> str:
        words = f"{pointer.replace('{box}', in_words(box))} {text}".strip()
        content = [{"type": "image"} for _ in views] + [{"type": "text", "text": words}]
        turn = [{"role": "user", "content": content}]
        return str(processor.apply_chat_template(turn, add_generation_prompt=True))

    def describing(text: str, box: Box) -> str:
        return prompt(text or _DESCRIBE, box)

    def asking(text: str, box: Box) -> str:
        return prompt(f"{text}\n{_BRIEFLY}", box)

    says = (str(processor.chat_template), pointer, _DESCRIBE, _BRIEFLY)
    return Dialect(views, describing, asking, nested=True, says=says)


def _box_in_words(processor: Any, kind: str) -> Callable[[Box], str]:
    """How a Qwen was taught to write a box."""
    side = _processed_side(processor) if kind in _IN_PIXELS else 999

    def words(box: Box) -> str:
        x0, y0, x1, y1 = (round(side * share) for share in box)
        if kind == "qwen2_vl":
            return f"<|box_start|>({x0},{y0}),({x1},{y1})<|box_end|>"
        return f"[{x0}, {y0}, {x1}, {y1}]"

    return words


def _processed_side(processor: Any) -> int:
    """Of a picture after the processor has scaled it to whole patches, in which boxes count."""
    images = processor.image_processor
    side = picture_size(processor)
    grid = images(images=[np.zeros((side, side, 3), np.uint8)], return_tensors="pt")
    return int(grid["image_grid_thw"][0, 1]) * int(images.patch_size)


def _plain(text: str, box: Box) -> str:
    return text


def _florence(text: str, box: Box) -> str:
    task = text or _FLORENCE_TASKS[0]
    if task not in _FLORENCE_TASKS:
        raise AlphaClipError(
            f"Florence-2 is asked {brief(text)}: of a region it knows {', '.join(_FLORENCE_TASKS)} "
            "alone, take one of them as the prompt or the question"
        )
    bins = (min(int(1000 * share), 999) for share in box)
    return task + "".join(f"<loc_{number}>" for number in bins)


def _kosmos(text: str, box: Box) -> str:
    x0, y0, x1, y1 = (share * _PATCHES for share in box)
    first = int(min(y0, _PATCHES - 1)) * _PATCHES + int(min(x0, _PATCHES - 1))
    last = int(np.ceil(y1) - 1) * _PATCHES + int(np.ceil(x1) - 1)
    tokens = f"<patch_index_{first:04d}><patch_index_{last:04d}>"
    return f"<grounding><phrase> It</phrase><object>{tokens}</object> {text or 'is'}"


def _kosmos_question(text: str, box: Box) -> str:
    return _kosmos(f"Question: {text} Answer:", box)


def picture_size(processor: Any) -> int:
    """The side of the square that a model is shown, in pixels: its own where it has one."""
    images = processor.image_processor
    # Those that cut a picture into parts scale it themselves
    takes_any = hasattr(images, "image_grid_pinpoints")
    for stated in () if takes_any else (getattr(images, "crop_size", None), images.size):
        side = (stated or {}).get("height")
        if side:
            return int(side)
    return 672  # Whole patches of 14, 16, 28 and 32 pixels

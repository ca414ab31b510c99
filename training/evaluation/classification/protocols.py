"""How the published experiments show a region and ask for its class, and what they call it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from alphaclip.encoder.prompts import PHOTO
from alphaclip.errors import AlphaClipError
from alphaclip.views.view import View

Alpha = Literal["mask", "box", "ones"]
ALPHAS: tuple[Alpha, ...] = ("mask", "box", "ones")
"""What the alpha map shows: the region itself, the box round it, or the whole picture."""

Names = Literal["paper", "openai"]

Show = Literal["own", "whole", "crop", "masked"]
SHOWS: tuple[Show, ...] = ("own", "whole", "crop", "masked")
_ALPHA_KINDS: dict[str, Any] = {"mask": "region", "box": "box", "ones": "ones"}
_TITLES = {"whole": "whole picture", "crop": "1.5x crop", "masked": "1.5x crop, masked"}


@dataclass(frozen=True)
class Protocol:
    """How regions are classified.

    Attributes:
        setting: its short name in reports
        view: what is shown of a region; None is the encoder's own view. An encoder's method, as
            in ``NAME+blur``, is laid over it
        templates: each with one ``{}`` for the class name
        names: where the class names come from
        crowd: whether regions that stand for a group are judged
    """

    setting: str
    view: View | None
    templates: tuple[str, ...] = PHOTO
    names: str = "as in the data"
    crowd: bool = True

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        view = "the encoder's own" if self.view is None else self.view.to_dict()
        return asdict(self) | {"view": view, "templates": list(self.templates)}


def imagenet_s_protocol(alpha: Alpha, names: Names = "paper") -> Protocol:
    """Zero-shot classification on ImageNet-S.

    Source: Alpha-CLIP (arXiv 2312.03818), section 4.1, tables 2 and 3, and its released test
    code: picture and mask are cut to the centre square together and resized as tensors without
    antialiasing; mean of per-class top-1 and top-5. The paper names classes by the first WordNet
    lemma, underscores kept, in one template; ``openai`` takes CLIP's curated names and 80
    templates instead (Radford et al. 2021, section 3.1.4).

    Args:
        alpha: the mask, the box round what the crop leaves of it, or all ones ("whole image")
        names: of the classes
    """
    return Protocol(
        setting=f"{alpha} alpha, {names} names",
        view=View(kind="center", antialias=False, alpha=_ALPHA_KINDS[alpha]),
        templates=PHOTO if names == "paper" else openai_templates(),
        names=names,
    )


def region_protocol(
    show: Show, alpha: Alpha = "mask", crowd: bool = True, templates: tuple[str, ...] = PHOTO
) -> Protocol:
    """Classification of annotated regions, as on COCO and LVIS.

    Source: Alpha-CLIP (arXiv 2312.03818), appendix C.1, table 11, and its released test code:
    ``crop`` is a square of 1.5 times the longer side of the region ("no masking"), with white
    beyond the picture; ``masked`` is the same with CLIP's mean colour outside the region
    ("masking"); ``whole`` is the whole picture padded to a square (the code's LVIS test). All
    annotations count, crowds too, and the figure is the mean of per-class top-1. Where it differs:
    the square is round the region's pixels, the code's round the annotated box; and the code cuts
    squares that reach more than 600 pixels beyond the picture, which makes them oblong.

    Args:
        show: ``own`` is no published protocol: each encoder's own view, and its own alpha
        alpha: what the alpha map shows, unless ``own``
        crowd: whether regions that stand for a group are judged
        templates: the published ones are ``PHOTO``
    """
    parts = ["own view"] if show == "own" else [_TITLES[show], f"{alpha} alpha"]
    parts += [] if crowd else ["no crowds"]
    if templates != PHOTO:
        parts.append(f"{templates[0]!r}" if len(templates) == 1 else f"{len(templates)} templates")
    view = None
    if show == "whole":
        view = View(kind="image", antialias=False, alpha=_ALPHA_KINDS[alpha])
    elif show != "own":
        view = View(
            kind="context",
            context=1.5,
            least=1,
            antialias=False,
            background="mean" if show == "masked" else "kept",
            alpha=_ALPHA_KINDS[alpha],
            padding="white",
        )
    return Protocol(", ".join(parts), view, templates, crowd=crowd)


def openai_templates() -> tuple[str, ...]:
    """CLIP's 80 templates for ImageNet, from open_clip."""
    from open_clip.zero_shot_metadata import OPENAI_IMAGENET_TEMPLATES

    return tuple(template("{}") for template in OPENAI_IMAGENET_TEMPLATES)


def imagenet_names(synsets: Sequence[str], names: Names) -> list[str]:
    """The words for ImageNet-1k classes, given as WordNet ids.

    ``paper`` is the first lemma of the WordNet synset with underscores for spaces, as in
    Alpha-CLIP's released test code, such as ``great_white_shark``. ``openai`` is CLIP's curated
    name, as in open_clip, such as ``great white shark``. The order of ImageNet's classes and the
    lemmas come from timm.
    """
    from open_clip.zero_shot_metadata import IMAGENET_CLASSNAMES
    from timm.data import ImageNetInfo

    info = ImageNetInfo("imagenet-1k")
    numbers = {name: number for number, name in enumerate(info.label_names())}
    unknown = [synset for synset in synsets if synset not in numbers]
    if unknown:
        raise AlphaClipError(
            f"class {unknown[0]!r} is not one of ImageNet-1k's: expected WordNet ids such as "
            "n01484850"
        )
    if names == "openai":
        return [IMAGENET_CLASSNAMES[numbers[synset]] for synset in synsets]
    lemmas = (info.label_name_to_description(synset, detailed=False) for synset in synsets)
    return [lemma.split(", ")[0].replace(" ", "_") for lemma in lemmas]

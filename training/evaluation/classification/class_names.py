"""What ImageNet's classes are called in prompts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from alphaclip.errors import AlphaClipError

Names = Literal["paper", "openai"]


def imagenet_names(synsets: Sequence[str], names: Names) -> list[str]:
    """The words for ImageNet-1k classes.

    ``paper`` is the first lemma of the WordNet synset with underscores for spaces, as in
    Alpha-CLIP's released test code, such as ``great_white_shark``. ``openai`` is CLIP's curated
    name, as in open_clip, such as ``great white shark``. The order of ImageNet's classes and the
    lemmas come from timm.

    Args:
        synsets: WordNet ids, such as ``n01484850``
        names: which words

    Raises:
        AlphaClipError: if one is not a class of ImageNet-1k
    """
    from open_clip.zero_shot_metadata import IMAGENET_CLASSNAMES
    from timm.data import ImageNetInfo

    info = ImageNetInfo("imagenet-1k")
    places = {name: place for place, name in enumerate(info.label_names())}
    unknown = [synset for synset in synsets if synset not in places]
    if unknown:
        raise AlphaClipError(
            f"class {unknown[0]!r} is not one of ImageNet-1k's: expected WordNet ids such as "
            "n01484850"
        )
    if names == "openai":
        return [IMAGENET_CLASSNAMES[places[synset]] for synset in synsets]
    lemmas = (info.label_name_to_description(synset, detailed=False) for synset in synsets)
    return [lemma.split(", ")[0].replace(" ", "_") for lemma in lemmas]

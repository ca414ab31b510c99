"""Templates that words are put into before they are encoded."""

from __future__ import annotations

from collections.abc import Sequence

from alphaclip.arguments import check
from alphaclip.errors import AlphaClipError

PHOTO = ("a photo of a {}.",)
"""The template of the paper's zero-shot experiments."""

DRAWING = ("a drawing of {}",)
"""The template that ``alphaclip-nano`` is measured with."""


def expand(prompts: Sequence[str], templates: Sequence[str] | None) -> list[list[str]]:
    """Puts every prompt into every template.

    Args:
        prompts: what is asked for
        templates: each with one ``{}``; None leaves the prompts as they are

    Returns:
        for each prompt, its wordings

    Raises:
        AlphaClipError: if there is no prompt, one is empty, or a template has no ``{}``
    """
    prompts = check("prompts", prompts, "Sequence[str]")
    templates = check("templates", templates, "Sequence[str] | None")
    if not prompts:
        raise AlphaClipError("no prompt was given: expected at least one")
    empty = [i for i, prompt in enumerate(prompts) if not prompt.strip()]
    if empty:
        raise AlphaClipError(f"prompt {empty[0]} is empty: say in words what to look for")
    wrong = [template for template in templates or () if "{}" not in template]
    if wrong:
        raise AlphaClipError(f"template {wrong[0]!r} has no {{}} to put the prompt into")
    return [[t.replace("{}", p) for t in templates or ("{}",)] for p in prompts]

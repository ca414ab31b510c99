"""What a model is asked: questions with their choices, and placeholders in them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from alphaclip.arguments import check_fields, listed
from alphaclip.errors import AlphaClipError, brief

_PLACEHOLDER = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Question:
    """A question and what may be answered.

    Attributes:
        text: may have placeholders such as ``{label}``, see `fill`
        choices: two or more
    """

    text: str
    choices: tuple[str, ...]

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.text.strip():
            raise AlphaClipError("the question is empty: say what is asked of each region")
        choices = listed(self.choices) or []
        if len(choices) < 2 or not all(isinstance(one, str) and one.strip() for one in choices):
            raise AlphaClipError(
                f"choices are {brief(self.choices)}: expected a list of two texts or more, such as "
                "['yes', 'no'], none of them empty"
            )
        for choice in choices:
            if any(unicodedata.category(char) in ("Cc", "Cs") for char in choice):
                raise AlphaClipError(
                    f"choice {brief(choice)} has a character that is none of a text: leave it out"
                )
        object.__setattr__(self, "choices", tuple(one.strip() for one in choices))


def listed_questions(questions: Any) -> list[Question]:
    """Questions as a list.

    Raises:
        AlphaClipError: they are something else, or none
    """
    several = listed(questions)
    if not several or not all(isinstance(one, Question) for one in several):
        raise AlphaClipError(f"questions are {brief(questions)}: expected a list of Question")
    return several


def fill(text: str, attributes: Mapping[str, Any]) -> str:
    """Puts a label's attributes in the place of their names in braces.

    Nothing but names is read in the braces, so that a text reaches no further into an object.

    Args:
        text: such as ``is this a {label}?``
        attributes: of the label, by name

    Raises:
        AlphaClipError: if there is no such attribute; names those that there are
    """

    def value(match: re.Match[str]) -> str:
        found = attributes.get(match[1])
        if found is None:
            named = ", ".join(sorted(n for n, one in attributes.items() if one is not None))
            raise AlphaClipError(
                f"{brief(text)} names {match[0]}, which the label has no value of: it has "
                f"{named or 'no attributes'}"
            )
        return str(found)

    return _PLACEHOLDER.sub(value, text)


def placeholders(text: str) -> list[str]:
    """The attributes that a text names in braces, each once."""
    return list(dict.fromkeys(_PLACEHOLDER.findall(text)))

"""From class names to texts."""

import pytest

from alphaclip.errors import AlphaClipError
from alphaclip.training.pairs.format.texts import label_texts


@pytest.mark.parametrize(
    ("label", "texts"),
    [
        ("pear", ("pear", "a pear")),
        ("apple", ("apple", "an apple")),
        ("aerosol_can", ("aerosol can", "an aerosol can")),
        ("яблоко", ("яблоко",)),
        (" ", ()),
        ("", ()),
    ],
)
def test_label__has_a_text_of_each_template(label: str, texts: tuple[str, ...]) -> None:
    """The article fits, and goes where the language has none."""
    assert label_texts(label) == texts


def test_templates__may_be_others() -> None:
    """Braces in a label are not a template."""
    assert label_texts("{x}", ("a photo of a {}.",)) == ("a photo of a {x}.",)
    assert label_texts("owl", ("A {}", "Panama {}", "{}")) == ("An owl", "Panama owl", "owl")


def test_template_without_place__is_refused() -> None:
    """Every label would have the same text."""
    with pytest.raises(AlphaClipError, match="'a photo'"):
        label_texts("owl", ("a photo",))

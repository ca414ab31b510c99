"""What may be chosen as the encoder, and as the segmenter."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from alphaclip.catalog import zoo
from alphaclip.catalog.candidates import APPLE, OFFERED, allows_commerce
from alphaclip.catalog.choices import (
    DOWNLOADS,
    download_encoder,
    encoder_choices,
    tuned_choices,
    tuned_folder,
)
from alphaclip.errors import ModelNotFoundError
from alphaclip.sam.checkpoints import sam_choices

OFFER, OFFER_NAME = OFFERED["cpu"], zoo.cached_name(OFFERED["cpu"].model)
MIM = "alphaclip-vit-l14-grit1m-mim"

pytestmark = pytest.mark.usefixtures("models", "cached")


def fine_tune(name: str, report: object, licence: str = "MIT") -> Path:
    """Leaves what a fine-tune leaves; returns the model's folder."""
    model = tuned_folder(name) / "run" / "last"
    model.mkdir(parents=True)
    (model / "card.json").write_text(json.dumps({"licence": f"fine-tuned from x: {licence}"}))
    (tuned_folder(name) / "gain.json").write_text(json.dumps(report))
    return model


def test_choices__nothing_is_here_but_nano() -> None:
    first, *others = encoder_choices()
    assert (first.name, first.installed, first.commercial) == (zoo.NANO, True, True)
    assert first.why_auto == "no model for photographs is here"
    assert "not photographs" in first.warning
    downloads = [choice for choice in others if choice.bytes]
    assert [choice.name for choice in downloads] == list(DOWNLOADS)
    assert {choice.licence for choice in downloads} == {"Apache-2.0"}
    released = next(choice for choice in others if choice.name == MIM)
    assert (released.usable, released.commercial) == (False, False)
    assert "alphaclip convert" in released.advice
    assert json.loads(json.dumps(first.to_dict()))["name"] == zoo.NANO
    assert len({choice.name for choice in [first, *others]}) == len(others) + 1


def test_choices__the_first_is_what_auto_takes(cached: list[str], models: Path) -> None:
    research = "ViT-L-14-quickgelu/dfn2b"
    firsts = [zoo.cached_name(research), MIM, OFFER_NAME]
    steps = [lambda: cached.append(research), lambda: (models / f"{MIM}.safetensors").touch()]
    for step, first in zip([*steps, lambda: cached.append(OFFER.model)], firsts, strict=True):
        step()
        choices = encoder_choices()
        assert choices[0].name == zoo.find_auto().name == first
        assert [bool(choice.why_auto) for choice in choices].count(True) == 1
    by_name = {choice.name: choice for choice in choices}
    assert (by_name[OFFER_NAME].installed, by_name[OFFER_NAME].bytes) == (True, 0)
    assert by_name[zoo.cached_name(research)].commercial is False
    assert [c.installed for c in choices] == sorted((c.installed for c in choices), reverse=True)


def test_choices__what_was_fine_tuned_is_offered() -> None:
    report = {"finished": True, "base": "alphaclip-nano", "dataset": "birds"}
    model = fine_tune("birds-tuned", report)
    (tuned,) = tuned_choices()
    assert (tuned.name, tuned.tuned_on, tuned.commercial) == (str(model), "birds", True)
    assert tuned in encoder_choices()


@pytest.mark.parametrize(
    "report", [{"finished": False, "base": "x"}, {}, [], "text", None, {"finished": True}]
)
def test_choices__what_is_not_finished_or_damaged_is_left_out(report: object) -> None:
    fine_tune("other", report)
    assert tuned_choices() == []


def test_choices__made_before_reports_named_their_dataset() -> None:
    fine_tune("birds-tuned", {"finished": True, "base": "alphaclip-nano"})
    assert tuned_choices()[0].tuned_on == "birds-tuned"


@pytest.mark.parametrize(
    ("licence", "allowed"),
    [
        ("MIT", True),
        ("Apache-2.0", True),
        ("CC BY-NC 4.0, for research only; CLIP's own model terms apply as well", False),
        ("fine-tuned from a, whose licence is: CC BY-NC 4.0", False),
        (APPLE, False),
        ("not stated", None),
        ("", None),
    ],
)
def test_allows_commerce(licence: str, allowed: bool | None) -> None:
    assert allows_commerce(licence) is allowed


def test_download_encoder__only_what_is_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[object, ...]] = []
    monkeypatch.setattr(
        "alphaclip.weights.base_weights.download_base", lambda *given: asked.append(given)
    )
    download_encoder(OFFER_NAME)
    download_encoder("openclip:ViT-B-16/datacomp_xl_s13b_b90k")
    assert asked == [("PE-Core-B-16", "meta", None), ("ViT-B-16", "datacomp_xl_s13b_b90k", None)]
    for name in ("openclip:RN50/openai", "", "../x", MIM):
        with pytest.raises(ModelNotFoundError, match="not offered"):
            download_encoder(name)


def test_sam_choices__installed_first(models: Path) -> None:
    assert [choice.name for choice in sam_choices()] == ["sam-vit-b", "sam-vit-l", "sam-vit-h"]
    assert sam_choices()[0].bytes == 375_042_383
    assert not any(choice.why_auto for choice in sam_choices())
    (models / "sam-vit-l.safetensors").touch()
    (models / "sam-cells.safetensors").touch()
    first, second, *others = sam_choices()
    assert (first.name, first.bytes, bool(first.why_auto)) == ("sam-vit-l", 0, True)
    assert (second.name, second.commercial) == ("sam-cells", None)
    assert [choice.installed for choice in others] == [False, False]

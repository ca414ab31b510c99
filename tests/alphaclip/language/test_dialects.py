"""How models are told which region is meant."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from alphaclip import Region, language
from alphaclip.errors import AlphaClipError
from alphaclip.language.dialects import choose_dialect
from alphaclip.language.transformers_model import TransformersModel

BOXES = np.random.default_rng(0).uniform(0, 0.5, (20, 4)) + np.array([0, 0, 0.5, 0.5])


def test_florence__counts_as_its_own_processor(folder_of: Callable[[str], Path]) -> None:
    import torch
    from transformers import AutoConfig, AutoProcessor

    processor = AutoProcessor.from_pretrained(folder_of("florence2"))
    dialect = choose_dialect(processor, AutoConfig.from_pretrained(folder_of("florence2")), None)
    bins = processor.post_processor.quantize(torch.tensor(BOXES) * 100, (100, 100)).tolist()
    for box, expected in zip(BOXES.tolist(), bins, strict=True):
        words = "".join(f"<loc_{number}>" for number in expected)
        assert dialect.describing("", tuple(box)) == f"<REGION_TO_DESCRIPTION>{words}"
    assert dialect.asking("<REGION_TO_OCR>", (0, 0, 1, 1)).endswith(
        "<loc_0><loc_0><loc_999><loc_999>"
    )


def test_kosmos__counts_as_its_own_processor(folder_of: Callable[[str], Path]) -> None:
    from transformers import AutoConfig, AutoProcessor
    from transformers.models.kosmos2.processing_kosmos2 import coordinate_to_patch_index

    processor = AutoProcessor.from_pretrained(folder_of("kosmos-2"))
    dialect = choose_dialect(processor, AutoConfig.from_pretrained(folder_of("kosmos-2")), None)
    for box in [*BOXES.tolist(), [0.0, 0.0, 1.0, 1.0], [0.97, 0.97, 1.0, 1.0]]:
        first, last = coordinate_to_patch_index(tuple(box), 32)
        expected = f"<object><patch_index_{first:04d}><patch_index_{last:04d}></object>"
        assert expected in dialect.describing("", tuple(box))
    written = dialect.reads("is<phrase> a dog</phrase><object><patch_index_0001></object>.")
    assert written.startswith("is a dog")


@pytest.mark.parametrize(
    ("kind", "shown", "message"),
    [
        ("llava", "coordinates", "models of the type llava do not take"),
        ("smolvlm", "coordinates", "take 'crop' or 'outline' or 'two'"),
        ("blip", "two", "take 'crop' or 'outline'"),
        ("florence2", "outline", "take 'coordinates' or 'crop'"),
        ("kosmos-2", "two", "take 'coordinates' or 'crop'"),
        ("llava", "ellipse", "shown is 'ellipse': expected crop, outline, two, coordinates"),
    ],
)
def test_load__refuses_ways_that_a_model_does_not_take(
    folder_of: Callable[[str], Path], kind: str, shown: str, message: str
) -> None:
    with pytest.raises(AlphaClipError, match=message):
        language.load(folder_of(kind), shown=shown, device="cpu")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "shown"),
    [("llava", "outline"), ("llava", "two"), ("qwen2_5_vl", "two"), ("kosmos-2", "crop")],
)
def test_ways__change_what_is_seen(
    kind: str, shown: str, folder_of: Callable[[str], Path], image: np.ndarray,
    regions: list[Region], model_of: Callable[[str], TransformersModel],
) -> None:  # fmt: skip
    other = language.load(folder_of(kind), shown=shown, device="cpu")  # type: ignore[arg-type]
    usual = model_of(kind).ask(image, regions, "red?")
    assert not np.allclose(other.ask(image, regions, "red?").logliks, usual.logliks, atol=1e-2)

"""Fine-tuned models of transformers', and models as the Hugging Face hub has them for open_clip."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch

import alphaclip
from alphaclip.cli import Command
from alphaclip.network.factory import create_model
from alphaclip.regions.region import Region
from alphaclip.training.finetune import cli as train_cli
from alphaclip.training.finetune.config import FinetuneError
from alphaclip.training.finetune.exporting import export_hub
from alphaclip.training.finetune.run import finetune
from tests.alphaclip.hub_models import KINDS, save_tiny
from tests.alphaclip.hub_server import Site, serve, use_hub

from .shape_pairs import config_of, write_model, write_shapes

PICTURE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
BOX = Region.from_box([0.1, 0.2, 0.5, 0.5])


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shapes(tmp_path_factory.mktemp("pairs") / "shapes", pictures=8)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, shapes: Path) -> Path:
    """A fine-tune of two steps, measured before and after."""
    folder = tmp_path_factory.mktemp("run")
    model = write_model(folder / "model")
    (model / "card.json").write_text(json.dumps({"licence": "MIT"}))
    return finetune(
        config_of(folder / "out", shapes, model, steps=2, evaluate=[str(shapes)])
    ).output


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("clip", "siglip")])
def test_finetune__transformers_models_learn_and_come_back(
    kind: str, shapes: Path, tmp_path: Path
) -> None:
    model = save_tiny(kind, tmp_path / "model")
    rank = 2 if kind == "tipsv2" else 0
    config = config_of(
        tmp_path / "run", shapes, model, steps=2, batch_size=4, negatives=1, lora_rank=rank,
        activation_checkpointing=kind == "metaclip_2",
    )  # fmt: skip
    finetune(config)
    before, after = create_model(str(model)), create_model(str(tmp_path / "run" / "last"))
    names = dict(before.clip.state_dict())
    changed = {n for n, t in after.clip.state_dict().items() if not torch.equal(t, names[n])}
    assert any(name.endswith("_alpha.weight") for name in changed)
    assert not any(name.startswith("text.") for name in changed)
    assert len(changed) > 2
    encoder = alphaclip.load(tmp_path / "run" / "last", "cpu")
    box, whole = encoder.encode_regions(PICTURE, [BOX, Region.whole_image()])
    assert box @ whole < 1
    with pytest.raises(FinetuneError, match="transformers', which open_clip cannot load"):
        export_hub(tmp_path / "run", tmp_path / "exported")


def test_export_hub__open_clip_loads_it_and_so_do_we(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "exported"
    parser = Command()
    train_cli.add_parsers(parser.add_subparsers(parser_class=Command))
    args = parser.parse_args(["export-hub", str(run), str(folder)])
    assert args.run(args) == 0
    theirs = open_clip.create_model(f"local-dir:{folder}").eval()
    ours, trained = create_model(str(folder)), create_model(str(run / "best"))
    image = torch.randn(2, 3, 32, 32)
    tokens = trained.tokenizer(["a red disc", "a blue square"])
    neutral, alpha = torch.zeros(2, 1, 32, 32), torch.randn(2, 1, 32, 32)
    with torch.inference_mode():
        plain = theirs.encode_image(image)
        assert torch.allclose(trained.encode_image(image, neutral), plain, atol=1e-6)
        assert torch.allclose(trained.encode_text(tokens), theirs.encode_text(tokens), atol=1e-6)
        with_map = trained.encode_image(image, alpha)
        assert not torch.allclose(with_map, plain, atol=1e-4)
        assert torch.equal(ours.encode_image(image, alpha), with_map)
        assert torch.equal(ours.encode_text(tokens), trained.encode_text(tokens))
    encoder, before = alphaclip.load(folder, "cpu"), alphaclip.load(run / "best", "cpu")
    assert encoder.fingerprint == before.fingerprint
    assert (encoder.view, encoder.encode_text(["a disc"]).shape) == (before.view, (1, 32))


def test_export_hub__back_from_the_hub(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_hub(run, tmp_path / "exported")
    site = Site({})
    site.add("me/shapes", tmp_path / "exported")
    with serve(site) as address:
        use_hub(address, tmp_path / "hub", monkeypatch)
        theirs = open_clip.create_model("hf-hub:me/shapes").eval()
        encoder = alphaclip.load("hf-hub:me/shapes", "cpu")
    here = alphaclip.load(tmp_path / "exported", "cpu")
    assert (encoder.name, encoder.fingerprint) == ("hf-hub:me/shapes", here.fingerprint)
    mine = create_model("hf-hub:me/shapes")  # from the cache
    image = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        plain = mine.encode_image(image, torch.zeros(2, 1, 32, 32))
        assert torch.allclose(plain, theirs.encode_image(image), atol=1e-6)


def test_export_hub__the_card_says_what_it_is(run: Path, tmp_path: Path) -> None:
    export_hub(run, tmp_path / "exported")
    text = (tmp_path / "exported" / "README.md").read_text()
    assert text.startswith("---\nlibrary_name: open_clip\n")
    assert "\nlicense: mit\n" in text
    for words in ("whose licence is: MIT", "16 region-text pairs (shapes)", "after 2 steps"):
        assert words in text
    assert "before)" in text
    said = [path for path in (tmp_path / "exported").iterdir() if path.suffix in (".json", ".md")]
    assert not any(str(run.parent) in path.read_text() for path in said)
    with pytest.raises(FinetuneError, match="is not empty"):
        export_hub(run, tmp_path / "exported")


def test_export_hub__of_a_fine_tune_on_a_dataset(run: Path, tmp_path: Path) -> None:
    tuned, gain = tmp_path / "tuned", {"before": 38.34, "after": 67.89, "difference": 29.55}
    shutil.copytree(run, tuned / "run", ignore=shutil.ignore_patterns("evaluation.csv"))
    (tuned / "gain.json").write_text(json.dumps({"gains": {"text to region": gain}}))
    export_hub(tuned, tmp_path / "exported")
    text = (tmp_path / "exported" / "README.md").read_text()
    assert "\n# exported\n" in text and "text to region, mAP: 67.9 (38.3 before)" in text


def test_export_hub__a_model_that_no_run_made(tmp_path: Path) -> None:
    model = write_model(tmp_path / "model")
    export_hub(model, tmp_path / "exported")
    text = (tmp_path / "exported" / "README.md").read_text()
    assert "\nlicense: other\n" in text
    assert "**Base model:** not stated" in text
    assert "**Figures:** none" in text

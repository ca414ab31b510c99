"""What is in a batch: order, slices for several processes, what is drawn for a sample."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from alphaclip.training.finetune.batches import PairBatch, PairBatches, step_count
from alphaclip.training.finetune.config import FinetuneError
from alphaclip.training.finetune.loop import make_loader
from alphaclip.training.finetune.processes import Ranks
from alphaclip.training.pairs.format.reading import PairSet, open_pairs
from alphaclip.weights.architectures import read_config

from .shape_pairs import config_of, write_model, write_shapes

Make = Callable[..., PairBatches]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def model(folder: Path) -> Path:
    return write_model(folder / "model")


@pytest.fixture(scope="module")
def shapes(folder: Path) -> Path:
    return write_shapes(folder / "pairs", pictures=8)


@pytest.fixture
def make(folder: Path, model: Path, shapes: Path) -> Make:
    """Makes batches of 8 of the 16 pairs."""

    def make(
        start: int = 0, ranks: Ranks | None = None, pairs: PairSet | None = None, **fields: Any
    ) -> PairBatches:
        config = config_of(folder / "run", shapes, model, **{"whole_share": 0.0, **fields})
        architecture = read_config(model / "shapes.json")
        return PairBatches(pairs or open_pairs(shapes), config, architecture, 32, start, ranks)

    return make


def _equal(one: PairBatch, other: PairBatch) -> bool:
    names = ("images", "alpha", "tokens", "whole")
    return one.keys == other.keys and all(
        torch.equal(getattr(one, name), getattr(other, name)) for name in names
    )


def test_batches__a_step_is_the_same_wherever_the_run_begins(make: Make) -> None:
    whole, resumed = (
        make(whole_share=0.5, geometry="context"),
        make(start=2, whole_share=0.5, geometry="context"),
    )
    assert len(whole) == 4
    assert len(resumed) == 2
    assert _equal(whole[2].batch, resumed[0].batch)
    assert _equal(whole[3].batch, resumed[1].batch)
    assert not _equal(whole[2].batch, whole[3].batch)


def test_batches__two_processes_together_see_what_one_sees(make: Make) -> None:
    alone = make(whole_share=0.3)[1].batch
    halves = [make(ranks=Ranks(rank, 2), whole_share=0.3)[1].batch for rank in range(2)]
    assert alone.keys == halves[0].keys + halves[1].keys
    assert torch.equal(alone.images, torch.cat([half.images for half in halves]))
    assert torch.equal(alone.tokens, torch.cat([half.tokens for half in halves]))


def test_batches__an_epoch_has_every_pair_once_in_an_order_of_its_own(make: Make) -> None:
    batches = make()
    epochs = [batches[first].batch.keys + batches[first + 1].batch.keys for first in (0, 2)]
    assert [len(set(keys)) for keys in epochs] == [16, 16]
    assert epochs[0] != epochs[1]


def test_batches__reference_keeps_the_order(make: Make) -> None:
    batches = make(reference=True)
    assert batches[0].batch.keys == batches[2].batch.keys
    assert batches[0].batch.keys != batches[1].batch.keys


def test_batches__a_worker_process_makes_the_same(make: Make) -> None:
    loaded = list(make_loader(make(start=2), workers=1))
    here = make()
    assert _equal(loaded[0].batch, here[2].batch)
    assert _equal(loaded[1].batch, here[3].batch)


def test_sample__whole_pictures_have_their_caption_and_alpha_everywhere(make: Make) -> None:
    batches = make(whole_share=1.0)
    batch = batches[0].batch
    assert batch.whole.all()
    assert (batch.alpha == 255).all()
    pairs = open_pairs(Path(batches._config.pairs[0]))
    captions = {pair.key: pair.caption for pair in pairs}
    expected = batches._tokenizer([captions[key] for key in batch.keys])
    assert torch.equal(batch.tokens, expected)


def test_sample__a_region_has_its_mask_and_its_text(make: Make) -> None:
    batches = make()
    batch = batches[0].batch
    pairs = {pair.key: pair for pair in open_pairs(Path(batches._config.pairs[0]))}
    chosen = [pairs[key] for key in batch.keys]
    assert torch.equal(batch.tokens, batches._tokenizer([pair.texts[0] for pair in chosen]))
    shares = [pair.region.alpha_map(64, 64).mean() / 255 for pair in chosen]
    assert batch.alpha.float().mean(dim=(1, 2, 3)).numpy() / 255 == pytest.approx(shares, abs=0.01)


def test_sample__a_box_holds_more_than_a_disc(make: Make) -> None:
    masks, boxes = make()[0].batch, make(box_share=1.0)[0].batch
    assert masks.keys == boxes.keys
    assert (boxes.alpha >= masks.alpha).all()
    assert boxes.alpha.float().mean() > masks.alpha.float().mean()


def test_sample__context_shows_less_of_the_picture(make: Make) -> None:
    pad, near = make()[0].batch, make(geometry="context", context=[1.1, 1.1])[0].batch
    assert near.alpha.float().mean() > 2 * pad.alpha.float().mean()


def test_sample__without_the_alpha_channel_the_map_is_all_ones(make: Make) -> None:
    assert (make(use_alpha=False)[0].batch.alpha == 255).all()


def test_sample__a_mirrored_picture_has_a_mirrored_map(make: Make) -> None:
    plain, flipped = make()[0].batch, make(flip=True)[0].batch
    turned = [not torch.equal(a, b) for a, b in zip(plain.images, flipped.images, strict=True)]
    assert 0 < sum(turned) < len(turned)
    for row in np.flatnonzero(turned):
        assert torch.equal(flipped.images[row], plain.images[row].flip(-1))
        assert torch.equal(flipped.alpha[row], plain.alpha[row].flip(-1))


def test_sample__missing_negatives_are_rows_of_zeros(make: Make) -> None:
    batch = make(negatives=2)[0].batch
    assert batch.negatives is not None
    assert batch.negatives.shape == (8, 2, 16)
    assert (batch.negatives[:, 0] != 0).any(dim=1).all()
    assert (batch.negatives[:, 1] == 0).all()
    assert make()[0].batch.negatives is None


def test_sample__a_damaged_picture_gives_its_place_to_the_next(
    make: Make, folder: Path, shapes: Path
) -> None:
    damaged = write_shapes(folder / "damaged", pictures=8)
    _damage(damaged, "p003")
    fine, broken = make(), make(pairs=open_pairs(damaged))
    drawn, again = broken[0], broken[0]
    assert _equal(drawn.batch, again.batch)
    lost = [place for place, key in enumerate(fine[0].batch.keys) if key.startswith("p003/")]
    assert len(drawn.replaced) == len(lost)
    assert sum(len(fine[step].batch.keys) for step in range(2)) == 16
    assert all("p003" in line for line in drawn.replaced)
    for place, (key, other) in enumerate(zip(fine[0].batch.keys, drawn.batch.keys, strict=True)):
        assert (key != other) == (place in lost)
    assert sum(len(broken[step].replaced) for step in range(2)) == 2


def test_sample__a_set_without_a_picture_that_opens_is_an_error(make: Make, folder: Path) -> None:
    damaged = write_shapes(folder / "all-damaged", pictures=8)
    for number in range(8):
        _damage(damaged, f"p{number:03d}")
    with pytest.raises(FinetuneError, match="20 pairs one after another cannot be read"):
        make(pairs=open_pairs(damaged))[0]


def _damage(folder: Path, key: str) -> None:
    """Overwrites the pixels of a picture as a disk that rots: place, size and time stay."""
    tar = folder / "pairs-000000.tar"
    content, status = tar.read_bytes(), tar.stat()
    start = content.index(f"{key}.png".encode()) + 512
    tar.write_bytes(content[:start] + bytes(60) + content[start + 60 :])
    os.utime(tar, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_step_count__follows_epochs_of_whole_batches(make: Make) -> None:
    config = make(steps=0, epochs=2.5)._config
    assert step_count(config, 16) == 5
    assert step_count(config, 17) == 5
    assert step_count(config, 24) == 8


def test_step_count__a_batch_larger_than_the_set_is_refused(make: Make) -> None:
    with pytest.raises(FinetuneError, match="batch_size is 32, but there are only 16 pairs"):
        make(batch_size=32)


def test_batches__an_uneven_share_is_refused(make: Make) -> None:
    with pytest.raises(FinetuneError, match="8, which 3 processes cannot share"):
        make(ranks=Ranks(0, 3))


def test_batches__end_with_the_last_step(make: Make) -> None:
    with pytest.raises(IndexError):
        make(start=2)[2]

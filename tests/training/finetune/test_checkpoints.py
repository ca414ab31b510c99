"""Checkpoints that are whole or not there, and what a run may go on from."""

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import alphaclip
from alphaclip.errors import AlphaClipError, CheckpointError
from alphaclip.network.factory import create_model
from alphaclip.network.model import AlphaCLIP
from alphaclip.training.finetune.checkpoints import (
    Checkpoints,
    RunState,
    read_training,
    replace_folder,
    settle_folder,
    write_training,
)
from alphaclip.training.finetune.config import FinetuneError

from .shape_pairs import ARCHITECTURE, write_model

STATE = RunState(
    step=3, world=1, pairs="aa", base="bb", config={"rate": 1e-6, "pairs": ["old"]}, best=4.5
)
CARD = {"name": "run", "licence": "as it may be"}


@pytest.fixture
def model(tmp_path: Path) -> AlphaCLIP:
    return create_model(str(write_model(tmp_path / "model")))


@pytest.fixture
def checkpoints(tmp_path: Path, model: AlphaCLIP) -> Checkpoints:
    return Checkpoints(tmp_path / "run", model, CARD)


def test_last__comes_back_and_loads_as_a_model(checkpoints: Checkpoints, model: AlphaCLIP) -> None:
    assert checkpoints.read() is None
    checkpoints.save_last(model.clip.state_dict(), {"numbers": torch.arange(3)}, STATE)
    state, training = checkpoints.read() or (None, {})
    assert state == STATE
    assert training["numbers"].tolist() == [0, 1, 2]
    encoder = alphaclip.load(checkpoints.last, device="cpu")
    start = alphaclip.load(checkpoints.last.parent.parent / "model", device="cpu")
    assert encoder.fingerprint == start.fingerprint


def test_last__takes_the_place_of_the_one_before(
    checkpoints: Checkpoints, model: AlphaCLIP
) -> None:
    for step in (3, 6):
        checkpoints.save_last(model.clip.state_dict(), {}, replace(STATE, step=step))
    state, _ = checkpoints.read() or (None, {})
    assert state is not None
    assert state.step == 6
    assert json.loads((checkpoints.last / "card.json").read_text())["steps"] == 6
    assert [path.name for path in checkpoints.folder.iterdir()] == ["last"]


def test_best__is_a_model_without_training_state(
    checkpoints: Checkpoints, model: AlphaCLIP
) -> None:
    checkpoints.save_best(model.clip.state_dict(), 5)
    names = sorted(path.name for path in checkpoints.best.iterdir())
    assert names == [
        "card.json", "checksums.json", "merges.txt.gz", "model.safetensors", "shapes.json",
    ]  # fmt: skip
    assert checkpoints.read() is None


@pytest.mark.parametrize("name", ["ViT-S-32-alt", None])
def test_model_folder__needs_no_configuration_file(tmp_path: Path, name: str | None) -> None:
    model = create_model(name or ARCHITECTURE | {"text_cfg": {"width": 32, "layers": 1}})
    checkpoints = Checkpoints(tmp_path, model, CARD)
    checkpoints.save_best(model.clip.state_dict(), 1)
    again = create_model(str(checkpoints.best))
    assert (again.dim, again.mean) == (model.dim, model.mean)
    assert again.tokenizer(["a disc"]).equal(model.tokenizer(["a disc"]))


def test_full_disk__says_which_checkpoint_stays(
    checkpoints: Checkpoints, model: AlphaCLIP, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = model.clip.state_dict()
    checkpoints.save_last(weights, {}, STATE)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(FinetuneError, match=r"step 6 cannot .*No space left.*stays: of step 3"):
        checkpoints.save_last(weights, {}, replace(STATE, step=6))
    assert [path.name for path in checkpoints.folder.iterdir()] == ["last"]
    state, _ = checkpoints.read() or (None, {})
    assert state == STATE


def test_checksums__no_flipped_byte_is_believed(checkpoints: Checkpoints, model: AlphaCLIP) -> None:
    """In none of the files; what stays silent reads as what was written."""
    checkpoints.save_last(model.clip.state_dict(), {"numbers": torch.arange(30)}, STATE)
    encoder = alphaclip.load(checkpoints.last, device="cpu", precision="fp32")
    rng = random.Random(0)
    for path in sorted(checkpoints.last.iterdir()):
        content = path.read_bytes()
        for _ in range(3):
            wrong = bytearray(content)
            wrong[rng.randrange(len(wrong))] ^= 1 << rng.randrange(8)
            path.write_bytes(wrong)
            try:
                state, training = checkpoints.read() or (None, {})
                again = alphaclip.load(checkpoints.last, device="cpu", precision="fp32")
            except AlphaClipError:
                continue
            finally:
                path.write_bytes(content)
            assert state == STATE
            assert training["numbers"].tolist() == list(range(30))
            assert again.fingerprint == encoder.fingerprint


def test_checksums__checkpoints_without_them_are_read(
    checkpoints: Checkpoints, model: AlphaCLIP
) -> None:
    """As earlier versions wrote them; or where somebody changed the card on purpose."""
    checkpoints.save_last(model.clip.state_dict(), {}, STATE)
    card = checkpoints.last / "card.json"
    card.write_text(json.dumps(CARD | {"licence": "another"}))
    with pytest.raises(CheckpointError, match=r"card\.json is not what was written.*on purpose"):
        alphaclip.load(checkpoints.last, device="cpu")
    (checkpoints.last / "checksums.json").unlink()
    assert alphaclip.load(checkpoints.last, device="cpu")
    assert (checkpoints.read() or (None,))[0] == STATE


@pytest.mark.parametrize("name", ["training.pt", "state.json"])
def test_read__a_damaged_checkpoint_is_named(
    checkpoints: Checkpoints, model: AlphaCLIP, name: str
) -> None:
    checkpoints.save_last(model.clip.state_dict(), {"numbers": torch.arange(3)}, STATE)
    path = checkpoints.last / name
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(FinetuneError, match=r"last is damaged|training.pt is damaged"):
        checkpoints.read()


def test_state__only_what_decides_the_weights_has_to_agree(tmp_path: Path) -> None:
    moved = {"rate": 1e-6, "pairs": ["new"], "workers": 3}
    STATE.check_fits(replace(STATE, step=0, best=None, config=moved), tmp_path)
    other = replace(STATE, world=2, pairs="cc", config=moved | {"rate": 1e-5})
    with pytest.raises(FinetuneError) as caught:
        STATE.check_fits(other, tmp_path)
    message = str(caught.value)
    assert "the number of processes is 1 there and 2 here" in message
    assert "the pairs are old (fingerprint aa) there and new (fingerprint cc) here" in message
    assert "the model" not in message
    assert "rate is 1e-06 there and 1e-05 here" in message
    assert str(tmp_path) in message


def test_training_file__is_read_without_running_its_code(tmp_path: Path) -> None:
    path = tmp_path / "phase.pt"
    write_training(path, {"step": 2, "weights": torch.ones(2)})
    assert read_training(path)["step"] == 2
    content = bytearray(path.read_bytes())
    content[content.rindex(torch.ones(1).numpy().tobytes())] ^= 1
    path.write_bytes(content)
    with pytest.raises(FinetuneError, match="another checksum"):
        read_training(path)
    torch.save({"state": tmp_path}, path)
    with pytest.raises(FinetuneError, match="is damaged"):
        read_training(path)


def test_training_file__that_cannot_be_written_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "phase.pt"
    write_training(path, {"step": 2})

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(AlphaClipError, match="the disk is full"):
        write_training(path, {"step": 3})
    assert read_training(path) == {"step": 2}
    assert [found.name for found in tmp_path.iterdir()] == ["phase.pt"]


class _KilledError(BaseException):
    """Ends everything, as a kill does: nothing is tidied up."""


def _write(text: str, killed: bool = False) -> object:
    def write(folder: Path) -> None:
        (folder / "text").write_text(text)
        if killed:
            raise _KilledError

    return write


def test_folder__killed_while_it_is_written_the_old_one_stays(tmp_path: Path) -> None:
    place = tmp_path / "last"
    with pytest.raises(_KilledError):
        replace_folder(place, _write("first", killed=True))
    settle_folder(place)
    assert list(tmp_path.iterdir()) == []
    replace_folder(place, _write("second"))
    with pytest.raises(_KilledError):
        replace_folder(place, _write("third", killed=True))
    settle_folder(place)
    assert (place / "text").read_text() == "second"
    assert list(tmp_path.iterdir()) == [place]


@pytest.mark.parametrize(("renames", "expected"), [(0, "old"), (1, "new"), (2, "new")])
def test_folder__killed_while_it_is_put_there_one_of_both_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, renames: int, expected: str
) -> None:
    place, done = tmp_path / "last", []
    replace_folder(place, _write("old"))
    rename = Path.rename

    def rename_some(path: Path, target: Path) -> Path:
        if len(done) == renames:
            raise _KilledError
        done.append(path)
        return rename(path, target)

    def no_tidying(path: Path, **_: object) -> None:
        if len(done) == 2:
            raise _KilledError

    monkeypatch.setattr(Path, "rename", rename_some)
    monkeypatch.setattr("shutil.rmtree", no_tidying)
    with pytest.raises(_KilledError):
        replace_folder(place, _write("new"))
    monkeypatch.undo()
    settle_folder(place)
    assert (place / "text").read_text() == expected
    assert list(tmp_path.iterdir()) == [place]


def test_folder__an_error_at_the_rename_restores_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, rename = tmp_path / "last", Path.rename
    replace_folder(place, _write("old"))

    def fail_for_new(path: Path, target: Path) -> Path:
        if path.name == "last.new" and not failed:
            failed.append(path)
            raise OSError("not now")
        return rename(path, target)

    failed: list[Path] = []
    monkeypatch.setattr(Path, "rename", fail_for_new)
    with pytest.raises(OSError, match="not now"):
        replace_folder(place, _write("new"))
    assert (place / "text").read_text() == "old"
    assert list(tmp_path.iterdir()) == [place]

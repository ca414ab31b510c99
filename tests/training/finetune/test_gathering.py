"""Several processes: the same step as one, told by really starting two."""

import importlib.util
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from alphaclip.network.factory import create_model
from alphaclip.training.finetune.config import FinetuneError
from alphaclip.training.finetune.processes import Ranks

SCRIPT = Path(__file__).with_name("run_steps.py")
TOLERANCE = 1e-5
"""Of the gradient's difference, by its length, in float32."""

CASES = {
    "infonce": ("vit", {}),
    "cache": ("vit", {"gradient": "cache", "micro_batch": 3}),
    "negatives": ("vit", {"negatives": 2, "label_smoothing": 0.1}),
    "lora": ("vit", {"lora_rank": 2, "alpha_init": "random"}),
    "blocks": ("vit", {"unfrozen_blocks": 1, "clip_norm": 0.5}),
    "sigmoid": ("siglip", {"loss": "sigmoid"}),
    "sigmoid-cache": ("siglip", {"loss": "sigmoid", "gradient": "cache", "micro_batch": 3}),
    "reference": ("vit", {"reference": True, "precision": "fp32"}),
}


@pytest.fixture(scope="module")
def run_case():
    """What the started processes run, for one process in here."""
    spec = importlib.util.spec_from_file_location("run_steps", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.run_case


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory, architectures):
    """The folder of all cases, run by two processes on this machine."""
    folder = tmp_path_factory.mktemp("two-ranks")
    for number, (kind, fields) in enumerate(CASES.values()):
        case = make_case(architectures[kind], kind, fields)
        torch.save(case, folder / f"case-{number}.pt")
    launch(folder)
    return folder


def launch(folder):
    """Runs the cases by ``torchrun``; it ends its processes itself when it is told to stop."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    address = ["--master-addr", "127.0.0.1", "--master-port", str(port)]
    command = [*torchrun, *address, str(SCRIPT), str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment, stderr=pipe, text=True) as process:
        try:
            _, errors = process.communicate(timeout=600)
        finally:
            process.terminate()
    assert process.returncode == 0, errors


def make_case(architecture, kind, fields):
    """Weights, configuration and two batches of eight, as tensors and plain values.

    Six of the eight texts differ, and equal ones are in both processes' halves. Layer scales,
    which start near zero, let blocks count.
    """
    torch.manual_seed(5)
    clip = create_model(architecture).clip
    for name, parameter in clip.named_parameters():
        if name.endswith(".gamma"):
            parameter.data.fill_(1.0)
    size = 160 if kind == "siglip" else 16
    config = {"model": "tiny", "pairs": ["pairs"], "output": "run", "batch_size": 8}
    return {
        "architecture": architecture,
        "weights": {name: tensor.clone() for name, tensor in clip.state_dict().items()},
        "config": {**config, "rate": 1e-3, "alpha_rate": 1e-2, **fields},
        "batches": [batch_fields(size, fields.get("negatives", 0)) for _ in range(2)],
    }


def batch_fields(size, negatives):
    tokens = torch.randint(1, 49, (6, 8)).repeat(2, 1)[:8]
    return {
        "images": torch.randint(256, (8, 3, size, size), dtype=torch.uint8),
        "alpha": torch.randint(2, (8, 1, size, size), dtype=torch.uint8) * 255,
        "tokens": tokens,
        "negatives": torch.randint(1, 49, (8, negatives, 8)) if negatives else None,
        "whole": torch.zeros(8, dtype=torch.bool),
        "keys": tuple("abcdefgh"),
    }


def read(folder, name, rank):
    number = list(CASES).index(name)
    return torch.load(folder / f"result-{number}-{rank}.pt", weights_only=True)


def apart(ours, theirs):
    ours, theirs = (torch.cat([t.flatten() for t in side.values()]) for side in (ours, theirs))
    return ((ours - theirs).norm() / theirs.norm()).item()


@pytest.mark.parametrize("name", [name for name in CASES if name != "reference"])
def test_two_processes__take_the_step_of_one(two_ranks, run_case, name):
    one = run_case(two_ranks / f"case-{list(CASES).index(name)}.pt", Ranks())
    both = read(two_ranks, name, 0)

    for ours, theirs in zip(both["results"], one["results"], strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=TOLERANCE)
        assert ours["hit"] == theirs["hit"]
        assert ours["samples"] == 8
    assert apart(both["gradients"], one["gradients"]) < TOLERANCE


@pytest.mark.parametrize("name", list(CASES))
def test_processes__have_the_same_weights_bit_for_bit(two_ranks, name):
    first, second = (read(two_ranks, name, rank)["trained"] for rank in range(2))

    assert first.keys() == second.keys()
    assert all(torch.equal(tensor, second[parameter]) for parameter, tensor in first.items())


def test_reference__has_another_gradient_on_two_processes_than_on_one(two_ranks, run_case):
    """Text-to-image has none there; the loss of the first step is the same."""
    one = run_case(two_ranks / f"case-{list(CASES).index('reference')}.pt", Ranks())
    both = read(two_ranks, "reference", 0)

    first, alone = both["results"][0], one["results"][0]
    assert first["loss"] == pytest.approx(alone["loss"], rel=TOLERANCE)
    assert apart(both["gradients"], one["gradients"]) > 0.1


def test_ranks__share_a_batch_evenly_or_say_why_not():
    assert Ranks(0, 4).share(8) == 2
    with pytest.raises(FinetuneError, match="batch_size is 10, which 4 processes cannot share"):
        Ranks(0, 4).share(10)


def test_ranks__alone_give_back_what_they_get():
    tensor = torch.ones(2, 3)

    assert Ranks.joined() == Ranks(0, 1)
    assert Ranks().gather(tensor) is tensor

"""Real workers, in processes of this machine and of Ray: what they embed is what one process does,
whichever of them is killed."""

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

import alphaclip
from alphaclip.encoder.load import encoder_settings
from alphaclip.errors import AlphaClipError
from alphaclip.indexing import run, status
from alphaclip.indexing.embedding.engines import engines
from alphaclip.indexing.embedding.engines.worker import work_quietly
from alphaclip.indexing.embedding.label_reader import LabelledPicture
from alphaclip.indexing.embedding.plans import Plan, finished, make_plan, read_plan
from alphaclip.indexing.embedding.shards import embed_shards
from alphaclip.regions.region import Region

PICTURES = 8


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """A plan of a shard for each picture, embedded in this process."""
    folder, rng = tmp_path_factory.mktemp("engines"), np.random.default_rng(0)
    pictures = []
    for number in range(PICTURES):
        path = folder / f"{number}.png"
        Image.fromarray(rng.integers(0, 256, (48, 64, 3), np.uint8)).save(path)
        regions = [Region.from_box([0.1 * n, 0.1, 0.5, 0.6]) for n in range(3)]
        stamps = [f"{number:08x}{n:08x}" for n in range(3)]
        ids = [f"{number}-{n}" for n in range(3)]
        pictures.append(LabelledPicture(f"s{number}", str(path), "0" * 16, ids, regions, stamps))
    encoder = alphaclip.load("alphaclip-nano")
    settings = {"field": "boxes", **encoder_settings(encoder)}
    plan = make_plan(folder / "plan", pictures, settings, shard_regions=3, to_files=True)
    shutil.copytree(plan.folder, folder / "bare")
    embed_shards(plan, encoder)
    return plan


@pytest.fixture
def bare(embedded: Plan, tmp_path: Path) -> Plan:
    """The same plan, of which nothing is embedded."""
    shutil.copytree(embedded.folder.with_name("bare"), tmp_path / "plan")
    return read_plan(tmp_path / "plan")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Ray on this machine; it writes to the home folder."""
    import ray

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="error")
        yield
        ray.shutdown()


def check_same(plan: Plan, other: Plan) -> None:
    """Looks whether the same bytes came of two plans."""
    for shard in plan.shards:
        one, two = finished(plan, shard), finished(other, shard)
        assert one is not None and one == two


def kill_once(plan: Plan, find: str) -> Iterator[None]:
    """Kills a worker that is at a shard, once."""
    while not (trying := status(plan.folder).trying):
        yield
    (victim, *_) = trying.values()
    assert find in " ".join(psutil.Process(victim.process).cmdline())
    os.kill(victim.process, signal.SIGKILL)
    while True:
        yield


def test_local__one_is_killed(embedded: Plan, bare: Plan) -> None:
    killing = kill_once(bare, "--with-parent")
    report = run(bare.folder, workers=2, progress=lambda *counts: next(killing))
    assert (report.embedded, report.left, report.failed) == (3 * PICTURES, 0, [])
    check_same(embedded, bare)


def test_local__each_has_its_own_of_the_gpus_that_are_lent(
    bare: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    lent: list[str] = []

    class Ended:
        returncode = 0

        def __init__(self, command: list[str], env: dict[str, str], **_: object) -> None:
            lent.append(env["CUDA_VISIBLE_DEVICES"])

        def poll(self) -> int:
            return self.returncode

    monkeypatch.setattr(engines.subprocess, "Popen", Ended)
    monkeypatch.setattr(engines, "TICK_SECONDS", 0)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,GPU-5,6,7")
    for workers, share in ((2, 2.0), (3, 0.5)):
        job = engines.Job(bare.folder, workers, None, share, {}, work_quietly)
        assert list(engines.local(job)) == [""]
    assert lent == ["4,GPU-5", "6,7", "4", "4", "GPU-5"]
    with pytest.raises(AlphaClipError, match="5 workers with 1 GPUs each are more than the 4"):
        run(bare.folder, workers=5, gpus_per_worker=1, progress=False)


def test_local__says_why_no_worker_works(embedded: Plan, tmp_path: Path) -> None:
    picture = LabelledPicture("s", "0.png", "0" * 16, ["a"], [Region.whole_image()], ["0" * 16])
    settings = {**embedded.settings, "encoder": "no-such-encoder"}
    plan = make_plan(tmp_path, [picture], settings, to_files=True)
    with pytest.raises(AlphaClipError, match=r"1 of 1 regions .* 'no-such-encoder'"):
        run(plan.folder, workers=1, progress=False)


@pytest.mark.usefixtures("cluster")
def test_ray__one_is_killed(embedded: Plan, bare: Plan) -> None:
    killing = kill_once(bare, "ray::")
    report = run(bare.folder, "ray", workers=1, progress=lambda *counts: next(killing))
    assert (report.embedded, report.left, report.failed) == (3 * PICTURES, 0, [])
    check_same(embedded, bare)

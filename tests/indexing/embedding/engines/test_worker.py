"""Workers share the shards of a plan; what goes wrong with one is noted, and the others go on."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from alphaclip.errors import AlphaClipError
from alphaclip.indexing import run, status, work
from alphaclip.indexing.embedding.engines.claims import DIED, claiming, failed_shards
from alphaclip.indexing.embedding.engines.worker import path_map
from alphaclip.indexing.embedding.label_reader import LabelledPicture
from alphaclip.indexing.embedding.plans import Plan, PlanError, finished, make_plan
from alphaclip.regions.region import Region

BOX = Region.from_box([0, 0, 1, 1])
SETTINGS = {"field": "f", "fingerprint": "e", "encoder": "e"}
SHARDS = 5


class Encoder:
    """Notes what it encodes; ``before`` may come in the way of a picture."""

    name, fingerprint = "e", "e"

    def __init__(self, before: Callable[[str], object] = lambda path: None) -> None:
        self.encoded: list[str] = []
        self._before = before

    def encode_many(
        self,
        items: Iterable[tuple[str, Sequence[Region]]],
        on_error: Callable | None = None,
        apart: object = (),
    ) -> Iterator[np.ndarray]:
        for path, regions in items:
            self._before(Path(path).stem)
            self.encoded.append(path)
            yield np.eye(2, dtype=np.float32)[[0] * len(regions)]


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """Shards of one picture with two regions each; the pictures are empty files."""
    return planned(tmp_path)


def planned(folder: Path, pictures: str = "pictures") -> Plan:
    found = []
    for number in range(SHARDS):
        path = folder / pictures / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        path.touch()
        stamps = [f"{number:08x}{n:08x}" for n in range(2)]
        names = [f"{number}a", f"{number}b"]
        found.append(LabelledPicture(f"s{number}", str(path), "0" * 16, names, [BOX] * 2, stamps))
    return make_plan(folder / "plan", found, SETTINGS, shard_regions=2, to_files=True)


def stems(encoder: Encoder) -> list[str]:
    return sorted(Path(path).stem for path in encoder.encoded)


def test_work__every_shard_once(plan: Plan) -> None:
    encoder = Encoder()
    assert work(plan.folder, encoder=encoder, progress=False) == 2 * SHARDS
    assert stems(encoder) == list("01234")
    assert work(plan.folder, encoder=encoder, progress=False) == 0
    told = status(plan.folder)
    assert (told.finished, told.embedded, told.trying, told.failed) == (SHARDS, 10, {}, [])
    assert told.seconds_left in (0, None)


def test_work__leaves_alone_what_another_is_at(plan: Plan) -> None:
    first, second = Encoder(), Encoder()
    with claiming(plan, plan.shards[2]) as claim:
        assert claim is not None
        assert work(plan.folder, encoder=first, progress=False) == 8
        told = status(plan.folder)
        assert list(told.trying) == [plan.shards[2]["file"]]
    assert work(plan.folder, encoder=second, progress=False) == 2
    assert (stems(first), stems(second)) == (list("0134"), ["2"])


def test_work__takes_the_shard_of_one_that_died(plan: Plan) -> None:
    for _ in range(2):
        with claiming(plan, plan.shards[0]):
            pass  # Neither finished nor given back: as after a kill
    assert work(plan.folder, encoder=Encoder(), progress=False) == 10
    assert status(plan.folder).trying == {}


def test_work__gives_up_what_kills_three(plan: Plan) -> None:
    for _ in range(3):
        with claiming(plan, plan.shards[0]) as claim:
            assert claim is not None
    assert work(plan.folder, encoder=Encoder(), progress=False) == 8
    (failed,) = status(plan.folder).failed
    assert [one.reason for one in failed.tries] == [DIED] * 3
    assert str(failed).startswith(f"{plan.shards[0]['file']} (2 regions) failed on ")


def test_work__goes_on_past_a_shard_that_fails(plan: Plan) -> None:
    def spoil(name: str) -> None:
        if name == "3":
            raise OSError("no space left")

    assert work(plan.folder, encoder=Encoder(spoil), progress=False) == 8
    (failed,) = failed_shards(plan)
    assert [one.reason for one in failed.tries] == ["OSError('no space left')"] * 3
    assert finished(plan, plan.shards[3]) is None
    assert work(plan.folder, encoder=Encoder(), progress=False) == 0, "it is not tried again"


def test_work__ends_where_nothing_works(plan: Plan) -> None:
    def spoil(name: str) -> None:
        raise MemoryError("none left")

    with pytest.raises(PlanError, match="nothing came of 3 shards in a row: none left"):
        work(plan.folder, encoder=Encoder(spoil), progress=False)
    assert failed_shards(plan) == [], "other machines can try"
    assert work(plan.folder, encoder=Encoder(), progress=False) == 10


def test_work__a_stop_is_no_failure(plan: Plan) -> None:
    def stop(name: str) -> None:
        raise KeyboardInterrupt

    for _ in range(4):
        with pytest.raises(KeyboardInterrupt):
            work(plan.folder, encoder=Encoder(stop), progress=False)
    assert status(plan.folder).trying == {}
    assert work(plan.folder, encoder=Encoder(), progress=False, goes_on=lambda: False) == 0
    assert work(plan.folder, encoder=Encoder(), progress=False) == 10


def test_work__notices_another_plan(plan: Plan, tmp_path: Path) -> None:
    def replace(name: str) -> None:
        planned(tmp_path, "others")
        raise ValueError("gone")

    with pytest.raises(PlanError, match="was planned anew meanwhile: run again"):
        work(plan.folder, encoder=Encoder(replace), progress=False)


def test_work__of_another_model(plan: Plan) -> None:
    other = Encoder()
    other.fingerprint = "f"
    with pytest.raises(AlphaClipError, match="its vectors cannot be compared"):
        work(plan.folder, encoder=other, progress=False)


def test_work__pictures_elsewhere(plan: Plan, tmp_path: Path) -> None:
    here, there = tmp_path / "pictures", tmp_path / "mnt"
    here.rename(there)
    with pytest.raises(PlanError, match=r"none of its 1 pictures is on this machine: .*--map"):
        work(plan.folder, encoder=Encoder(), progress=False)
    encoder = Encoder()
    assert work(plan.folder, {str(here): str(there)}, encoder, progress=False) == 10
    assert {Path(path).parent for path in encoder.encoded} == {there}


def test_path_map() -> None:
    locate = path_map({"/data": "/mnt", "/data/new": "/fast"})
    paths = ["/data/1.png", "/data/new/2.png", "/database/3.png", "/other/4.png"]
    assert [locate(path) for path in paths] == [
        "/mnt/1.png", "/fast/2.png", "/database/3.png", "/other/4.png",
    ]  # fmt: skip
    assert path_map({"/": "s3://bucket/all/"})("/1.png") == "s3://bucket/all/1.png"
    with pytest.raises(AlphaClipError, match="expected absolute folders"):
        path_map({"data": "/mnt"})


def test_run__refuses(plan: Plan, tmp_path: Path) -> None:
    with pytest.raises(AlphaClipError, match="no engine 'spark': choose one of local, ray"):
        run(plan.folder, "spark")
    with pytest.raises(AlphaClipError, match="workers is 0"):
        run(plan.folder, workers=0)
    with pytest.raises(PlanError, match="holds no plan"):
        run(tmp_path)
    with pytest.raises(AlphaClipError, match=r"Ray's cluster at 127\.0\.0\.1:1 does not answer"):
        run(plan.folder, "ray", address="127.0.0.1:1")

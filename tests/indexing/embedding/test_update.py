"""What is new, edited or gone is found, and only that is embedded."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

from alphaclip import indexing
from alphaclip.cli import main
from alphaclip.encoder.encoder import Encoder
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.dataset.locations import index_folder
from alphaclip.indexing.embedding.engines.engines import ENGINES, Job
from alphaclip.indexing.embedding.plans import make_plan
from alphaclip.indexing.region_index import RegionIndex
from alphaclip.indexing.store.manifests import manifest_path


class Counting:
    """An encoder that notes how many regions it was given."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoded = 0
        self._encoder = encoder

    def __getattr__(self, name: str) -> object:
        return getattr(self._encoder, name)

    def encode_many(self, items, on_error=None, apart=()):
        def counted():
            for image, regions in items:
                self.encoded += len(regions)
                yield image, regions

        return self._encoder.encode_many(counted(), on_error, apart=apart)


@pytest.fixture
def counting(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> Counting:
    counting = Counting(encoder)
    monkeypatch.setattr("alphaclip.indexing.region_index.encoder_of", lambda *_: counting)
    return counting


def counts(report) -> tuple[int, ...]:
    return report.regions, report.added, report.edited, report.kept, report.gone


def assert_is_right(dataset: fo.Dataset, index: RegionIndex, encoder: Encoder) -> None:
    """Every vector is what a new index would hold."""
    fresh = indexing.build(dataset, index.field, encoder, key="fresh")
    both = [
        dict(zip(one.ids.label_ids, one.vectors(np.arange(len(one))), strict=True))
        for one in (index, fresh)
    ]
    assert both[0].keys() == both[1].keys()
    for label, vector in both[1].items():
        np.testing.assert_allclose(both[0][label], vector, atol=2e-3)
    fresh.delete()


def test_update__nothing_has_changed(index: RegionIndex, counting: Counting) -> None:
    assert counts(index.update()) == (12, 0, 0, 12, 0)
    assert counting.encoded == 0


def test_update__box_picture_and_labels(
    dataset: fo.Dataset, index: RegionIndex, encoder: Encoder, counting: Counting, tmp_path: Path
) -> None:
    first, second, third = dataset
    first.boxes.detections[0].bounding_box = [0.3, 0.1, 0.2, 0.2]
    first.boxes.detections[1].label = "another name"
    first.save()
    Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save(second.filepath)
    del third.boxes.detections[3]
    third.boxes.detections.append(fo.Detection(bounding_box=[0, 0, 0.5, 0.5]))
    third.save()
    assert asdict(index.freshness()) == {
        "held": 6, "edited": 5, "missing": 1, "gone": 1, "unreachable": 0
    }  # fmt: skip
    assert counts(index.update()) == (12, 1, 5, 6, 1)
    assert index.freshness().is_fresh
    assert counting.encoded == 6
    assert index.info()["version"] == 2
    assert_is_right(dataset, index, encoder)


def test_update__an_edited_mask(dataset: fo.Dataset, encoder: Encoder) -> None:
    sample = dataset.first()
    mask = np.zeros((10, 10), bool)
    mask[:5] = True
    sample.boxes.detections[0].mask = mask
    sample.save()
    index = indexing.build(dataset, "boxes", encoder)
    mask[:, :5] = True
    sample.boxes.detections[0].mask = mask
    sample.save()
    assert counts(index.update()) == (12, 0, 1, 11, 0)
    assert_is_right(dataset, index, encoder)


def test_update__samples_come_and_go(
    dataset: fo.Dataset, index: RegionIndex, encoder: Encoder
) -> None:
    sample = dataset.first()
    copy = fo.Detections(detections=[fo.Detection(bounding_box=[0.2, 0.2, 0.2, 0.2])])
    dataset.add_sample(fo.Sample(sample.filepath, boxes=copy))
    dataset.delete_samples(sample.id)
    assert counts(index.update()) == (9, 1, 0, 8, 4)
    assert_is_right(dataset, index, encoder)


def test_update__every_region_is_gone_and_one_comes(
    dataset: fo.Dataset, index: RegionIndex, encoder: Encoder
) -> None:
    first = dataset.first().filepath
    dataset.delete_samples(dataset.values("id"))
    with pytest.raises(AlphaClipError, match="would lose all its 12 regions: there are no samples"):
        index.update()
    assert index.freshness().gone == len(index) == 12
    boxes = fo.Detections(detections=[fo.Detection(bounding_box=[0.2, 0.2, 0.2, 0.2])])
    dataset.add_sample(fo.Sample(first, boxes=boxes))
    assert counts(index.update()) == (1, 1, 0, 0, 12)
    assert_is_right(dataset, index, encoder)


def test_update__a_picture_out_of_reach_keeps_its_vectors(
    dataset: fo.Dataset, index: RegionIndex, counting: Counting
) -> None:
    path = Path(dataset.first().filepath)
    path.rename(path.with_suffix(".away"))
    assert index.freshness().is_fresh
    assert index.freshness().unreachable == 4
    report = index.update()
    assert counts(report) == (12, 0, 0, 12, 0)
    assert report.unreachable == 4
    assert counting.encoded == 0


def test_update__a_touched_picture(dataset: fo.Dataset, encoder: Encoder) -> None:
    stat = indexing.build(dataset, "boxes", encoder, key="stat")
    content = indexing.build(dataset, "boxes", encoder, key="content", identify="content")
    path = Path(dataset.first().filepath)
    shutil.copy(path, path.with_suffix(".copy"))
    path.with_suffix(".copy").replace(path)
    assert stat.update().edited == 4
    assert content.update().edited == 0


def test_update__of_a_view_looks_at_the_view_again(dataset: fo.Dataset, encoder: Encoder) -> None:
    dataset.limit(2).tag_samples("in")
    index = indexing.build(dataset.match_tags("in"), "boxes", encoder)
    assert len(index) == 8
    dataset.tag_samples("in")
    assert counts(index.update()) == (12, 4, 0, 8, 0)


def test_update__of_another_slice_does_not_matter(
    dataset_factory, dataset: fo.Dataset, encoder: Encoder
) -> None:
    grouped = dataset_factory()
    grouped.add_group_field("group", default="left")
    for sample in dataset:
        group = fo.Group()
        for side in ("left", "right"):
            boxes = sample.boxes.copy()
            grouped.add_sample(fo.Sample(sample.filepath, boxes=boxes, group=group.element(side)))
    index = indexing.build(grouped, "boxes", encoder)
    grouped.group_slice = "right"
    assert counts(index.update()) == (12, 0, 0, 12, 0)


def test_update__damage_is_mended(
    dataset: fo.Dataset, index: RegionIndex, encoder: Encoder
) -> None:
    (path,) = (index_folder(dataset, "regions") / "data").glob("*.npy")
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(AlphaClipError, match=r"is damaged: index\.update\(\)"):
        indexing.load(dataset).search("red apple")
    assert counts(indexing.load(dataset).update()) == (12, 12, 0, 0, 0)
    assert_is_right(dataset, index, encoder)


def test_update__a_damaged_manifest_goes_back_to_the_one_before(
    dataset: fo.Dataset, index: RegionIndex, encoder: Encoder
) -> None:
    index.update()
    manifest_path(index_folder(dataset, "regions"), 2).write_text("{")
    with pytest.raises(AlphaClipError, match="is damaged"):
        indexing.load(dataset).search("red apple")
    assert counts(indexing.load(dataset).update()) == (12, 0, 0, 12, 0)
    assert index.info()["version"] == 3


def test_update__another_process_publishes(dataset: fo.Dataset, index: RegionIndex) -> None:
    other = indexing.load(dataset)
    assert len(other.search("red apple", k=50)) == 12
    dataset.delete_samples(dataset.first().id)
    index.update()
    assert len(other.search("red apple", k=50)) == 8


def test_build__overwrite_keeps_what_holds(
    dataset: fo.Dataset, index: RegionIndex, encoder: Encoder
) -> None:
    report = indexing.build(dataset.limit(2), "boxes", encoder, overwrite=True).info()["report"]
    assert (report["regions"], report["added"], report["kept"], report["gone"]) == (8, 0, 8, 4)


def test_build__goes_on_after_an_interruption(
    dataset: fo.Dataset, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Dies(Counting):
        def encode_many(self, items, on_error=None, apart=()):
            for number, vectors in enumerate(super().encode_many(items, on_error, apart)):
                if number == 2:
                    raise KeyboardInterrupt
                yield vectors

    small = partial(make_plan, shard_regions=4)
    monkeypatch.setattr("alphaclip.indexing.embedding.building.make_plan", small)
    monkeypatch.setattr("alphaclip.indexing.region_index.load_encoder", lambda given: given)
    dying = Dies(encoder)
    with pytest.raises(KeyboardInterrupt):
        indexing.build(dataset, "boxes", dying)
    again = Counting(encoder)
    index = indexing.build(dataset, "boxes", again)
    assert len(index) == 12
    assert again.encoded == 4, "the first two shards were done"


def test_split_job__plan_embed_merge(dataset: fo.Dataset, encoder: Encoder, capsys) -> None:
    from alphaclip.cli import main

    encoding = ["--encoder", "alphaclip-nano"]
    assert main(["index", "plan", dataset.name, "boxes", *encoding]) == 0
    folder = capsys.readouterr().out.splitlines()[-1]
    assert main(["index", "merge", dataset.name]) == 1
    assert "are not embedded" in capsys.readouterr().err
    for part in ("1/2", "2/2", "2/2"):
        assert main(["index", "embed", folder, "--shard", part]) == 0
    assert main(["index", "embed", folder, "--any"]) == 0
    assert main(["index", "status", folder]) == 0
    assert "12 of 12 regions embedded" in capsys.readouterr().out
    assert main(["index", "run", folder]) == 0
    assert "0 regions embedded" in capsys.readouterr().out
    assert main(["index", "merge", dataset.name]) == 0
    assert "12 regions, 12 added" in capsys.readouterr().out
    assert_is_right(dataset, indexing.load(dataset), encoder)
    assert main(["index", "info", dataset.name]) == 0
    assert json.loads(capsys.readouterr().out)["search"]["type"] == "exact"
    assert main(["index", "info", dataset.name, "--fresh"]) == 0
    assert json.loads(capsys.readouterr().out)["freshness"]["held"] == 12
    for action in ("list", "verify", "update"):
        assert main(["index", action, dataset.name]) == 0
    with pytest.raises(SystemExit):
        main(["index", "embed", folder, "--shard", "3/2"])
    with pytest.raises(SystemExit):
        main(["index", "run", folder, "--map", "/mnt"])


def test_build__by_workers(
    dataset: fo.Dataset, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker is this process; those of their own are tested beside the engines."""
    jobs: list[Job] = []

    def here(job: Job) -> Iterator[str]:
        jobs.append(job)
        yield str(job.work(job.folder, job.paths))

    monkeypatch.setitem(ENGINES, "local", here)
    index = indexing.build(dataset, "boxes", "alphaclip-nano", engine="local", workers=1)
    assert [job.workers for job in jobs] == [1]
    assert_is_right(dataset, index, encoder)
    with pytest.raises(AlphaClipError, match="workers is 0"):
        indexing.plan(dataset, "boxes", "alphaclip-nano", "other", workers=0)


def test_compact(
    dataset: fo.Dataset, index: RegionIndex, encoder: Encoder, capsys: pytest.CaptureFixture
) -> None:
    """By the command; nothing is embedded, and searches stay as they are."""
    sample = dataset.first()
    sample.boxes.detections[0].bounding_box = [0.2, 0.2, 0.4, 0.4]
    sample.save()
    index.update()
    before = index.search("noise", k=20)
    assert main(["index", "compact", dataset.name, index.key]) == 0
    assert "1 segment files, 2 before" in capsys.readouterr().out
    after = index.search("noise", k=20)
    for name in ("label_ids", "scores"):
        assert np.array_equal(getattr(after, name), getattr(before, name))
    assert index.compact() == (1, 1)
    assert index.freshness().is_fresh

"""The sample as a dataset, and the demo on a part of it."""

import json
from pathlib import Path

import fiftyone as fo
import pytest
from PIL import Image

from alphaclip import Region
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.cli.demo import HITS, QUERIES, run_demo
from alphaclip.indexing.dataset import samples
from alphaclip.indexing.explore.contact_sheet import draw_contact_sheet
from alphaclip.indexing.retrieval.hit_listing import ListedHit


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """The first twelve scenes of the sample."""
    content = json.loads((samples.FOLDER / "scenes.json").read_text())
    content["scenes"] = content["scenes"][:12]
    folder = tmp_path / "sample"
    folder.mkdir()
    (folder / "scenes.json").write_text(json.dumps(content))
    (folder / "images").symlink_to(samples.FOLDER / "images")
    yield folder
    if fo.dataset_exists(samples.NAME):
        fo.delete_dataset(samples.NAME)


def test_load_sample__every_region_once(small: Path) -> None:
    rows = json.loads((small / "scenes.json").read_text())["scenes"]
    dataset = samples.load_sample(small)
    detections = dataset.values("objects.detections", unwind=True)
    polylines = dataset.values("outlines.polylines", unwind=True)
    assert len(detections) + len(polylines) == sum(len(row["regions"]) for row in rows)
    assert any(d.mask is not None for d in detections)
    assert any(d.mask is None for d in detections)
    assert all(line.filled for line in polylines)
    assert samples.load_sample(small).name == dataset.name


def test_load_sample__other_scenes_or_an_unfinished_one_are_loaded_again(small: Path) -> None:
    rows = json.loads((small / "scenes.json").read_text())["scenes"]
    samples.load_sample(small)
    rows[0]["regions"][0]["label"] = "another name"
    (small / "scenes.json").write_text(json.dumps({"scenes": rows}))
    dataset = samples.load_sample(small)
    labels = dataset.first().objects.detections + dataset.first().outlines.polylines
    assert "another name" in {label.label for label in labels}
    dataset.delete_samples(dataset.limit(3))
    dataset.persistent = False
    assert len(samples.load_sample(small)) == len(rows)


def test_load_sample__not_there(tmp_path: Path) -> None:
    with pytest.raises(AlphaClipError, match="comes with the repository"):
        samples.load_sample(tmp_path)


def test_load_sample__another_dataset_has_the_name(small: Path) -> None:
    fo.Dataset(samples.NAME)
    with pytest.raises(AlphaClipError, match="another dataset 'alphaclip-sample'"):
        samples.load_sample(small)


def test_run_demo__answers_and_draws(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    run_demo(small, tmp_path / "sheet.png", app=False)
    first = capsys.readouterr().out
    for query in QUERIES:
        assert f'"{query}"' in first
    assert first.count("sample/images/scene-") == len(QUERIES) * HITS
    assert Image.open(tmp_path / "sheet.png").width > 1000
    run_demo(small, tmp_path / "sheet.png", app=False)
    assert capsys.readouterr().out == first


def test_draw_contact_sheet__lights_the_region(tmp_path: Path) -> None:
    Image.new("RGB", (90, 60), "red").save(tmp_path / "red.png")
    region = Region.from_box([0.25, 0.25, 0.5, 0.5])
    hit = ListedHit(1, 0.5, "thing", str(tmp_path / "red.png"), "s", "l", region)
    draw_contact_sheet({"query": [hit]}, tmp_path / "sheet.png")
    colors = Image.open(tmp_path / "sheet.png").getcolors(1 << 20)
    # A window of 72 by 60 pixels is drawn twice as large, the region's 45 by 30 of it lit.
    lit = sum(count for count, color in colors if color == (255, 0, 0))
    assert lit == pytest.approx(2 * 45 * 2 * 30, rel=0.1)

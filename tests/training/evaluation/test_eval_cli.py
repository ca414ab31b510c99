"""``alphaclip eval`` from the command line, on small folders in the published layouts."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alphaclip.cli import main

NANO = "alphaclip-nano"
SYNSETS = ("n01484850", "n01440764")


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """Two pictures, three objects and a crowd, in COCO's layout."""
    folder = tmp_path / "coco"
    (folder / "val2017").mkdir(parents=True)
    (folder / "annotations").mkdir()
    for name in ("1.jpg", "2.jpg"):
        Image.new("RGB", (64, 48), "red").save(folder / "val2017" / name)
    images = [{"id": i, "file_name": f"{i}.jpg", "width": 64, "height": 48} for i in (1, 2)]
    categories = [{"id": 7, "name": "apple"}, {"id": 3, "name": "pear"}]
    square = [[4, 4, 24, 4, 24, 24, 4, 24]]
    objects = [(1, 1, 7, 0), (2, 1, 3, 0), (3, 2, 3, 0), (4, 2, 7, 1)]
    crowd = {"size": [48, 64], "counts": [0, 480, 2592]}
    annotations = [
        {"id": i, "image_id": image, "category_id": category, "iscrowd": many, "area": 400,
         "bbox": [4, 4, 20, 20], "segmentation": crowd if many else square}
        for i, image, category, many in objects
    ]  # fmt: skip
    content = {"images": images, "categories": categories, "annotations": annotations}
    path = folder / "annotations" / "instances_val2017.json"
    path.write_text(json.dumps(content), "utf-8")
    return folder


@pytest.fixture
def imagenet_s(tmp_path: Path) -> Path:
    """Two pictures of two classes, with Alpha-CLIP's annotations."""
    folder, entries = tmp_path / "imagenet-s", []
    for synset in SYNSETS:
        path = Path("ImageNetS919/validation") / synset / f"{synset}.JPEG"
        (folder / path).parent.mkdir(parents=True)
        pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / path)
        mask = {"size": [40, 60], "counts": [800, 40, 1560]}
        entries.append({"image_pth": str(path), "category_word": synset, "mask": mask})
    (folder / "imagenet_919.json").write_text(json.dumps(entries), "utf-8")
    return folder


def report_of(folder: Path) -> list[dict]:
    return json.loads((folder / "report.json").read_text("utf-8"))


def test_eval_regions__coco_from_files_to_report(coco: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "out"
    arguments = ["eval", "regions", "--encoder", NANO, f"{NANO}+ones", "--data", str(coco)]
    html = str(tmp_path / "page.html")
    assert main([*arguments, "--out", str(out), "--device", "cpu", "--html", html]) == 0
    (table,) = report_of(out)
    assert (table["task"], table["set"]) == ("regions", "coco-val2017")
    assert table["setting"] == "1.5x crop, mask alpha"
    assert [line["encoder"] for line in table["encoders"]] == [NANO, f"{NANO}+ones"]
    assert [line["rows"] for line in table["encoders"]] == [4, 4]
    assert table["encoders"][0]["metrics"]["top-5"] == 100.0
    assert any(figure["value"] == 77.56 for figure in table["published"])
    printed = capsys.readouterr().out
    assert f"{NANO}: top-1 " in printed
    assert str(out / "report.md") in printed and html in printed
    assert "Mistaken by" in Path(html).read_text("utf-8")
    assert "2 outcomes; 0 entries left out" in printed


def test_eval_regions__settings_alphas_and_crowds(coco: Path, tmp_path: Path) -> None:
    arguments = ["--show", "own", "whole", "masked", "--alpha", "mask", "box", "--no-crowd"]
    base = ["eval", "regions", "--encoder", NANO, "--data", str(coco), "--out", str(tmp_path / "o")]
    assert main([*base, *arguments]) == 0
    tables = report_of(tmp_path / "o")
    assert [table["setting"] for table in tables] == [
        "1.5x crop, masked, box alpha, no crowds",
        "1.5x crop, masked, mask alpha, no crowds",
        "own view, no crowds",
        "whole picture, box alpha, no crowds",
        "whole picture, mask alpha, no crowds",
    ]
    assert all(table["encoders"][0]["rows"] == 3 for table in tables)


def test_eval_regions__second_run_uses_the_vectors(coco: Path, tmp_path: Path) -> None:
    base = ["eval", "regions", "--encoder", NANO, "--data", str(coco), "--out", str(tmp_path / "o")]
    assert main(base) == 0
    parts = {path: path.stat().st_mtime_ns for path in (tmp_path / "o").rglob("*.npz")}
    first = (tmp_path / "o/report.md").read_bytes()
    assert main(base) == 0
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "o").rglob("*.npz")} == parts
    assert (tmp_path / "o/report.md").read_bytes() == first


def test_eval_regions__encoder_that_is_not_there_does_not_stop_the_others(
    coco: Path, tmp_path: Path, capsys
) -> None:
    arguments = ["eval", "regions", "--encoder", "nothing", NANO, "--data", str(coco)]
    assert main([*arguments, "--out", str(tmp_path / "o")]) == 1
    captured = capsys.readouterr()
    assert "not judged" in captured.err
    assert "no model is called 'nothing'" in captured.err
    assert [line["encoder"] for line in report_of(tmp_path / "o")[0]["encoders"]] == [NANO]


def test_eval_regions__limit_is_said_and_has_no_published_figure(
    coco: Path, tmp_path: Path
) -> None:
    base = ["eval", "regions", "--encoder", NANO, "--data", str(coco), "--out", str(tmp_path / "o")]
    assert main([*base, "--limit", "1"]) == 0
    (line,) = report_of(tmp_path / "o")[0]["encoders"]
    assert (line["rows"], line["pictures"], line["settings"]["limit"]) == (2, 1, 1)
    assert "first 1 of the set" in (tmp_path / "o/report.md").read_text("utf-8")


def test_eval_imagenet_s__alphas_and_names(imagenet_s: Path, tmp_path: Path) -> None:
    arguments = ["--alpha", "mask", "box", "ones", "--names", "paper", "openai"]
    base = ["eval", "imagenet-s", "--encoder", NANO, "--data", str(imagenet_s)]
    assert main([*base, *arguments, "--out", str(tmp_path / "o")]) == 0
    tables = report_of(tmp_path / "o")
    assert len(tables) == 6
    assert {table["set"] for table in tables} == {"imagenet-s-919"}
    settings = {table["setting"]: table["encoders"][0]["settings"] for table in tables}
    assert len(settings["mask alpha, openai names"]["templates"]) == 80
    assert settings["box alpha, paper names"]["view"] == {
        "kind": "center", "antialias": False, "alpha": "box",
    }  # fmt: skip
    rows = json.loads(next((tmp_path / "o/outcomes").glob("*mask*paper*")).read_text())["rows"]
    assert rows["truth"] == ["great_white_shark (n01484850)", "tench (n01440764)"]


def test_eval_report__merges_runs(coco: Path, tmp_path: Path) -> None:
    for run, encoder in (("one", NANO), ("two", f"{NANO}+crop")):
        folder = str(tmp_path / "runs" / run)
        base = ["eval", "regions", "--encoder", encoder, "--data", str(coco), "--out", folder]
        assert main([*base, "--cache", str(tmp_path / "cache")]) == 0
    assert main(["eval", "report", str(tmp_path / "runs")]) == 0
    (table,) = report_of(tmp_path / "runs")
    assert [line["encoder"] for line in table["encoders"]] == [NANO, f"{NANO}+crop"]
    assert table["encoders"][1]["difference"]["rows"] == 4


def test_eval_regions__mistakes_become_a_dataset(coco: Path, tmp_path: Path, capsys) -> None:
    import fiftyone as fo

    name = f"mistakes-{tmp_path.name}"
    base = ["eval", "regions", "--encoder", NANO, "--data", str(coco), "--out", str(tmp_path / "o")]
    try:
        assert main([*base, "--mistakes", name]) == 0
        dataset = fo.load_dataset(name)
        field = "alphaclip_nano_1_5x_crop_mask_alpha"
        assert dataset.count(f"{field}.detections") == 4
        assert set(dataset.distinct(f"{field}.detections.truth")) == {"apple", "pear"}
        assert name in capsys.readouterr().out
    finally:
        fo.delete_dataset(name)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["regions"], "--data is missing"),
        (["regions", "--data", "nowhere"], "cocodataset.org"),
        (["imagenet-s", "--data", "nowhere"], "LUSSeg/ImageNet-S"),
        (["regions", "--dataset", "x"], "--field FIELD"),
        (["regions", "--data", "x", "--truth", "y"], "--truth goes with --dataset"),
        (["retrieval", "--data", "x", "--field", "y", "--text", "z"], "--field, --text goes with"),
        (["regions", "--dataset", "x", "--field", "y", "--split", "z"], "--split is of --data"),
        (["regions", "--dataset", "no-such-set", "--field", "x"], "no FiftyOne dataset"),
    ],
)
def test_eval__what_is_missing_is_said(arguments, message, tmp_path, capsys) -> None:
    assert main(["eval", *arguments, "--encoder", NANO, "--out", str(tmp_path)]) == 1
    assert message in capsys.readouterr().err


def test_eval__package_that_is_missing_is_said(
    coco: Path, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    arguments = ["eval", "regions", "--encoder", NANO, "--data", str(coco)]
    assert main([*arguments, "--out", str(tmp_path / "o")]) == 1
    assert "pip install 'alphaclip-fiftyone[eval]'" in capsys.readouterr().err


def test_eval_report__empty_folder_is_said(tmp_path: Path, capsys) -> None:
    assert main(["eval", "report", str(tmp_path)]) == 1
    assert "holds no outcomes" in capsys.readouterr().err


def test_eval__html_is_a_file(tmp_path: Path, capsys) -> None:
    with pytest.raises(SystemExit):
        main(["eval", "report", str(tmp_path), "--html", str(tmp_path)])
    assert "is a folder: name a file in it" in capsys.readouterr().err


@pytest.mark.parametrize("limit", ["0", "-1", "many"])
def test_eval__limit_is_a_number_of_pictures(limit: str, capsys) -> None:
    with pytest.raises(SystemExit):
        main(["eval", "regions", "--encoder", NANO, "--data", "x", "--limit", limit])
    assert "whole number" in capsys.readouterr().err

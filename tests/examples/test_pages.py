"""The pages: their Python runs as it stands, on the bundled sample; their links and size hold."""

import ast
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import build_docs
import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

from alphaclip import indexing
from alphaclip.indexing.dataset.samples import FOLDER, load_sample
from tests.alphaclip.language.tiny_models import write_model
from tests.setup.test_layout import HOUSES, ORDER

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    "README.md",
    "docs/python.md",
    "docs/labelling.md",
    "docs/porting.md",
    "docs/language.md",
]
HERE = {
    '"ground_truth': '"objects',
    "alphaclip-vit-l14-grit1m-mim": "alphaclip-nano",
    "alphaclip-vit-l14-grit20m": "alphaclip-nano",
    "Qwen/Qwen2.5-VL-3B-Instruct": "qwen",
}
"""What the pages name, and what stands for it here: no weights for photographs are here."""

ELSEWHERE = (
    "clip_b16_grit1m_fultune_8xe.pth",
    "IDEA-Research/grounding-dino-tiny",
    "llava-hf/llava-1.5-7b-hf",
)
"""A block that names one of these needs weights that are not here; tests/alphaclip/weights,
tests/indexing/explore/test_verification.py and tests/alphaclip/language show the same."""


def blocks(page: str) -> list[str]:
    """The Python blocks of a page that can run here, in order."""
    found = re.findall(r"^( *)```python\n(.*?)^\1```", (ROOT / page).read_text(), re.S | re.M)
    texts = [re.sub(rf"^{indent}", "", text, flags=re.M) for indent, text in found]
    return [text for text in texts if not any(name in text for name in ELSEWHERE)]


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[fo.Dataset]:
    """Some scenes of the sample, under the name that the pages use, in a folder with pictures."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fo, "launch_app", lambda **kwargs: None)
    scenes = load_sample()[:60].clone("my-dataset")
    scenes[:20].tag_samples("2026")
    make_pictures(tmp_path)
    yield scenes
    scenes.delete()


def make_pictures(folder: Path) -> None:
    """The files that the pages name: a photo, a picture with its mask, and a cutout."""
    source = next(iter(sorted(FOLDER.glob("images/*.jpg"))))
    shutil.copy(source, folder / "photo.jpg")
    with Image.open(source) as picture:
        picture.save(folder / "image.png")
        mask = np.zeros(picture.size[::-1], np.uint8)
        mask[50:150, 20:120] = 255
        Image.fromarray(mask).save(folder / "mask.png")
        cutout = picture.convert("RGBA")
        cutout.putalpha(Image.fromarray(mask))
        cutout.save(folder / "cutout.png")


@pytest.mark.parametrize("page", PAGES)
def test_python_of_a_page__runs(page: str, dataset: fo.Dataset) -> None:
    names = {"dataset": dataset}
    if page == "docs/language.md":
        write_model("qwen2_5_vl", Path("qwen"))
    if page in ("docs/labelling.md", "docs/language.md"):
        indexing.build(dataset, "objects", encoder="alphaclip-nano")
    if page == "docs/python.md":
        names["other"] = indexing.build(dataset, "outlines", "alphaclip-nano", key="other")
    texts = blocks(page)
    assert texts
    for text in texts:
        for said, here in HERE.items():
            text = text.replace(said, here)
        exec(compile(text, page, "exec"), names)


def test_readme__is_for_a_newcomer() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 200


def test_architecture__names_every_package_and_their_order() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    packages = [path.parent.relative_to(ROOT / h) for h in HOUSES for path in packages_of(h)]
    assert [str(path) for path in packages if f"{path}/`" not in page] == []
    tree = page.partition("## The tree")[2].partition("\n## ")[0]
    folders = [Path(name) for name in re.findall(r"`([\w/]+)/`", tree)]
    assert [
        name for name in folders if not any((ROOT / h / name).is_dir() for h in ("", *HOUSES))
    ] == []
    said = " ".join(page.split())
    assert {house for house, order in ORDER.items() if f"`{house}`: {order}" not in said} == set()


def test_architecture__its_ways_name_functions_that_are_there() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    names = re.findall(r"^\d+\. `([\w.]+)`: ", page, re.MULTILINE)
    assert len(names) > 50
    assert [name for name in names if not is_defined(name.split("."))] == []


def is_defined(name: list[str]) -> bool:
    """Whether a function or method is in the file that its name says, from the root on."""
    modules = [ROOT.joinpath(*name[:at]).with_suffix(".py") for at in range(len(name))]
    at = next((at for at, path in enumerate(modules) if path.is_file()), None)
    if at is None:
        return False
    body: list[ast.stmt] = ast.parse(modules[at].read_text()).body
    for part in name[at:]:
        defined = (ast.FunctionDef, ast.ClassDef)
        found = [node for node in body if isinstance(node, defined) and node.name == part]
        if not found:
            return False
        body = found[0].body
    return True


def packages_of(house: str) -> Iterator[Path]:
    """The files that make a folder below a house a package."""
    yield from sorted((ROOT / house).glob("*/**/__init__.py"))


def test_skill__names_every_operator() -> None:
    listed = re.search(r"^operators:\n((?:  - \w+\n)+)", (ROOT / "fiftyone.yml").read_text(), re.M)
    assert listed
    skill = (ROOT / "skills" / "region-search" / "SKILL.md").read_text()
    names = set(re.findall(r"\w+", listed[1])) - {"finish_installation"}
    assert {name for name in names if f"`{name}`" not in skill} == set()


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links__lead_somewhere(page: str) -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", (ROOT / page).read_text())
    assert [link for link in links if "://" not in link and not (ROOT / link).exists()] == []


def test_site__builds_without_a_warning(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code = build_docs.main([*build_docs.STRICT, "--site-dir", str(tmp_path)])
    assert code == 0, capfd.readouterr().err
    reference = (tmp_path / "reference" / "indexing.html").read_text()
    assert "Embeds every region of a field and makes them searchable." in reference
    assert not re.search(r":(func|class|meth):", reference)

"""The layout: who imports whom, in which order, how high it all stands, how full a folder is.

Every import counts, also those in functions and under ``TYPE_CHECKING``. A name that a package's
face hands on (``from alphaclip import Region``, ``indexing.build``) counts as an import of the
module that defines it.
"""

import ast
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HOUSES = {
    "alphaclip": "alphaclip",
    "indexing": "alphaclip.indexing",
    "training": "alphaclip.training",
    "plugin": "plugin",
    "recipes": "recipes",
}
NEVER = {
    "alphaclip": ("fiftyone", "faiss", "alphaclip.indexing", "alphaclip.training"),
    "indexing": ("alphaclip.training",),
    "training": ("fiftyone", "alphaclip.indexing"),
    "plugin": (),
    "recipes": (),
}
"""The table of the design; nobody imports the folders under the names that they have here."""

ORDER = {
    "alphaclip": (
        "errors < arguments | devices | files | regions < views | weights < catalog | pages "
        "< network < encoder | detectors < language | sam < cli"
    ),
    "indexing": (
        "progress | store | calibration < nearest | dataset < retrieval | word_detectors < masks "
        "< explore | act | brain < zoo_model < labelling | language | similarity | embedding "
        "| oddities < region_index < cli"
    ),
    "training": "datasets < evaluation | pairs < finetune < language < cli",
    "plugin": "common < panel | label_panel | operators",
}
"""Which parts of a house may import which: those that stand left of them."""

FLOORS, FLOORS_OF_INDEXING, CHAIN, FILES = 12, 8, 20, 20
HEAVY = ("torch", "torchvision", "open_clip", "faiss", "fiftyone", "pyarrow", "sklearn")
FACES = ("alphaclip", "alphaclip.indexing")

Graph = dict[str, set[str]]


def house_of(module: str) -> str:
    """The folder of the house that a module is in."""
    return max((h for h in HOUSES if _is_in(module, HOUSES[h])), key=lambda h: len(HOUSES[h]))


def part_of(module: str) -> str:
    """The part of the layout that a module is in: a sub-package, or a file beside them."""
    house = house_of(module)
    rest = module.removeprefix(HOUSES[house]).lstrip(".")
    return f"{house}/{rest.partition('.')[0]}".rstrip("/")


@cache
def modules() -> dict[str, Path]:
    """Every module of the houses, by its name."""
    found = {}
    for house, name in HOUSES.items():
        for path in sorted((ROOT / house).rglob("*.py")):
            parts = path.relative_to(ROOT / house).with_suffix("").parts
            found[".".join([name, *parts]).removesuffix(".__init__")] = path
    return found


@cache
def handed_on(face: str) -> dict[str, str]:
    """The names that a package's face hands on, and the module that each is imported from."""
    tree = ast.parse(modules()[face].read_text())
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {alias.asname or alias.name: node.module for alias in node.names}
    return {name: home for name, home in found.items() if home in modules()}


def imported(module: str, tree: ast.Module) -> Iterator[str]:
    """Yields the full name of every module and of every name that a file imports."""
    package = module if modules()[module].name == "__init__.py" else module.rpartition(".")[0]
    faces = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*(above if node.level else []), *filter(None, [node.module])])
            for alias in node.names:
                name = f"{base}.{alias.name}"
                if name in FACES:
                    faces[alias.asname or alias.name] = name
                yield name
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and getattr(node.value, "id", None) in faces:
            yield f"{faces[node.value.id]}.{node.attr}"


def module_of(name: str) -> str | None:
    """The module of this project that a full name is found in, through the faces."""
    if name in modules():
        return name
    base, _, attribute = name.rpartition(".")
    if base in FACES and attribute in handed_on(base):
        return handed_on(base)[attribute]
    return module_of(base) if base else None


@cache
def imports() -> Graph:
    """Which modules each module imports; faces, which hand names on, are left out."""
    graph: Graph = {}
    for module, path in modules().items():
        if module not in FACES:
            names = imported(module, ast.parse(path.read_text()))
            found = {target for target in map(module_of, names) if target is not None}
            graph[module] = found - {module, *FACES}
    return graph


def joined(graph: Graph) -> Graph:
    """The same between parts of the layout."""
    found: Graph = defaultdict(set)
    for module, targets in graph.items():
        found[part_of(module)] |= {part_of(target) for target in targets} - {part_of(module)}
    return dict(found)


def longest_chain(graph: Graph) -> list[str]:
    """The longest chain of imports, the top first.

    Raises:
        ValueError: if there is a circle; names it
    """
    chains: dict[str, list[str]] = {}

    def chain(node: str, above: tuple[str, ...]) -> list[str]:
        if node in above:
            raise ValueError("circle: " + " -> ".join([*above[above.index(node) :], node]))
        if node not in chains:
            below = (chain(target, (*above, node)) for target in sorted(graph.get(node, ())))
            chains[node] = [node, *max(below, key=len, default=[])]
        return chains[node]

    return max((chain(node, ()) for node in sorted(graph)), key=len)


def folders() -> Iterator[Path]:
    """Every folder with Python files in it."""
    for top in (*HOUSES, "tests", "benchmarks", "scripts", "examples"):
        yield from sorted({path.parent for path in (ROOT / top).rglob("*.py")})


def ranks(order: str) -> dict[str, int]:
    """The rank of each part in an order such as ``a < b | c``."""
    groups = [group.split("|") for group in order.split("<")]
    return {name.strip(): rank for rank, group in enumerate(groups) for name in group}


def forbidden(house: str, path: Path, names: Iterable[str]) -> list[str]:
    """Names that a file of a house imports against the table."""
    fiftyone_file = house == "training" and path.name.startswith("fiftyone_")
    never = (() if fiftyone_file else NEVER[house]) + ("indexing", "training")
    never += () if house == "plugin" else ("plugin",)
    return sorted({name for name in names for banned in never if _is_in(name, banned)})


def _is_in(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def test_folders__hold_at_most_twenty_files() -> None:
    counts = {str(f.relative_to(ROOT)): len(list(f.glob("*.py"))) for f in folders()}
    assert {folder: count for folder, count in counts.items() if count > FILES} == {}


def test_modules__import_in_no_circle_and_no_long_chain() -> None:
    chain = longest_chain(imports())
    assert len(chain) <= CHAIN, "\n".join([f"{len(chain)} modules deep:", *chain])


def test_parts__stand_on_few_floors() -> None:
    chain = longest_chain(joined(imports()))
    assert len(chain) <= FLOORS, "\n".join([f"{len(chain)} floors:", *chain])


def test_indexing__stands_on_few_floors() -> None:
    inside = {
        module: {target for target in targets if house_of(target) == "indexing"}
        for module, targets in imports().items()
        if house_of(module) == "indexing"
    }
    chain = longest_chain(joined(inside))
    assert len(chain) <= FLOORS_OF_INDEXING, "\n".join([f"{len(chain)} floors:", *chain])


@pytest.mark.parametrize("house", ORDER)
def test_parts__import_only_what_stands_left_of_them(house: str) -> None:
    rank = ranks(ORDER[house])
    wrong = [
        f"{module} imports {target}"
        for module, targets in imports().items()
        for target in targets
        if house_of(module) == house == house_of(target) and part_of(module) != part_of(target)
        if _rank(rank, module, top=True) <= _rank(rank, target, top=False)
    ]
    assert wrong == []


def _rank(rank: dict[str, int], module: str, top: bool) -> int:
    """Where a module stands; what is in no order (``nano``, a house's own face) is beside it."""
    name = part_of(module).partition("/")[2]
    return rank.get(name, len(rank) if top else -1)


@pytest.mark.parametrize("house", HOUSES)
def test_houses__import_only_what_the_design_allows(house: str) -> None:
    found = {}
    for module, path in modules().items():
        if house_of(module) == house:
            names = [*imported(module, ast.parse(path.read_text()))]
            found[module] = forbidden(house, path, names)
    assert found
    assert {module: names for module, names in found.items() if names} == {}


@pytest.mark.parametrize(
    ("path", "names", "wrong"),
    [
        ("alphaclip/network/model.py", ["fiftyone.core"], ["fiftyone.core"]),
        ("indexing/store/store.py", ["alphaclip.training.a"], ["alphaclip.training.a"]),
        ("indexing/store/store.py", ["indexing", "faiss", "fiftyone"], ["indexing"]),
        ("training/scenes.py", ["fiftyone", "torch"], ["fiftyone"]),
        ("training/fiftyone_scenes.py", ["fiftyone", "alphaclip.indexing.a"], []),
        ("plugin/operators/search.py", ["fiftyone", "plugin.common", "training"], ["training"]),
    ],
)
def test_forbidden__is_found(path: str, names: list[str], wrong: list[str]) -> None:
    assert forbidden(path.partition("/")[0], Path(path), names) == wrong


def test_longest_chain__of_a_small_house() -> None:
    graph = {"a": {"b", "c"}, "b": {"c"}, "c": set(), "d": {"c"}}
    assert longest_chain(graph) == ["a", "b", "c"]
    with pytest.raises(ValueError, match="circle: b -> c -> b"):
        longest_chain({**graph, "c": {"b"}})


def test_packages__are_all_listed() -> None:
    listed = (ROOT / "pyproject.toml").read_text()
    for house in ("alphaclip", "indexing", "training"):
        for path in (ROOT / house).rglob("__init__.py"):
            parts = path.parent.relative_to(ROOT / house).parts
            assert f'    "{".".join([HOUSES[house], *parts])}",\n' in listed


@pytest.mark.parametrize("module", ["alphaclip", "alphaclip.indexing", "alphaclip.cli"])
def test_import__stays_light(module: str) -> None:
    code = f"import sys, {module}; print(*sorted(set({HEAVY!r}) & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""

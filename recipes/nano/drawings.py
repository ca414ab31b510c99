"""Emoji drawings by several artists: fetched from their packages, rendered to RGBA sprites."""

from __future__ import annotations

import io
import json
import logging
import re
import subprocess
import tarfile
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from alphaclip.files import write_atomically

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Concept:
    """A thing that can be drawn: its name, Unicode code point (hex) and CLDR keywords."""

    name: str
    code_point: str
    keywords: tuple[str, ...]


@dataclass(frozen=True)
class DrawingSet:
    """One artist's drawings: the npm package, its licence, and whether training may see it."""

    name: str
    package: str
    version: str
    artist: str
    license: str
    held_out: bool = False


DRAWING_SETS = (
    DrawingSet("noto", "@iconify-json/noto", "1.2.9", "Google, Noto Emoji", "Apache-2.0 / OFL-1.1"),
    DrawingSet("noto-v1", "@iconify-json/noto-v1", "1.2.5", "Google, Noto Emoji 1", "Apache-2.0"),
    DrawingSet("twemoji", "@iconify-json/twemoji", "1.2.5", "Twitter, Twemoji", "CC-BY-4.0"),
    DrawingSet(
        "fluent", "@iconify-json/fluent-emoji", "1.2.7", "Microsoft, Fluent Emoji (colour)", "MIT"
    ),
    DrawingSet(
        "fluent-flat", "@iconify-json/fluent-emoji-flat", "1.2.6", "Microsoft, Fluent Emoji", "MIT"
    ),
    DrawingSet("fxemoji", "@iconify-json/fxemoji", "1.2.2", "Mozilla, FxEmojis", "Apache-2.0"),
    DrawingSet(
        "fluent-ink",
        "@iconify-json/fluent-emoji-high-contrast",
        "1.2.6",
        "Microsoft, Fluent Emoji (high contrast)",
        "MIT",
    ),
    DrawingSet("fluent-3d", "@lobehub/fluent-emoji-3d", "1.1.0", "Microsoft, Fluent 3D", "MIT"),
    DrawingSet("emojione", "@iconify-json/emojione", "1.2.3", "EmojiOne 2", "CC-BY-4.0"),
    DrawingSet(
        "emojione-ink",
        "@iconify-json/emojione-monotone",
        "1.2.1",
        "EmojiOne 2 (monotone)",
        "CC-BY-4.0",
    ),
    DrawingSet("streamline", "@iconify-json/streamline-emojis", "1.2.4", "Streamline", "CC-BY-4.0"),
    DrawingSet(
        "openmoji", "@iconify-json/openmoji", "1.2.29", "OpenMoji", "CC-BY-SA-4.0", held_out=True
    ),
)
"""Every set but the held-out one is trained on; no drawing of the held-out artist ever is."""


@cache
def concepts() -> tuple[Concept, ...]:
    """The concepts of ``alphaclip-nano``, in the order of ``concepts.json``."""
    rows = json.loads((Path(__file__).parent / "concepts.json").read_text("utf-8"))
    return tuple(Concept(r["name"], r["code_point"], tuple(r["keywords"])) for r in rows)


def sources() -> list[dict[str, Any]]:
    """Whose drawings are used, and for what."""
    return [
        {
            "artist": s.artist,
            "package": f"{s.package}@{s.version}",
            "licence": s.license,
            "used for": "validation only" if s.held_out else "training",
        }
        for s in DRAWING_SETS
    ]


def fetch(folder: Path, sets: Iterable[DrawingSet] = DRAWING_SETS) -> None:
    """Downloads the artists' packages with ``npm pack``; those already there are kept.

    Args:
        folder: where the ``.tgz`` archives go
        sets (DRAWING_SETS): the sets to fetch

    Raises:
        RuntimeError: if npm is missing or a package cannot be had
    """
    folder.mkdir(parents=True, exist_ok=True)
    for drawing_set in sets:
        if _archive(folder, drawing_set).exists():
            continue
        command = ["npm", "pack", "--silent", f"{drawing_set.package}@{drawing_set.version}"]
        try:
            subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
        except FileNotFoundError as error:
            raise RuntimeError("npm is not installed: install Node.js to fetch drawings") from error
        except subprocess.CalledProcessError as error:
            raise RuntimeError(f"`{' '.join(command)}` failed: {error.stderr.strip()}") from error


def load_sprites(folder: Path, drawing_set: DrawingSet, size: int) -> dict[str, np.ndarray]:
    """The drawings of one artist, cached beside the archives as one compressed array.

    Args:
        folder: holds the ``.tgz`` archives, see :func:`fetch`
        drawing_set: whose drawings
        size: side of a sprite in pixels

    Returns:
        code point -> uint8 (size, size, 4) RGBA, for the concepts this artist has drawn
    """
    cached = folder / f"{drawing_set.name}-{size}.npz"
    if not cached.exists():
        sprites = _render(folder, drawing_set, size)
        write_atomically(cached, lambda out: np.savez(out, allow_pickle=False, **sprites))
    with np.load(cached, allow_pickle=False) as stored:
        return {key: stored[key] for key in stored.files}


def _archive(folder: Path, drawing_set: DrawingSet) -> Path:
    stem = drawing_set.package.removeprefix("@").replace("/", "-")
    return folder / f"{stem}-{drawing_set.version}.tgz"


def _render(folder: Path, drawing_set: DrawingSet, size: int) -> dict[str, np.ndarray]:
    icons = _read_json(folder, drawing_set, "icons.json", missing={})
    if not icons:
        return _read_pictures(folder, drawing_set, size)
    reference = next(s for s in DRAWING_SETS if s.name == "noto")
    slugs: dict[str, str] = _read_json(folder, reference, "chars.json")
    own: dict[str, str] = _read_json(folder, drawing_set, "chars.json", missing={})
    sprites = {}
    for concept in concepts():
        name = _icon_name(icons["icons"], concept.code_point, slugs, own)
        if name is not None:
            sprites[concept.code_point] = _rasterise(icons, name, size)
    logger.info("%s: %d of %d concepts drawn", drawing_set.name, len(sprites), len(concepts()))
    return sprites


def _read_pictures(folder: Path, drawing_set: DrawingSet, size: int) -> dict[str, np.ndarray]:
    """Of a package with a picture for each code point, in place of outlines."""
    sprites = {}
    with tarfile.open(_archive(folder, drawing_set)) as archive:
        members = {Path(member.name).stem: member for member in archive.getmembers()}
        for concept in concepts():
            names = concept.code_point, f"{concept.code_point}-fe0f"
            member = next((members[name] for name in names if name in members), None)
            stream = None if member is None else archive.extractfile(member)
            if stream is not None:
                image = Image.open(stream, formats=("WEBP",)).convert("RGBA")
                sprites[concept.code_point] = np.asarray(image.resize((size, size)))
    return sprites


def _icon_name(
    icons: dict[str, object], code_point: str, slugs: dict[str, str], own: dict[str, str]
) -> str | None:
    spoken = unicodedata.name(chr(int(code_point, 16)), "").lower()
    slug = slugs.get(code_point, "")
    candidates = (own.get(code_point), slug, f"{slug}-1", re.sub("[^a-z0-9]", "", spoken))
    return next((name for name in candidates if name in icons), None)


def _rasterise(icons: dict, name: str, size: int) -> np.ndarray:
    import resvg_py

    icon = icons["icons"][name]
    width = icon.get("width", icons.get("width", 16))
    height = icon.get("height", icons.get("height", 16))
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="0 0 {width} {height}" width="{size}" height="{size}">{icon["body"]}</svg>'
    )
    png = bytes(resvg_py.svg_to_bytes(svg_string=svg, width=size, height=size))
    return np.asarray(Image.open(io.BytesIO(png), formats=("PNG",)).convert("RGBA"))


def _read_json(
    folder: Path, drawing_set: DrawingSet, member: str, missing: dict | None = None
) -> dict:
    with tarfile.open(_archive(folder, drawing_set)) as archive:
        try:
            stream = archive.extractfile(f"package/{member}")
        except KeyError:
            if missing is not None:
                return missing
            raise
        if stream is None:
            raise RuntimeError(f"{drawing_set.package}: {member} is not a file")
        return json.load(stream)

"""Measures how fast pictures are opened and regions cut for an encoder, in a stream.

    .venv/bin/python benchmarks/cutting.py [--sizes 1024x768 4000x3000] [--counts 1 5 20 100]

Figures are regions per second of processor time of all threads, which another load on the machine
changes little; so two checkouts are compared by running this in both, in turn. Pictures are JPEGs
of noise with as much at every scale, as photographs have it; boxes are 3 to 60 % of a side. In
brackets: how many cores that took, all of them on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from measuring import machine, tell

from alphaclip import Region

KINDS = ("box", "mask", "polygon")
PICTURES = 3


def main() -> int:
    """Prints the table."""
    options = _parser().parse_args()
    tell(str(machine()))
    head = ["regions per CPU second (cores)", *(f"{n} a picture" for n in options.counts)]
    for line in (head, ["---"] * len(head)):
        sys.stdout.write(f"| {' | '.join(line)} |\n")
    with TemporaryDirectory(prefix="benchmark-") as work:
        for size in options.sizes:
            width, height = map(int, size.split("x"))
            paths = [_draw(Path(work), height, width, seed) for seed in range(PICTURES)]
            for kind in options.kinds:
                line = [f"{size} {kind}"]
                for count in options.counts:
                    line.append(_measure(paths, kind, count, options.seconds))
                sys.stdout.write(f"| {' | '.join(line)} |\n")
    return 0


def _measure(paths: list[Path], kind: str, count: int, budget: float) -> str:
    """Cuts for so many seconds of processor time."""
    import torch

    from alphaclip.views.prefetch import cut_ahead
    from alphaclip.views.view import View

    torch.set_num_threads(1)
    regions = [_regions(kind, count, seed) for seed in range(PICTURES)]

    def stream(until: float) -> Iterator[tuple[Path, list[Region]]]:
        number = 0
        while number < PICTURES or time.process_time() < until:
            yield paths[number % PICTURES], regions[number % PICTURES]
            number += 1

    list(cut_ahead(stream(0.0), View("context"), 224))
    started, clock = time.process_time(), time.perf_counter()
    chunks = cut_ahead(stream(started + budget), View("context"), 224)
    cut = sum(len(chunk.rows) for chunk in chunks)
    took, lasted = time.process_time() - started, time.perf_counter() - clock
    return f"{cut / took:.0f} ({took / lasted:.1f})"


def _draw(folder: Path, height: int, width: int, seed: int) -> Path:
    from PIL import Image

    rng = np.random.default_rng(seed)
    pixels = np.zeros((height, width, 3), np.float32)
    for cells in (4, 8, 16, 32, 64, 128, 256):
        for channel in range(3):
            noise = rng.normal(0, cells**-0.5, (cells, cells)).astype(np.float32)
            pixels[..., channel] += Image.fromarray(noise).resize((width, height))
    pixels = (pixels - pixels.min()) / np.ptp(pixels) * 255 + rng.normal(0, 2, pixels.shape)
    path = folder / f"{width}-{seed}.jpg"
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path, quality=90)
    return path


def _regions(kind: str, count: int, seed: int) -> list[Region]:
    rng = np.random.default_rng(seed)
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    rows, columns = np.mgrid[-1:1:60j, -1:1:60j]
    regions = []
    for _ in range(count):
        side = rng.uniform(0.03, 0.6, 2)
        corner = rng.uniform(0, 1 - side)
        box = [*corner.tolist(), *side.tolist()]
        if kind == "box":
            regions.append(Region.from_box(box))
        elif kind == "mask":
            regions.append(Region.from_mask(rows**2 + columns**2 < 1, box))
        else:
            radii = rng.uniform(0.6, 1, (24, 1))
            ring = radii * np.stack([np.cos(angles), np.sin(angles)], axis=1)
            regions.append(Region.from_polygon((corner + side * (1 + ring) / 2).tolist()))
    return regions


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Measures how fast regions are cut.")
    parser.add_argument("--sizes", nargs="+", default=["1024x768", "4000x3000"], metavar="WxH")
    parser.add_argument("--counts", nargs="+", type=int, default=[1, 5, 20, 100], metavar="N")
    parser.add_argument("--kinds", nargs="+", default=KINDS, choices=KINDS)
    parser.add_argument("--seconds", type=float, default=2.0, help="CPU seconds for a figure")
    return parser


if __name__ == "__main__":
    sys.exit(main())

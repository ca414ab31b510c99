"""Measures what encoders cost: regions a second and memory, with few and with many in a picture.

    .venv/bin/python benchmarks/encoders.py --encoder NAME [NAME ...]

The last line is the reference's way with the first encoder: each region by itself, its picture
opened and prepared anew. Every figure is of a process of its own, one after the other, on the same
picture of noise (640 x 480, a JPEG file) with the same boxes. Weights have to be here already.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from measuring import StepError, machine, run_as_step, run_step, tell, timed

from alphaclip import Region
from alphaclip.loading import load

COUNTS = (1, 5, 20, 100)
BUDGET = 3.0
"""Seconds that a figure is measured for, and at least two pictures."""

FAILED = "failed"


def main() -> int:
    """Prints the table; returns 1 if an encoder failed."""
    options = _parser().parse_args()
    tell(str(machine()))
    asked = [{"name": name, "apart": False, "device": options.device} for name in options.encoder]
    asked.append({**asked[0], "apart": True})
    with TemporaryDirectory(prefix="benchmark-") as work:
        picture = str(_draw(Path(work)))
        lines = [_line({**some, "picture": picture}) for some in asked]
    head = ["regions a second (peak memory), regions in a picture:", *map(str, COUNTS)]
    for line in (head, ["---"] * len(head), *lines):
        sys.stdout.write(f"| {' | '.join(line)} |\n")
    return 1 if any(FAILED in line for line in lines) else 0


def encode(options: dict[str, Any]) -> dict[str, Any]:
    """Encodes a picture's regions again and again."""
    encoder = load(options["name"], options["device"])
    regions = _boxes(options["count"])
    groups = [[region] for region in regions] if options["apart"] else [regions]
    encoder.encode_regions(options["picture"], regions[:1])
    seconds: list[float] = []
    while len(seconds) < 2 or sum(seconds) < BUDGET:
        with timed() as took:
            for group in groups:
                encoder.encode_regions(options["picture"], group)
        seconds += took
    return {"per_second": options["count"] / float(np.median(seconds))}


def _line(asked: dict[str, Any]) -> list[str]:
    title = f"`{asked['name']}`{', one by one' if asked['apart'] else ''}"
    line = [title, *(_cell({**asked, "count": count}) for count in COUNTS)]
    tell(" ".join(line))
    return line


def _cell(asked: dict[str, Any]) -> str:
    try:
        found = run_step("encoders.py", "encode", asked)
    except StepError as error:
        tell(str(error))
        return FAILED
    return f"{found['per_second']:.3g} ({found['peak_memory'] / 1e6:.0f} MB)"


def _draw(folder: Path) -> Path:
    from PIL import Image

    path = folder / "noise.jpg"
    pixels = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def _boxes(count: int) -> list[Region]:
    rng = np.random.default_rng(0)
    sides, places = rng.uniform(0.05, 0.4, (count, 2)), rng.uniform(0, 0.6, (count, 2))
    return [
        Region.from_box([*place, *side])
        for place, side in zip(places.tolist(), sides.tolist(), strict=True)
    ]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Measures what encoders cost.")
    parser.add_argument("--encoder", nargs="+", default=["alphaclip-nano"], metavar="NAME")
    parser.add_argument("--device", help="a torch device (default: a GPU if there is one)")
    return parser


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1] == "encode":
        run_as_step({"encode": encode})
    else:
        sys.exit(main())

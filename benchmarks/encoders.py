"""Measures what encoders cost: regions a second and memory, with few and with many in a picture.

    .venv/bin/python benchmarks/encoders.py --encoder NAME [NAME ...] [--precision fp32 int8 ...]

The last line is the reference's way with the first encoder: each region by itself, its picture
opened and prepared anew, a pass for each, in fp32. Every figure is of a process of its own, one
after the other, of a stream of one picture of noise (640 x 480, a JPEG file) and its boxes. Weights
have to be here already; for speed alone random ones do, of ARCHITECTURE in `random:ARCHITECTURE`.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

import numpy as np
from measuring import StepError, machine, run_as_step, run_step, tell

from alphaclip import Region
from alphaclip.encoder.encoder import Encoder
from alphaclip.encoder.load import Precision, load
from alphaclip.errors import AlphaClipError

COUNTS = (1, 5, 20, 100)
BUDGET = 3.0
"""Seconds for which pictures are given to the encoder; until the last is encoded, it is timed."""

FAILED = "failed"


def main() -> int:
    """Prints the table; returns 1 if an encoder failed."""
    options = _parser().parse_args()
    tell(str(machine()))
    asked = [
        {"name": name, "apart": False, "device": options.device, "precision": precision}
        for name in options.encoder
        for precision in options.precision
    ]
    asked.append({**asked[0], "apart": True, "precision": "fp32"})
    with TemporaryDirectory(prefix="benchmark-") as work:
        picture = str(_draw(Path(work)))
        lines = [_line({**some, "picture": picture}, options.counts) for some in asked]
    head = ["regions a second (peak memory), regions in a picture:", *map(str, options.counts)]
    for line in (head, ["---"] * len(head), *lines):
        sys.stdout.write(f"| {' | '.join(line)} |\n")
    return 1 if any(FAILED in line for line in lines) else 0


def encode(options: dict[str, Any]) -> dict[str, Any]:
    """Encodes a stream of pictures: while one batch is encoded, the next are cut."""
    encoder = _load(options["name"], options["device"], options["precision"])
    regions = _boxes(options["count"])
    groups = [[region] for region in regions] if options["apart"] else [regions]
    for group in groups[:2]:
        encoder.encode_regions(options["picture"], group)
    count, started = 0, time.perf_counter()

    def stream() -> Iterator[tuple[str, list[Region]]]:
        while time.perf_counter() - started < BUDGET:
            yield options["picture"], regions

    if options["apart"]:
        for picture, _ in stream():
            for group in groups:
                count += len(encoder.encode_regions(picture, group))
    else:
        count = sum(map(len, encoder.encode_many(stream())))
    per_second = count / (time.perf_counter() - started)
    return {"per_second": per_second, "dtype": str(encoder.dtype).removeprefix("torch.")}


def _load(name: str, device: str | None, precision: Precision) -> Encoder:
    """An encoder; of random weights, the model's own way, for `random:`."""
    kind, _, architecture = name.partition(":")
    if kind != "random":
        return load(name, device, precision)
    from alphaclip.network.devices import find_device
    from alphaclip.network.factory import create_model
    from alphaclip.network.precisions import set_precision
    from alphaclip.views.view import View

    if precision == "auto":
        raise AlphaClipError(f"{name} has random weights: name the precisions, there is no auto")
    model, place = create_model(architecture), find_device(device)
    dtype, _ = set_precision(model, precision, place)
    return Encoder(model, name, View("context"), place, dtype)


def _line(asked: dict[str, Any], counts: Sequence[int]) -> list[str]:
    way = ", the reference's way" if asked["apart"] else ""
    title = f"`{asked['name']}`, {asked['precision']}{way}"
    line = [title, *(_cell({**asked, "count": count}) for count in counts)]
    tell(" ".join(line))
    return line


def _cell(asked: dict[str, Any]) -> str:
    try:
        found = run_step("encoders.py", "encode", asked)
    except StepError as error:
        tell(str(error))
        return FAILED
    taken = f"{found['dtype']}, " if asked["precision"] == "auto" else ""
    return f"{found['per_second']:.3g} ({taken}{found['peak_memory'] / 1e6:.0f} MB)"


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
    parser.add_argument(
        "--precision", nargs="+", default=["auto"], choices=get_args(Precision), metavar="P"
    )
    parser.add_argument(
        "--counts", nargs="+", type=int, default=COUNTS, metavar="N", help="regions in a picture"
    )
    parser.add_argument("--device", help="a torch device (default: a GPU if there is one)")
    return parser


if __name__ == "__main__":
    if not run_as_step({"encode": encode}):
        sys.exit(main())

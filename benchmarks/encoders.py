"""Measures what encoders cost: regions a second and memory, with few and with many in a picture.

    .venv/bin/python benchmarks/encoders.py --encoder NAME [NAME ...] [--precision fp32 int8 ...]
    .venv/bin/python benchmarks/encoders.py --in-turn [--encoder random:ViT-B-16] [--threads 1]
    .venv/bin/python benchmarks/encoders.py --cutting [--sizes 1024x768 4000x3000]
    .venv/bin/python benchmarks/encoders.py --queries 3 [--encoder random:ViT-B-16] [--counts 5 20]

The last line is the reference's way with the first encoder: each region by itself, its picture
opened and prepared anew, a pass for each, in fp32. Every figure is of a process of its own, one
after the other, of a stream of one picture of noise (640 x 480, a JPEG file) and its boxes. Weights
have to be here already; for speed alone random ones do, of ARCHITECTURE in `random:ARCHITECTURE`,
with methods behind it. `--cpu` counts seconds of processor time, for a machine that others use.

With `--in-turn`, the precisions of a CPU, without reading and cutting: a batch of noise is encoded
in each of them, again and again in turn, in one process. It says regions per second of processor
time of all threads, how many times that is of PyTorch's float32 as it comes ("plain"), the least
cosine to it, and the memory beside the model's own weights.

With `--queries`, regions seen by queries in so many last blocks, one pass for a picture, beside a
pass for each region, in turn and in one process: regions per second of processor time of all
threads, cutting included, how many times as many that is, and by how much the process's greatest
memory grew.

With `--cutting`, what feeds an encoder: pictures opened and regions cut in a stream, as regions per
second of processor time of all threads, which another load on the machine changes little; so two
checkouts are compared by running this in both, in turn. Pictures are JPEGs of noise with as much at
every scale, as photographs have it; boxes are 3 to 60 % of a side. In brackets: how many cores that
took, all of them on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from measuring import (
    StepError,
    aligned,
    anonymous_memory,
    machine,
    run_as_step,
    run_step,
    tell,
)

from alphaclip import Region
from alphaclip.encoder.encoder import Encoder
from alphaclip.encoder.load import Precision, load
from alphaclip.errors import AlphaClipError

if TYPE_CHECKING:
    import torch

    from alphaclip.network.model import AlphaCLIP

COUNTS = (1, 5, 20, 100)
BUDGET = 3.0
"""Seconds for which pictures are given to the encoder; until the last is encoded, it is timed."""

FAILED = "failed"

KINDS = ("box", "mask", "polygon")
PICTURES = 3


def main() -> int:
    """Prints the table; returns 1 if an encoder failed."""
    options = _parser().parse_args()
    tell(str(machine()))
    if options.cutting:
        return _cutting(options)
    if options.in_turn:
        return _in_turn(options)
    if options.queries is not None:
        return _queries(options)
    how = {"device": options.device, "cpu": options.cpu}
    asked = [
        {**how, "name": name, "apart": False, "precision": precision}
        for name in options.encoder
        for precision in options.precision
    ]
    asked.append({**asked[0], "apart": True, "precision": "fp32"})
    with TemporaryDirectory(prefix="benchmark-") as work:
        picture = str(_draw(Path(work)))
        lines = [_line({**some, "picture": picture}, options.counts) for some in asked]
    seconds = "CPU second" if options.cpu else "second"
    head = [f"regions a {seconds} (peak memory), in a picture:", *map(str, options.counts)]
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
    clock = time.process_time if options["cpu"] else time.perf_counter
    count, started = 0, clock()

    def stream() -> Iterator[tuple[str, list[Region]]]:
        while clock() - started < BUDGET:
            yield options["picture"], regions

    if options["apart"]:
        for picture, _ in stream():
            for group in groups:
                count += len(encoder.encode_regions(picture, group))
    else:
        count = sum(map(len, encoder.encode_many(stream())))
    per_second = count / (clock() - started)
    return {"per_second": per_second, "dtype": str(encoder.dtype).removeprefix("torch.")}


def _load(name: str, device: str | None, precision: Precision) -> Encoder:
    """An encoder; of random weights for `random:`."""
    kind, _, architecture = name.partition(":")
    if kind != "random":
        return load(name, device, precision)
    from alphaclip.catalog.methods import default_view, pooling_of, split_name
    from alphaclip.devices import find_device
    from alphaclip.encoder.pooling import Pooled
    from alphaclip.network.factory import create_model
    from alphaclip.network.precisions import set_precision
    from alphaclip.views.view import View

    if precision == "auto":
        raise AlphaClipError(f"{name} has random weights: name the precisions, there is no auto")
    base, methods = split_name(architecture)
    model, place = create_model(base), find_device(device)
    dtype, _ = set_precision(model, precision, place)
    view, pooling = default_view(View("context"), methods), pooling_of(methods)
    return Encoder(model, name, view, place, dtype, Pooled(model, pooling) if pooling else None)


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


def _in_turn(options: argparse.Namespace) -> int:
    """Prints the table of `--in-turn`."""
    import torch

    from alphaclip.network.factory import create_model

    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    model = create_model(options.encoder[0].removeprefix("random:"))
    pixels = torch.randint(0, 256, (options.batch, 3, *2 * [model.image_size]), dtype=torch.uint8)
    maps = torch.zeros_like(pixels[:, :1])
    maps[..., model.image_size // 3 :] = 255
    turns = _take_turns(model, options.rounds, lambda encoder: encoder.encode_views(pixels, maps))
    title = f"{options.encoder[0]}, batches of {options.batch}, threads: {options.threads}"
    lines = [[title, "regions a CPU second", "of plain", "least cosine", "memory"]]
    plain = turns["plain"]
    for way, turn in turns.items():
        gain = plain.median / turn.median
        cosine = (turn.vectors * plain.vectors).sum(axis=1).min()
        line = [way, f"{options.batch / turn.median:.2f}", f"{gain:.2f}", f"{cosine:.6f}"]
        lines.append([*line, f"{turn.memory / 1e6:.0f} MB"])
    sys.stdout.write(aligned(lines) + "\n")
    return 0


def _queries(options: argparse.Namespace) -> int:
    """Prints the table of `--queries`."""
    import torch

    torch.set_num_threads(options.threads)
    encoders = _together_and_apart(options.encoder[0].removeprefix("random:"), options.queries)
    picture = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    lines = [["regions in a picture", "queries", "apart", "times", "memory, queries", "apart"]]
    for count in options.counts:
        seconds: list[list[float]] = [[], []]
        grown = [0, 0]
        for _ in range(options.rounds):
            for number, encoder in enumerate(encoders):
                before, started = _peak_memory(), time.process_time()
                encoder.encode_regions(picture, _boxes(count))
                seconds[number].append(time.process_time() - started)
                grown[number] = max(grown[number], _peak_memory() - before)
        one, other = (count / float(np.median(some)) for some in seconds)
        rates = [f"{one:.1f}", f"{other:.1f}", f"{one / other:.1f}"]
        lines.append([str(count), *rates, *(f"+{kb / 1e3:.0f} MB" for kb in grown)])
    sys.stdout.write(aligned(lines) + "\n")
    return 0


def _together_and_apart(name: str, depth: int) -> list[Encoder]:
    """The same random model with queries in its last blocks, and with a pass for each region."""
    import torch

    from alphaclip.network.factory import create_model
    from alphaclip.network.precisions import set_precision
    from alphaclip.network.region_queries import add_regions
    from alphaclip.network.split_towers import find_tower
    from alphaclip.views.view import View

    torch.manual_seed(0)
    models, cpu = [create_model(name), create_model(name)], torch.device("cpu")
    visual = models[0].clip.visual
    add_regions(visual, find_tower(visual, name, depth), 0.0, sees_alpha=False)
    return [
        Encoder(model, name, view, cpu, set_precision(model, "fp32", cpu)[0])
        for model, view in zip(models, (View("image"), View("context")), strict=True)
    ]


def _peak_memory() -> int:
    """The most that this process has had so far, in kB."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@dataclass
class _Turn:
    """What a precision did: the vectors, the CPU seconds of each round, bytes that stayed."""

    vectors: np.ndarray
    memory: int
    seconds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return float(np.median(self.seconds))


def _take_turns(
    model: AlphaCLIP, rounds: int, encode: Callable[[Encoder], np.ndarray]
) -> dict[str, _Turn]:
    """Encodes in each precision of this CPU once, for memory and vectors, then again and again."""
    import torch

    from alphaclip.network.precisions import candidates, set_precision
    from alphaclip.views.view import View

    cpu, turns = torch.device("cpu"), {}
    ways: dict[str, tuple[torch.dtype, Callable[[], None]]] = {}
    ways["plain"] = torch.float32, lambda: None
    for precision in candidates():
        ways[precision] = set_precision(model, precision, cpu)
        ways[precision][1]()
    for number in range(rounds + 1):
        for way, (dtype, swap) in ways.items():
            swap()
            before, started = anonymous_memory(), time.process_time()
            vectors = encode(Encoder(model, way, View("context"), cpu, dtype))
            took = time.process_time() - started
            if not number:
                turns[way] = _Turn(vectors, max(0, anonymous_memory() - before))
            else:
                turns[way].seconds.append(took)
            swap()
    return turns


def _cutting(options: argparse.Namespace) -> int:
    """Prints the table of `--cutting`."""
    head = ["regions per CPU second (cores)", *(f"{n} a picture" for n in options.counts)]
    for line in (head, ["---"] * len(head)):
        sys.stdout.write(f"| {' | '.join(line)} |\n")
    with TemporaryDirectory(prefix="benchmark-") as work:
        for size in options.sizes:
            width, height = map(int, size.split("x"))
            paths = [_photograph(Path(work), height, width, seed) for seed in range(PICTURES)]
            for kind in KINDS:
                line = [f"{size} {kind}"]
                for count in options.counts:
                    line.append(_cut(paths, kind, count, options.seconds))
                sys.stdout.write(f"| {' | '.join(line)} |\n")
    return 0


def _cut(paths: list[Path], kind: str, count: int, budget: float) -> str:
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


def _photograph(folder: Path, height: int, width: int, seed: int) -> Path:
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
    parser = argparse.ArgumentParser(description="Measures what encoders cost.")
    parser.add_argument("--encoder", nargs="+", default=["alphaclip-nano"], metavar="NAME")
    parser.add_argument(
        "--precision", nargs="+", default=["auto"], choices=get_args(Precision), metavar="P"
    )
    parser.add_argument(
        "--counts", nargs="+", type=int, default=COUNTS, metavar="N", help="regions in a picture"
    )
    parser.add_argument("--cpu", action="store_true", help="seconds of processor time")
    parser.add_argument(
        "--in-turn", action="store_true", help="precisions of a CPU, in one process"
    )
    parser.add_argument(
        "--queries", type=int, metavar="K", help="regions in the last K blocks, beside apart"
    )
    parser.add_argument("--threads", type=int, default=1, help="with --in-turn and --queries")
    parser.add_argument("--batch", type=int, default=32, help="regions, with --in-turn")
    parser.add_argument("--rounds", type=int, default=5, help="with --in-turn and --queries")
    parser.add_argument("--cutting", action="store_true", help="no encoder: what feeds one")
    parser.add_argument("--sizes", nargs="+", default=["1024x768", "4000x3000"], metavar="WxH")
    parser.add_argument("--seconds", type=float, default=2.0, help="of CPU for a figure of cutting")
    parser.add_argument("--device", help="a torch device (default: a GPU if there is one)")
    return parser


if __name__ == "__main__":
    if not run_as_step({"encode": encode}):
        sys.exit(main())

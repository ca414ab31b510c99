"""A page for a browser that is one file: sentences, crops of regions, shares and plots.

Public: :func:`write_page`, :class:`Section`, :class:`Crop`, :class:`Share` and :func:`one_line`.
"""

from __future__ import annotations

import io
import unicodedata
from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alphaclip.files import write_text
from alphaclip.pages.tiles import draw_crops
from alphaclip.regions.region import Region

LARGEST = 3_000_000
"""Bytes of a page, which is to fit into a mail: pictures that go beyond are left out."""

TILE, QUALITY = 224, 80
"""Pixels and percent of a crop: sharp on screens that have 1.5 pixels for each of a page's."""

SHOWN, SENTENCE = 300, 2000
"""Characters of a name and of a sentence in a page; the JSON file has all of them."""

_JOINERS = "\u200c\u200d"
"""Invisible, but letters of Persian and Hindi and parts of emoji."""


@dataclass(frozen=True, eq=False)
class Crop:
    """A region of a picture, and the words below it.

    Attributes:
        image: path of the picture
        region: None where there is none any more
        title: what it is
        text: more of it
    """

    image: str
    region: Region | None
    title: str
    text: str = ""


@dataclass(frozen=True)
class Share:
    """A share of ``count`` things, drawn as a dot with its interval.

    Attributes:
        name: of what
        count: of how many
        value: in [0, 1]; None of nothing
        interval: where it may lie
        target: where it should be, a line; None draws none
        text: more of it
    """

    name: str
    count: int
    value: float | None
    interval: tuple[float, float]
    target: float | None = None
    text: str = ""


@dataclass(frozen=True)
class Section:
    """A part of a page.

    Attributes:
        title: its heading
        lines: sentences below it
        crops: in groups that belong together, such as a crop and what it is compared with
        shares: one below the other
        plots: PNG files
        is_folded: whether it is opened by a click
    """

    title: str
    lines: Sequence[str] = ()
    crops: Sequence[Sequence[Crop]] = ()
    shares: Sequence[Share] = ()
    plots: Sequence[Path] = ()
    is_folded: bool = False


def write_page(path: Path, title: str, sentence: str, sections: Sequence[Section]) -> Path:
    """Writes a page as one HTML file, and returns its path; the same input gives the same bytes.

    A picture that cannot be opened is said in its place. All words are text, whatever is in them.

    Raises:
        StoreError: if the file cannot be written
    """
    from jinja2 import Environment

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["line"] = one_line
    template = environment.from_string(_PAGE)
    drawn = _draw([crop for section in sections for group in section.crops for crop in group])
    slots: list[dict[str, Any]] = []

    def slot(kind: str, content: bytes | None, crop: Crop | None = None) -> dict[str, Any]:
        uri = "" if content is None else f"data:image/{kind};base64,{b64encode(content).decode()}"
        slots.append({"uri": "", "why": "no picture", "crop": crop, "all": uri})
        return slots[-1]

    parts = [
        {
            "section": section,
            "groups": [
                [slot("jpeg", next(drawn), crop) for crop in group] for group in section.crops
            ],
            "plots": [slot("png", plot.read_bytes()) for plot in section.plots],
        }
        for section in sections
    ]
    values = {"title": title, "sentence": sentence, "parts": parts, "most": SENTENCE}
    room = LARGEST - len(template.render(values).encode("utf-8", "backslashreplace"))
    for one in slots:
        if one["all"] and len(one["all"]) > room:
            one["why"] = "left out, the page is full"
        else:
            one["uri"], room = one["all"], room - len(one["all"])
    write_text(path, template.render(values))
    return path


def one_line(text: str, most: int = SHOWN) -> str:
    """A text as one line that can be printed and drawn; what cannot be is shown as U+FFFD."""
    words = " ".join(text.split())
    line = "".join(
        char if char in _JOINERS or unicodedata.category(char)[0] != "C" else "\ufffd"
        for char in words[: most + 1]
    )
    return line if len(line) <= most else f"{line[: most - 3]}..."


def _draw(crops: Sequence[Crop]) -> Iterator[bytes | None]:
    """The crops as JPEGs, in order."""
    tiles = iter(draw_crops([(c.image, c.region) for c in crops if c.region is not None], TILE))
    for crop in crops:
        tile = None if crop.region is None else next(tiles)
        content = io.BytesIO()
        if tile is not None:
            tile.save(content, "JPEG", quality=QUALITY)
        yield content.getvalue() or None


_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{{ title | line }}</title>
<style>
:root { color-scheme: light dark; --paper: #fff; --card: #f5f6f8; --ink: #1f2328; --dim: #646c76;
 --rule: #d4d9df; --dot: #d2691e; --bar: #4c8dd6 }
@media (prefers-color-scheme: dark) {
:root { --paper: #101418; --card: #1a2026; --ink: #e4e8ec; --dim: #98a1ab; --rule: #353d46;
 --dot: #f08b45; --bar: #6aa6e8 }
.plot { filter: invert(0.93) hue-rotate(180deg) } }
body { margin: 0; background: var(--paper); color: var(--ink);
 font: 15px/1.5 system-ui, sans-serif }
main { max-width: 1080px; margin: 0 auto; padding: 28px 20px 60px; overflow-wrap: anywhere }
h1 { margin: 0; font-size: 15px; font-weight: 600; color: var(--dim) }
.lead { margin: 6px 0 0; font-size: 22px; line-height: 1.35 }
h2, summary { margin: 36px 0 0; font-size: 18px; font-weight: 600 }
summary { cursor: pointer }
p { margin: 4px 0; max-width: 80ch }
section p, figcaption span, .text { color: var(--dim) }
.crops { display: flex; flex-wrap: wrap; gap: 14px; margin-top: 12px }
.group { display: flex; gap: 8px }
.pair { padding: 8px; border-radius: 10px; background: var(--card) }
figure { margin: 0; width: 150px; font-size: 13px; line-height: 1.35 }
figure img, .none { display: block; width: 150px; height: 150px; border-radius: 6px }
figure img { object-fit: contain; background: var(--card) }
.none { display: grid; place-items: center; background: var(--rule); color: var(--dim);
 text-align: center }
figcaption { margin-top: 4px }
figcaption b, figcaption span { display: block }
table { display: block; overflow-x: auto; margin-top: 10px; border-collapse: collapse }
th, td { padding: 2px 14px 2px 0; text-align: left; font-weight: 400 }
.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums }
svg { display: block }
.axis { stroke: var(--rule) } .whisker { stroke: var(--bar); stroke-width: 4 }
.target { stroke: var(--ink); stroke-dasharray: 2 2 } circle { fill: var(--dot) }
.plot { display: block; max-width: 100%; margin-top: 12px }
</style>
</head>
<body>
<main>
<h1>{{ title | line }}</h1>
<p class="lead">{{ sentence | line(most) }}</p>
{% for part in parts %}
{% set section = part.section %}
<section>
{% if section.is_folded %}
<details><summary>{{ section.title | line }}</summary>
{% else %}
<h2>{{ section.title | line }}</h2>
{% endif %}
{% for line in section.lines %}
<p>{{ line | line(most) }}</p>
{% endfor %}
{% if part.groups %}
{% set kind = 'group pair' if part.groups | map('length') | max > 1 else 'group' %}
<div class="crops">
{% for group in part.groups %}
<div class="{{ kind }}">
{% for one in group %}
<figure>
{% if one.uri %}
<img src="{{ one.uri }}" alt="">
{% else %}
<div class="none">{{ one.why }}</div>
{% endif %}
<figcaption><b>{{ one.crop.title | line }}</b><span>{{ one.crop.text | line }}</span></figcaption>
</figure>
{% endfor %}
</div>
{% endfor %}
</div>
{% endif %}
{% if section.shares %}
<table>
{% for share in section.shares %}
{% set name = share.name | line %}
<tr><th scope="row">{{ name }}</th><td class="number">n = {{ '{:,}'.format(share.count) }}</td>
<td><svg width="252" height="18" role="img" aria-label="{{ name }}">
<line class="axis" x1="6" x2="246" y1="9" y2="9"/>
{% if share.value is not none %}
<line class="whisker" x1="{{ '%.1f' % (6 + 240 * share.interval[0]) }}"\
 x2="{{ '%.1f' % (6 + 240 * share.interval[1]) }}" y1="9" y2="9"/>
{% endif %}
{% if share.target is not none %}
{% set x = '%.1f' % (6 + 240 * share.target) %}
<line class="target" x1="{{ x }}" x2="{{ x }}" y1="0" y2="18"/>
{% endif %}
{% if share.value is not none %}
<circle cx="{{ '%.1f' % (6 + 240 * share.value) }}" cy="9" r="4.5"/>
{% endif %}
</svg></td>
<td class="number">{% if share.value is not none %}{{ '%.1f' % (100 * share.value) }} %\
 ({{ '%.0f' % (100 * share.interval[0]) }} to {{ '%.0f' % (100 * share.interval[1]) }})\
{% endif %}</td>
<td class="text">{{ share.text | line }}</td></tr>
{% endfor %}
</table>
{% endif %}
{% for plot in part.plots %}
{% if plot.uri %}
<img class="plot" src="{{ plot.uri }}" alt="plot">
{% else %}
<div class="none">{{ plot.why }}</div>
{% endif %}
{% endfor %}
{% if section.is_folded %}
</details>
{% endif %}
</section>
{% endfor %}
</main>
</body>
</html>
"""

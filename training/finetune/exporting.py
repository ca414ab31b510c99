"""A fine-tuned model in the form that the Hugging Face hub has for open_clip's models."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alphaclip.catalog.choices import GAIN_FILE, TUNED_RUN
from alphaclip.catalog.zoo import CARD_FILE, README_FILE, ModelSpec, resolve
from alphaclip.errors import brief
from alphaclip.files import read_json, write_text
from alphaclip.network.factory import create_model
from alphaclip.network.region_queries import is_added
from alphaclip.training.finetune.checkpoints import (
    BEST,
    LAST,
    copy_tokenizer,
    open_clip_content,
    write_json,
)
from alphaclip.training.finetune.config import FinetuneError
from alphaclip.training.finetune.logs import EVALUATION, REPORT, RowLog
from alphaclip.weights.architectures import MERGES_FILE
from alphaclip.weights.checkpoints import write_tensors
from alphaclip.weights.hub import ALPHA_FILE, OPEN_CLIP_CONFIG, OPEN_CLIP_WEIGHTS

_LICENCES = ("mit", "apache-2.0", "cc-by-4.0")
"""Those that have the same name on the hub; of others it has the words."""

_README = """\
---
library_name: open_clip
pipeline_tag: zero-shot-image-classification
tags:
- clip
- alpha-clip
license: {hub_licence}
---
# {name}

A CLIP with an alpha channel beside the picture: what it encodes of a picture is what a map says to
look at.

- **Licence:** {licence}
- **Base model:** {base}
- **Trained on:** {data}
- **Figures:** {figures}

## With its alpha channel

```python
import alphaclip

encoder = alphaclip.load("hf-hub:OWNER/NAME")  # or the path of this folder
vectors = encoder.encode_regions("picture.jpg", [alphaclip.Region.from_box([0.1, 0.2, 0.3, 0.4])])
```

`{alpha_file}` holds the convolution that reads the map, for values (x - 0.5) / 0.26 of x in [0, 1].

## Without

```python
import open_clip

model = open_clip.create_model("hf-hub:OWNER/NAME")
```

open_clip does not know of the map: its vectors are those of a map of 0.5 everywhere.
"""

_OWN_TOKENIZER = f'Its tokenizer is `open_clip.SimpleTokenizer("{MERGES_FILE}")`.\n'


def export_hub(run: Path, folder: Path) -> Path:
    """Writes a model as ``open_clip.create_model("hf-hub:...")`` loads it.

    The image encoder without its alpha channel, and the text encoder, are in open_clip's own files;
    the alpha convolution lies beside them, where `alphaclip.load` finds it.

    Args:
        run: the folder of a fine-tune, also of one on a dataset, or of a model
        folder: to write; must be new or empty

    Returns:
        the folder of the model that was written

    Raises:
        FinetuneError: the folder is in use, or open_clip has no such model
    """
    if (run / GAIN_FILE).is_file():
        run = run / TUNED_RUN
    source = next((run / n for n in (BEST, LAST) if (run / n).is_dir()), run)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FinetuneError(f"{folder} is not empty: name a new folder")
    spec = resolve(str(source))
    model = create_model(spec.architecture, spec.checkpoint_path, spec.pretrained)
    model.load_text()
    if model.config.dual_encoder is not None or not model.has_text:
        reason = "has no text encoder" if model.config.dual_encoder is None else "is transformers'"
        raise FinetuneError(f"{source} {reason}, which open_clip cannot load: share it as it is")
    folder.mkdir(parents=True, exist_ok=True)
    copy_tokenizer(model, folder)
    write_json(folder / OPEN_CLIP_CONFIG, open_clip_content(model))
    tensors = {name: t.contiguous() for name, t in model.clip.state_dict().items()}
    alpha = {n: t for n, t in tensors.items() if is_added(n)}
    plain = {n: t for n, t in tensors.items() if n not in alpha}
    card = _card(spec, source)
    write_tensors(alpha, folder / ALPHA_FILE, {"licence": card["licence"]})
    write_tensors(plain, folder / OPEN_CLIP_WEIGHTS, {"licence": card["licence"]})
    write_json(folder / CARD_FILE, card)
    write_text(folder / README_FILE, _readme(card, run, folder))
    return source


def _card(spec: ModelSpec, source: Path) -> dict[str, Any]:
    """What the model says of itself, without the paths of this machine."""
    card = read_json(source / CARD_FILE) if (source / CARD_FILE).is_file() else {}
    recipe = dict(card.get("recipe") or {})
    base = str(recipe.get("model") or "not stated")
    shown = Path(base).name if Path(base).expanduser().exists() else base
    for name in ("pairs", "evaluate"):
        recipe[name] = [Path(folder).name for folder in recipe.get(name) or ()]
    for name in ("output", "checkpoint"):
        recipe.pop(name, None)
    return {
        **card,
        "licence": spec.licence.replace(base, shown),
        "default_view": spec.default_view.to_dict(),
        "recipe": {**recipe, "model": shown},
    }


def _readme(card: Mapping[str, Any], run: Path, folder: Path) -> str:
    licence = card["licence"].rpartition(": ")[2].lower()
    names, pairs = ", ".join(card["recipe"]["pairs"]), _report(run).get("pairs")
    text = _README.format(
        name=folder.name,
        licence=card["licence"],
        hub_licence=licence if licence in _LICENCES else "other",
        base=card["recipe"]["model"],
        data=(f"{pairs:,} region-text pairs ({names})" if pairs else names) or "not stated",
        figures=_figures(run, card.get("steps")),
        alpha_file=ALPHA_FILE,
    )
    return f"{text}\n{_OWN_TOKENIZER}" if (folder / MERGES_FILE).is_file() else text


def _figures(run: Path, step: int | None) -> str:
    """What was measured of the weights after so many steps, and before the first; on a dataset,
    what was gained on pictures that were kept out."""
    rows = {int(row.pop("step")): row for row in RowLog(run / EVALUATION).rows()}
    before, after = rows.get(0, {}), rows.get(step or 0, {})
    lines = [
        f"\n  - {name}: {value:.4g}" + (f" ({before[name]:.4g} before)" if name in before else "")
        for name, value in after.items()
    ]
    if not lines and (run.parent / GAIN_FILE).is_file():
        lines = [
            f"\n  - {name}, mAP: {gain['after']:.1f} ({gain['before']:.1f} before)"
            for name, gain in read_json(run.parent / GAIN_FILE)["gains"].items()
        ]
    return f"on held-out pairs, after {step} steps" + "".join(lines) if step and lines else "none"


def _report(run: Path) -> dict[str, Any]:
    path = run / REPORT
    content = read_json(path) if path.is_file() else {}
    if not isinstance(content, dict):
        raise FinetuneError(f"{path} holds {brief(content)}: it is no report of a run")
    return content

"""Which models there are, what each name stands for, and where weights are on this machine."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

import alphaclip.nano
from alphaclip.catalog.methods import PROMPTED, SIGN, Method, default_view, pooling_of, split_name
from alphaclip.catalog.model_files import (
    ModelSpec,
    file_spec,
    folder_spec,
    object_view,
    stated_licence,
)
from alphaclip.catalog.released import BASE_TAG, LICENCE, RELEASED, Released
from alphaclip.errors import CheckpointError, MissingWeightsError, ModelNotFoundError

logger = logging.getLogger(__name__)

NANO = "alphaclip-nano"
NANO_FOLDER = Path(alphaclip.nano.__file__).parent
NANO_WARNING = (
    f"{NANO} knows drawings, not photographs: it shows how everything works; for your own "
    "pictures install a released checkpoint, `alphaclip models` says how"
)
GRIT_WARNING = (
    "{name} was trained on GRIT alone and is below plain CLIP on object crops: install a -mim "
    "checkpoint, `alphaclip models alphaclip-vit-l14-grit1m-mim` says how"
)
OPENCLIP_PREFIX = "openclip:"
WEIGHTS_FILE = "model.safetensors"

METHODS = "+near+maskattn"

CANDIDATES = (
    "ViT-H-14-378-quickgelu/dfn5b",
    "PE-Core-L-14-336/meta",
    "ViT-L-14-quickgelu/dfn2b",
    "ViT-L-14/datacomp_xl_s13b_b90k",
    "PE-Core-B-16/meta",
    "ViT-L-14-336-quickgelu/openai",
    "ViT-B-16-quickgelu/dfn2b",
    "ViT-L-14-quickgelu/openai",
    "ViT-B-16/datacomp_xl_s13b_b90k",
    "ViT-B-16/laion2b_s34b_b88k",
    "ViT-B-16-quickgelu/openai",
)
"""By their published zero-shot accuracy on ImageNet, the best first. Only models whose tokenizer
comes with open_clip, so that text works without internet; SigLIP's does not."""


@dataclass(frozen=True)
class ModelInfo:
    """One line of the list of models.

    Attributes:
        name: what to call it
        summary: what it is, in a few words
        licence: what its weights may be used for
        path: where its weights are, None while they are not installed
        advice: what to do to get it, empty where it is installed
    """

    name: str
    summary: str
    licence: str
    path: Path | None
    advice: str = ""

    @property
    def installed(self) -> bool:
        """Whether its own weights are on this machine."""
        return self.path is not None


def models_folder() -> Path:
    """Where converted checkpoints are kept: ``ALPHACLIP_MODELS``, or a folder in the cache."""
    return Path(os.environ.get("ALPHACLIP_MODELS") or "~/.cache/alphaclip").expanduser()


def list_models() -> list[ModelInfo]:
    """The models with names of their own, the best for photographs first, nano last.

    Returns:
        the eight released checkpoints and nano, each with its place or how to get it
    """
    return [*(_released_info(released) for released in RELEASED), _nano_info()]


def resolve(name: str) -> ModelSpec:
    """Finds what a model's name stands for.

    Args:
        name: ``auto``, ``alphaclip-nano``, a released checkpoint's name,
            ``openclip:ARCHITECTURE/TAG``, a folder with an open_clip JSON configuration and
            safetensors weights (with an alpha channel or without), or a converted
            ``.safetensors`` file; any of them with methods, ``BASE+METHOD``

    Returns:
        what to build, and from which weights

    Raises:
        ModelNotFoundError: no model or method has this name; close ones are proposed
        MissingWeightsError: the model is known but not installed; the message says how to get it
        CheckpointError: a file that the name points to is not what it should be
    """
    base, methods = split_name(name)
    if methods:
        return _with_methods(base, methods)
    if name == "auto":
        return resolve_auto()
    if name == NANO:
        return folder_spec(NANO_FOLDER, NANO, NANO_WARNING)
    if any(released.name == name for released in RELEASED):
        return _released_spec(find_released(name))
    if name.startswith(OPENCLIP_PREFIX):
        return _openclip_spec(name)
    path = Path(name).expanduser()
    if path.is_dir():
        return folder_spec(path.resolve(), str(path.resolve()))
    if path.is_file():
        return file_spec(path.resolve())
    raise ModelNotFoundError(_unknown(name))


def resolve_auto() -> ModelSpec:
    """The best model that is here, without a download.

    A released ``-mim`` checkpoint, else an open_clip model in the cache with training-free region
    attention (`find_cached`), else a checkpoint that was trained on GRIT alone, else nano.

    Returns:
        the model; taking nano, or one that was trained on GRIT alone, is logged as a warning

    Raises:
        MissingWeightsError: not even nano's weights are here
        CheckpointError: it is nano, and its files are damaged
    """
    spec = find_auto()
    if spec.warning:
        logger.warning("%s", spec.warning)
    return spec


def find_auto() -> ModelSpec:
    """Finds what `resolve_auto` takes, without a word.

    Returns:
        the model, with the warning that `resolve_auto` logs

    Raises:
        MissingWeightsError: not even nano's weights are here
        CheckpointError: it is nano, and its files are damaged
    """
    installed = [r for r in RELEASED if installed_path(r.name).is_file()]
    best = next((r for r in installed if r.has_mim), None)
    if best is not None:
        return _released_spec(best)
    cached = find_cached()
    if cached is not None:
        return resolve(cached)
    if installed:
        warning = GRIT_WARNING.format(name=installed[0].name)
        return replace(_released_spec(installed[0]), warning=warning)
    return resolve(NANO)


def find_cached() -> str | None:
    """The best candidate whose weights are on this machine; nothing is downloaded.

    Returns:
        a name with its methods, such as ``openclip:ViT-B-16/datacomp_xl_s13b_b90k+near+maskattn``,
        None if there is none
    """
    from alphaclip.weights.base_weights import find_base

    for candidate in CANDIDATES:
        architecture, _, tag = candidate.partition("/")
        if find_base(architecture, tag) is not None:
            return cached_name(candidate)
    return None


def cached_name(candidate: str) -> str:
    """The name to load a candidate by: open_clip's, with region attention."""
    return f"{OPENCLIP_PREFIX}{candidate}{METHODS}"


def find_released(name: str) -> Released:
    """The released checkpoint of a name.

    Args:
        name: such as ``alphaclip-vit-l14-grit1m-mim``

    Returns:
        its entry in the table

    Raises:
        ModelNotFoundError: there is none of this name
    """
    for released in RELEASED:
        if released.name == name:
            return released
    names = ", ".join(released.name for released in RELEASED)
    raise ModelNotFoundError(f"no released checkpoint is called {name!r}; there are: {names}")


def installed_path(name: str) -> Path:
    """Where a released checkpoint is once it is installed."""
    return models_folder() / f"{name}.safetensors"


def install(source: Path, name: str, replace: bool = False) -> Path:
    """Converts a downloaded checkpoint into the models folder.

    Args:
        source: the file as it was downloaded
        name: which released checkpoint it is; the tensors tell the architecture, but only the
            user knows what it was trained on
        replace: whether one that is installed already may be overwritten

    Returns:
        the file written, with name, source, its SHA-256, licence and architecture inside

    Raises:
        ModelNotFoundError: no released checkpoint has this name
        CheckpointError: the file is unreadable, holds something else, or is for another
            architecture than the name says; or the name is installed already
    """
    from alphaclip.files import file_sha256
    from alphaclip.weights.checkpoints import (
        convert_checkpoint,
        recognize_architecture,
        write_checkpoint,
    )

    released, path = find_released(name), installed_path(name)
    if path.exists() and not replace:
        raise CheckpointError(f"{path} is there already; to convert it anew, say --force")
    tensors = convert_checkpoint(source)
    architecture = recognize_architecture(tensors, str(source))
    if architecture != released.architecture:
        raise CheckpointError(_other_variant(source, architecture, released))
    metadata = {
        "name": name,
        "architecture": architecture,
        "licence": LICENCE,
        "source_file": source.name,
        "source_sha256": file_sha256(source),
    }
    write_checkpoint(tensors, path, metadata)
    return path


def _released_info(released: Released) -> ModelInfo:
    path = installed_path(released.name)
    summary = f"Alpha-CLIP {released.baseline.label}, {released.data}"
    if path.is_file():
        return ModelInfo(released.name, summary, LICENCE, path)
    return ModelInfo(released.name, summary, LICENCE, None, _how_to_install(released))


def _nano_info() -> ModelInfo:
    path = NANO_FOLDER / WEIGHTS_FILE
    summary = "small, trained on drawings by this project; for trying things out"
    licence = stated_licence(NANO_FOLDER)
    if path.is_file():
        return ModelInfo(NANO, summary, licence, path)
    return ModelInfo(NANO, summary, licence, None, "install this package again")


def _how_to_install(released: Released) -> str:
    return (
        f"download {released.file_name} from {released.url} ({LICENCE}), then run: "
        f"alphaclip convert FILE --as {released.name}"
    )


def _released_spec(released: Released) -> ModelSpec:
    path = installed_path(released.name)
    if not path.is_file():
        raise MissingWeightsError(
            f"{released.name} is not installed ({path} is missing): {_how_to_install(released)}"
        )
    return ModelSpec(released.name, released.architecture, BASE_TAG, path, object_view(), LICENCE)


def _openclip_spec(name: str) -> ModelSpec:
    import open_clip

    architecture, _, tag = name.removeprefix(OPENCLIP_PREFIX).partition("/")
    if architecture not in open_clip.list_models():
        close = get_close_matches(architecture, open_clip.list_models(), n=3)
        raise ModelNotFoundError(
            f"{name!r}: open_clip has no architecture {architecture!r}"
            + (f"; did you mean {', '.join(close)}?" if close else "; see open_clip.list_models()")
        )
    if not open_clip.is_pretrained_cfg(architecture, tag):
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(architecture)) or "none"
        raise ModelNotFoundError(
            f"{name!r}: open_clip has no weights {tag!r} for {architecture}; it has: {tags}"
        )
    return ModelSpec(
        name, architecture, tag, None, object_view(), "stated on the model's Hugging Face page"
    )


def _with_methods(base: str, methods: tuple[Method, ...]) -> ModelSpec:
    if pooling_of(methods) == PROMPTED:
        spec = _prompted_spec(Path(base).expanduser())
    else:
        spec = find_auto() if base == "auto" else resolve(base)
        spec = resolve(split_name(spec.name)[0]) if spec.methods else spec
    name = SIGN.join([spec.name, *(method.name for method in methods)])
    view = default_view(spec.default_view, methods)
    return replace(spec, name=name, default_view=view, methods=methods)


def _prompted_spec(path: Path) -> ModelSpec:
    if not path.is_file():
        raise MissingWeightsError(
            f"{path}: there is no such file; +{PROMPTED} needs OVSeg's weights, such as "
            "ovseg_swinbase_vitL14_ft_mpt.pth, from github.com/facebookresearch/ov-seg"
        )
    place = str(path.resolve())
    licence = "stated in OVSeg's repository; CLIP's own model terms apply as well"
    return ModelSpec(place, place, None, None, object_view(), licence)


def _other_variant(source: Path, architecture: str, released: Released) -> str:
    fitting = [other.name for other in RELEASED if other.architecture == architecture]
    return (
        f"{source} holds weights for {architecture}, but {released.name} is "
        f"{released.architecture}: it can be {', '.join(fitting)}"
    )


def _unknown(name: str) -> str:
    names = [released.name for released in RELEASED] + [NANO, "auto"]
    close = get_close_matches(name, names, n=3)
    hint = f"did you mean {', '.join(close)}?" if close else "`alphaclip models` lists the names;"
    return (
        f"no model is called {name!r}, and there is no such folder or file: {hint} open_clip's "
        f"models are written {OPENCLIP_PREFIX}ARCHITECTURE/TAG"
    )

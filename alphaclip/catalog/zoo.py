"""Which models there are, and what each name, folder or file of weights stands for."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import alphaclip.nano
from alphaclip.catalog.candidates import CANDIDATES, SIGLIP, Candidate
from alphaclip.catalog.methods import METHODS as ALL_METHODS
from alphaclip.catalog.methods import (
    NATIVE,
    PROMPTED,
    REGIONS,
    SIGN,
    Method,
    default_view,
    pooling_of,
    split_name,
)
from alphaclip.catalog.released import (
    BASE_TAG,
    LICENCE,
    RELEASED,
    Released,
    find_released,
    how_to_install,
    installed_path,
)
from alphaclip.errors import (
    AlphaClipError,
    CheckpointError,
    MissingWeightsError,
    ModelNotFoundError,
    brief,
)
from alphaclip.files import LARGEST_CONFIG, DamagedError, check_folder, read_json

if TYPE_CHECKING:
    from alphaclip.views.view import View
    from alphaclip.weights.downloads import Progress

logger = logging.getLogger(__name__)

NANO = "alphaclip-nano"
NANO_FOLDER = Path(alphaclip.nano.__file__).parent
NANO_WARNING = (
    f"{NANO} knows drawings, not photographs: it shows how everything works; for your own "
    "pictures take another encoder, `alphaclip models` lists them and says how to get one"
)
GRIT_WARNING = (
    "{name} was trained on GRIT alone and is below plain CLIP on object crops: install a -mim "
    "checkpoint, `alphaclip models alphaclip-vit-l14-grit1m-mim` says how"
)
OPENCLIP_PREFIX = "openclip:"
HUB_PREFIXES = {"hf:": "config.json", "hf-hub:": "open_clip_config.json"}
"""Before OWNER/NAME on the Hugging Face hub: models of transformers' and of open_clip's; and the
file that describes them there."""

ON_THE_HUB = "stated on the model's Hugging Face page"
"""The licence of those of open_clip's models of which it is not known here."""

RESEARCH_WARNING = (
    "{name} may not be used commercially ({licence}), and no encoder that may is here: "
    "`alphaclip models` lists some"
)

CARD_FILE, README_FILE = "card.json", "README.md"
WEIGHTS_FILE = "model.safetensors"

METHODS = "+near+maskattn"
"""What makes a region encoder of a plain CLIP; shown with what is near, since a whole picture
leaves a small object too few patches."""


@dataclass(frozen=True)
class ModelSpec:
    """A model that can be built: ``create_model(architecture, checkpoint_path, pretrained)``.

    Attributes:
        name: resolves to this again, in any process on this machine
        architecture: an open_clip architecture, or the path of a JSON configuration
        pretrained: open_clip's tag of the base weights, or a file of them; None where the
            checkpoint has both towers
        checkpoint_path: weights with an alpha channel, None for a plain open_clip model
        default_view: how regions are shown to it unless the user says otherwise
        licence: what the weights may be used for
        warning: what a user who did not choose it should be told, empty if nothing
        methods: what is done to it so that it encodes regions, see `alphaclip.catalog.methods`; an
            OVSeg weights file with ``maskprompt`` is built by `alphaclip.encoder.mask_prompts`
        changes_path: weights that take the place of some of these, see `create_model`
    """

    name: str
    architecture: str
    pretrained: str | None
    checkpoint_path: Path | None
    default_view: View
    licence: str
    warning: str = ""
    methods: tuple[Method, ...] = ()
    changes_path: Path | None = None


@dataclass(frozen=True)
class ModelInfo:
    """One line of the list of models; ``path`` is None while its weights are not installed, and
    ``advice`` says then how to get them."""

    name: str
    summary: str
    licence: str
    path: Path | None
    advice: str = ""

    @property
    def installed(self) -> bool:
        """Whether its own weights are on this machine."""
        return self.path is not None


def list_models() -> list[ModelInfo]:
    """The models with names of their own: the eight released, the best for photographs first, and
    nano; each with its file or how to get it."""
    nano = "small, trained on drawings by this project; for trying things out"
    listed = [
        (r.name, f"Alpha-CLIP {r.baseline.label}, {r.data}", LICENCE, installed_path(r.name))
        for r in RELEASED
    ]
    listed.append((NANO, nano, stated_licence(NANO_FOLDER), NANO_FOLDER / WEIGHTS_FILE))
    advice = {r.name: how_to_install(r) for r in RELEASED} | {NANO: "install this package again"}
    return [
        ModelInfo(name, summary, licence, path)
        if path.is_file()
        else ModelInfo(name, summary, licence, None, advice[name])
        for name, summary, licence, path in listed
    ]


def zoo_names() -> dict[str, str]:
    """The names under which a zoo lists the models, each with its licence: the named ones, alone,
    with each method that needs neither weights nor a tower of its own, and near with each that
    takes the region from the model's tokens; and open_clip's for photographs."""
    methods = [method for method in ALL_METHODS if method.name not in (NATIVE, PROMPTED)]
    ends = ["", *(SIGN + method.name for method in methods)]
    ends += [f"{SIGN}near{SIGN}{method.name}" for method in methods if method.pools]
    named = {info.name + end: info.licence for info in list_models() for end in ends}
    return named | {cached_name(one.model): one.licence for one in CANDIDATES}


def resolve(name: str) -> ModelSpec:
    """Finds what a model's name stands for.

    Args:
        name: ``auto`` (see `find_auto`; its warning is logged), ``alphaclip-nano``, a released
            checkpoint's name, ``openclip:ARCHITECTURE/TAG``, ``hf:OWNER/NAME`` or
            ``hf-hub:OWNER/NAME`` (transformers' and open_clip's on the Hugging Face hub, which are
            downloaded where they are not here), a folder with an open_clip JSON configuration and
            safetensors weights (with an alpha channel or without) or with a model of
            transformers', or a converted ``.safetensors`` file; any of them with methods,
            ``BASE+METHOD``

    Raises:
        ModelNotFoundError: no model or method has this name; close ones are proposed
        MissingWeightsError: the model is known but not installed, and cannot be downloaded; the
            message says how to get it
        CheckpointError: a file that the name points to is not what it should be
    """
    base, methods = split_name(name)
    if methods:
        return _with_methods(base, methods)
    if name == "auto":
        spec = find_auto()
        if spec.warning:
            logger.warning("%s", spec.warning)
        return spec
    if name == NANO:
        return folder_spec(NANO_FOLDER, NANO, NANO_WARNING)
    if any(released.name == name for released in RELEASED):
        return _released_spec(find_released(name))
    if name.startswith(OPENCLIP_PREFIX):
        return _openclip_spec(name)
    if hub_config(name) is not None:
        return folder_spec(fetch_hub_model(name), name)
    path = Path(name).expanduser()
    if path.is_dir():
        return folder_spec(path.resolve(), str(path.resolve()))
    if path.is_file():
        return file_spec(path.resolve())
    names = [released.name for released in RELEASED] + [NANO, "auto"]
    close = get_close_matches(name, names, n=3)
    hint = f"did you mean {', '.join(close)}?" if close else "`alphaclip models` lists the names;"
    raise ModelNotFoundError(
        f"no model is called {name!r}, and there is no such folder or file: {hint} open_clip's "
        f"models are written {OPENCLIP_PREFIX}ARCHITECTURE/TAG, the hub's "
        f"{' or '.join(f'{prefix}OWNER/NAME' for prefix in HUB_PREFIXES)}"
    )


def hub_config(name: str) -> str | None:
    """The file that describes a model of the hub, by its name here; None for all others."""
    return next((c for prefix, c in HUB_PREFIXES.items() if name.startswith(prefix)), None)


def is_here(name: str) -> bool:
    """Whether a model of the hub is in its cache, by its name here."""
    from alphaclip.weights.hub import CONFIG, find_hub_folder

    return find_hub_folder(name.partition(":")[2], hub_config(name) or CONFIG) is not None


def fetch_hub_model(name: str, progress: Progress | None = None) -> Path:
    """The folder of a model of the hub, downloaded where it is not here, see `HUB_PREFIXES`.

    Args:
        name: with its prefix, without methods
        progress (None): see :func:`alphaclip.weights.downloads.download`

    Raises:
        AlphaClipError: it is of a kind that cannot be used
        MissingWeightsError: it cannot be had
    """
    from alphaclip.weights.dual_encoders import check_kind
    from alphaclip.weights.hub import CONFIG, hub_folder

    config, repository = hub_config(name) or CONFIG, name.partition(":")[2]

    check = partial(check_kind, name=name) if config == CONFIG else None
    return hub_folder(repository, config, check, progress)


def find_auto() -> ModelSpec:
    """The best model that is here and may be used, without a download.

    An open_clip model in the cache that may be used commercially, with training-free region
    attention (`find_cached`), else a released ``-mim`` checkpoint, else any other model in the
    cache, else a checkpoint that was trained on GRIT alone, else nano.

    All but the first have a warning.

    Raises:
        MissingWeightsError: not even nano's weights are here
        CheckpointError: it is nano, and its files are damaged
    """
    installed = [r for r in RELEASED if installed_path(r.name).is_file()]
    # The base weights of what is installed are there for its texts, not as a choice.
    bases = {f"{released.architecture}/{BASE_TAG}" for released in installed}
    cached = [one for one in find_cached() if one.model not in bases]
    if free := next((one for one in cached if one.is_free), None):
        return resolve(cached_name(free.model))
    if best := next((released for released in installed if released.has_mim), None):
        return _for_research(_released_spec(best))
    if cached:
        return _for_research(resolve(cached_name(cached[0].model)))
    if installed:
        warning = GRIT_WARNING.format(name=installed[0].name)
        return replace(_released_spec(installed[0]), warning=warning)
    return resolve(NANO)


def find_cached() -> list[Candidate]:
    """The candidates whose weights are on this machine, the most accurate first."""
    from alphaclip.weights.base_weights import find_base

    return [one for one in CANDIDATES if find_base(*one.model.split("/")) is not None]


def cached_name(model: str) -> str:
    """The name to load a candidate by: open_clip's, with region attention."""
    return f"{OPENCLIP_PREFIX}{model}{METHODS}"


def _for_research(spec: ModelSpec) -> ModelSpec:
    return replace(spec, warning=RESEARCH_WARNING.format(name=spec.name, licence=spec.licence))


def folder_spec(folder: Path, name: str, warning: str = "") -> ModelSpec:
    """What a model's folder holds.

    Args:
        folder: with an open_clip JSON configuration and safetensors weights, with an alpha channel
            or without, or a model of transformers'; a ``card.json`` may state licence and default
            view
        name: of the model
        warning: see `ModelSpec`

    Raises:
        MissingWeightsError: it does not hold one configuration and one weights file
        CheckpointError: a file is not what it should be
    """
    from alphaclip.weights.checkpoints import has_alpha
    from alphaclip.weights.hub import ALPHA_FILE, CONFIG, OPEN_CLIP_WEIGHTS

    try:
        check_folder(folder)
    except DamagedError as error:
        raise CheckpointError(str(error)) from error
    configs = [
        path
        for path in folder.glob("*.json")
        if _read_json(path).keys() & {"vision_cfg", "model_cfg"}
    ]
    is_plain = hub_config(name) == CONFIG or not configs
    config = folder / CONFIG
    if is_plain and config.is_file() and "model_type" in _read_json(config):
        return _transformers_spec(folder, name, warning)
    hub = folder / OPEN_CLIP_WEIGHTS
    files = [hub] if hub.is_file() else folder.glob("*.safetensors")
    weights = _only(folder, files, "safetensors weights")
    config = _only(folder, configs, "open_clip configuration")
    pretrained, checkpoint = (None, weights) if has_alpha(weights) else (str(weights), None)
    if pretrained and (folder / ALPHA_FILE).is_file():
        checkpoint = folder / ALPHA_FILE
    view, licence = _stated_view(folder, object_view()), stated_licence(folder)
    return ModelSpec(name, str(config), pretrained, checkpoint, view, licence, warning)


def _transformers_spec(folder: Path, name: str, warning: str) -> ModelSpec:
    from alphaclip.weights.architectures import read_config
    from alphaclip.weights.checkpoints import has_alpha
    from alphaclip.weights.hub import ADAPTER, CONFIG, find_weights

    if (folder / ADAPTER).is_file():
        raise CheckpointError(f"{folder}: merge the adapter ({ADAPTER}) into the weights first")
    weights = find_weights(folder)
    if weights is None:
        raise MissingWeightsError(
            f"{folder}: has no safetensors weights, and others are not read: transformers' "
            "save_pretrained writes them"
        )
    config = folder / CONFIG
    is_ours = weights.suffix == ".safetensors" and has_alpha(weights)
    pretrained, checkpoint = (None, weights) if is_ours else (str(weights), None)
    preprocess = read_config(config).preprocess
    own = {name: preprocess[name] for name in ("scaling", "patch")}
    view = replace(_stated_view(folder, replace(object_view(), **own)), patch=own["patch"])
    licence = stated_licence(folder)
    return ModelSpec(name, str(config), pretrained, checkpoint, view, licence, warning)


def _stated_view(folder: Path, default: View) -> View:
    """The view that a folder's card states."""
    from alphaclip.views.view import View

    stated = _card(folder).get("default_view")
    try:
        return View(**stated) if stated else default
    except (TypeError, AlphaClipError) as error:
        raise CheckpointError(
            f"{folder / CARD_FILE}: default_view is {brief(stated)}: {error}"
        ) from error


def file_spec(path: Path) -> ModelSpec:
    """What a converted ``.safetensors`` file holds; its path is the model's name.

    Raises:
        CheckpointError: it is of another kind, or does not say which architecture it is for
    """
    import open_clip

    from alphaclip.weights.checkpoints import has_text_tower, read_metadata

    if path.suffix != ".safetensors":
        raise CheckpointError(
            f"{path}: a model is a folder or a .safetensors file; a released .pth is converted "
            f"first: alphaclip convert {path} --as NAME"
        )
    metadata = read_metadata(path)
    if "architecture" not in metadata:
        raise CheckpointError(
            f"{path}: does not say which architecture it is for; put it in a folder of its own "
            "with its open_clip JSON configuration, and name the folder"
        )
    name = metadata["architecture"]
    # Asked for another name, open_clip may look for it on the hub
    known = name in open_clip.list_models()
    if not known or "hf_model_name" in open_clip.get_model_config(name)["text_cfg"]:
        raise CheckpointError(
            f"{path}: says that it is for {brief(name)}, which is none of "
            "open_clip's architectures that can be built without the Hugging Face hub: convert it "
            "again, or put it in a folder of its own with its open_clip JSON configuration, and "
            "name the folder"
        )
    pretrained = None if has_text_tower(path) else BASE_TAG
    licence = metadata.get("licence", "not stated")
    return ModelSpec(str(path), metadata["architecture"], pretrained, path, object_view(), licence)


def object_view() -> View:
    """The crop with which the paper measures objects in photographs (appendix C.1)."""
    from alphaclip.views.view import View

    return View(kind="context", context=1.5)


def stated_licence(folder: Path) -> str:
    """What a folder's card says of its licence: ours, or the hub's at the head of its README."""
    stated = _card(folder).get("licence")
    if stated is None and (folder / README_FILE).is_file():
        head = (folder / README_FILE).read_text("utf-8", "replace").split("\n---", 1)[0]
        said = dict(re.findall(r"^(license(?:_name)?): *[\"']?([\w. +-]+)", head, re.MULTILINE))
        stated = said.get("license_name") or said.get("license")
    return str(stated or "not stated")


def _released_spec(released: Released) -> ModelSpec:
    path = installed_path(released.name)
    if not path.is_file():
        raise MissingWeightsError(
            f"{released.name} is not installed ({path} is missing): {how_to_install(released)}"
        )
    return ModelSpec(released.name, released.architecture, BASE_TAG, path, object_view(), LICENCE)


def _openclip_spec(name: str) -> ModelSpec:
    import open_clip

    from alphaclip.weights.architectures import read_config

    architecture, _, tag = name.removeprefix(OPENCLIP_PREFIX).partition("/")
    read_config(architecture)
    if not open_clip.is_pretrained_cfg(architecture, tag):
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(architecture)) or "none"
        raise ModelNotFoundError(
            f"{name!r}: open_clip has no weights {tag!r} for {architecture}; it has: {tags}"
        )
    model = name.removeprefix(OPENCLIP_PREFIX)
    known = {one.model: one.licence for one in (*CANDIDATES, SIGLIP)}
    licence = known.get(model, ON_THE_HUB)
    return ModelSpec(name, architecture, tag, None, object_view(), licence)


def _with_methods(base: str, methods: tuple[Method, ...]) -> ModelSpec:
    if pooling_of(methods) == PROMPTED:
        spec = _prompted_spec(Path(base).expanduser())
    else:
        spec = find_auto() if base == "auto" else resolve(base)
        spec = resolve(split_name(spec.name)[0]) if spec.methods else spec
    if spec.name == NANO and pooling_of(methods) == REGIONS:
        spec = replace(spec, changes_path=NANO_FOLDER / REGIONS / WEIGHTS_FILE)
    name = SIGN.join([spec.name, *(method.name for method in methods)])
    view = default_view(spec.default_view, methods)
    return replace(spec, name=name, default_view=view, methods=methods)


def _prompted_spec(path: Path) -> ModelSpec:
    if not path.is_file():
        raise MissingWeightsError(
            f"{path}: there is no such file; +{PROMPTED} needs OVSeg's weights, such as "
            "ovseg_swinbase_vitL14_ft_mpt.pth, from github.com/facebookresearch/ov-seg"
        )
    file = str(path.resolve())
    licence = "stated in OVSeg's repository; CLIP's own model terms apply as well"
    return ModelSpec(file, file, None, None, object_view(), licence)


def _card(folder: Path) -> dict[str, Any]:
    path = folder / CARD_FILE
    return _read_json(path) if path.is_file() else {}


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = read_json(path, LARGEST_CONFIG)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}") from error
    except AlphaClipError as error:
        raise CheckpointError(str(error)) from error
    return content if isinstance(content, dict) else {}


def _only(folder: Path, candidates: Iterable[Path], what: str) -> Path:
    files = sorted(candidates)
    if len(files) != 1:
        names = ", ".join(path.name for path in files) or "none"
        raise MissingWeightsError(
            f"{folder}: a model's folder holds one file of {what}, found: {names}"
        )
    return files[0]

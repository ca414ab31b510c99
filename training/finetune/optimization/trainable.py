"""A model as fine-tuning sees it: what of it is trained, and how a batch goes through it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from open_clip.timm_model import TimmModel
from open_clip.transformer import PatchDropout, VisionTransformer
from torch import Tensor, nn
from torch.nn.functional import normalize

from alphaclip.network.model import AlphaCLIP
from alphaclip.network.region_queries import NAME, RegionQueries, add_regions, region_queries
from alphaclip.network.split_towers import Tower, find_tower
from alphaclip.training.finetune.config import FinetuneConfig, FinetuneError
from alphaclip.training.finetune.optimization import lora
from alphaclip.weights.alpha_channel import ALPHA_MEAN, ALPHA_STD, ALPHA_SUFFIX, join_alpha

_MOST_SCALE = 100.0
"""CLIP's limit of the logit scale, ln 100 before the exponential."""

_FIRST = {
    VisionTransformer: ("conv1", "class_embedding", "positional_embedding", "ln_pre"),
    TimmModel: (
        "trunk.patch_embed",
        "trunk.cls_token",
        "trunk.reg_token",
        "trunk.pos_embed",
        "trunk.norm_pre",
    ),
}
"""What comes before the blocks, by how the parameters' names begin."""

_BLOCKS = {VisionTransformer: "transformer.resblocks.", TimmModel: "trunk.blocks."}


class Trainable(nn.Module):
    """An image encoder in training beside a frozen text encoder and temperature.

    Dropout stays off and batch norms keep their statistics, so that a picture's vector depends on
    nothing but the picture: GradCache and several processes rely on it.

    Attributes:
        model: the model, changed in place by training
        scale: what cosines are multiplied with, of the base; at most 100 for InfoNCE
        bias: what is added then; SigLIP's, None for other models
        image_size: R, the side of the pictures
    """

    scale: Tensor
    bias: Tensor | None
    _mean: Tensor
    _std: Tensor

    def __init__(
        self,
        model: AlphaCLIP,
        most_scale: float = _MOST_SCALE,
        tower: Tower | None = None,
        teacher: AlphaCLIP | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self._teacher = teacher
        queries = region_queries(model.clip.visual)
        self._regions = (tower, queries) if tower is not None and queries is not None else None
        self.image_size = model.image_size
        bias = getattr(model.clip, "logit_bias", None)
        constants = {
            "scale": model.clip.logit_scale.detach().exp().clamp(max=most_scale),
            "bias": None if bias is None else bias.detach().clone(),
            "_mean": torch.tensor(model.mean).view(1, 3, 1, 1),
            "_std": torch.tensor(model.std).view(1, 3, 1, 1),
        }
        for name, constant in constants.items():
            self.register_buffer(name, constant, persistent=False)
        self.train()

    def encode_image(self, images: Tensor, alpha: Tensor) -> Tensor:
        """Unit vectors of regions, with gradient.

        Args:
            images: uint8 (N, 3, R, R)
            alpha: uint8 (N, 1, R, R), or (N, S, 1, R, R) where S regions of each picture are seen
                by queries; 255 is to be looked at

        Returns:
            float32 (N, dim), or (N * S, dim)
        """
        pixels, maps = (images.float() / 255.0 - self._mean) / self._std, alpha.float() / 255.0
        if self._regions is None:
            encoded = self.model.encode_image(pixels, (maps - ALPHA_MEAN) / ALPHA_STD)
        else:
            encoded = self._encode_regions(*self._regions, pixels, maps).flatten(0, 1)
        return normalize(encoded.float(), dim=-1)

    @staticmethod
    def _encode_regions(
        tower: Tower, queries: RegionQueries, pixels: Tensor, maps: Tensor
    ) -> Tensor:
        if not queries.sees_alpha:
            ones = (torch.ones_like(pixels[:, :1]) - ALPHA_MEAN) / ALPHA_STD
            return queries.attend(tower, tower.trunk(join_alpha(pixels, ones)), maps)
        # A pass for each region, but for those that a picture does not have.
        used = maps.flatten(2).any(dim=2).nonzero(as_tuple=True)
        joined = join_alpha(pixels[used[0]], (maps[used] - ALPHA_MEAN) / ALPHA_STD)
        vectors = queries.attend(tower, tower.trunk(joined), maps[used][:, None])[:, 0]
        encoded = vectors.new_zeros(*maps.shape[:2], vectors.shape[1])
        encoded[used] = vectors
        return encoded

    @torch.no_grad()
    def encode_text(self, tokens: Tensor) -> Tensor:
        """Unit vectors of texts, without gradient: int64 (N, L) to float32 (N, dim)."""
        return normalize(self.model.encode_text(tokens).float(), dim=-1)

    @torch.no_grad()
    def teach(self, near: Tensor | None, count: int) -> Tensor:
        """The teacher's unit vectors of regions, each in a pass of its own.

        Args:
            near: uint8 (N, S, 4, T, T), the alpha map last; nothing of a region that is missing
            count: N * S

        Returns:
            float32 (N * S, dim), zeros for those; (N * S, 0) without a teacher
        """
        if near is None or self._teacher is None:
            return self.scale.new_empty(count, 0)
        shown = near.flatten(0, 1)
        used = shown[:, 3].flatten(1).amax(dim=1) > 0
        pixels, maps = (shown[used].float() / 255.0).split((3, 1), dim=1)
        encoded = self._teacher.encode_image(
            (pixels - self._mean) / self._std, (maps - ALPHA_MEAN) / ALPHA_STD
        )
        vectors = pixels.new_zeros(len(shown), encoded.shape[1])
        vectors[used] = normalize(encoded.float(), dim=-1)
        return vectors

    def train(self, mode: bool = True) -> Trainable:
        """The image encoder's mode; the text encoder, dropout and batch norms stay as in use."""
        super().train(mode)
        self.model.eval()
        if self._teacher is not None:
            self._teacher.eval()
        self.model.clip.visual.train(mode)
        for module in self.model.clip.visual.modules():
            if _is_random(module) or isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self

    def trained(self) -> dict[str, nn.Parameter]:
        """The parameters in training, by their names in the image encoder."""
        named = self.model.clip.visual.named_parameters()
        return {name: parameter for name, parameter in named if parameter.requires_grad}

    def load_trained(self, tensors: Mapping[str, Tensor]) -> None:
        """Gives the parameters in training other values.

        Args:
            tensors: by the names of `trained`

        Raises:
            FinetuneError: other names or shapes
        """
        parameters = self.trained()
        shapes = {name: tuple(parameter.shape) for name, parameter in parameters.items()}
        saved = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        if shapes != saved:
            differing = sorted(name for name, _ in shapes.items() ^ saved.items())
            raise FinetuneError(
                f"the saved weights are not those in training here: {', '.join(differing[:5])} "
                "differ; go on with the model and settings that the run was started with"
            )
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(tensors[name])


def prepare(
    model: AlphaCLIP, config: FinetuneConfig, teacher: AlphaCLIP | None = None
) -> Trainable:
    """Decides what is trained, and gives the alpha convolution and adapters their first values.

    Args:
        model: with both towers' weights; changed in place. New values come from the
            configuration's seed alone, so that every process has the same.
        config: of the run

    Returns:
        the model, ready for `alphaclip.training.finetune.optimization.steps.TrainingStep`

    Raises:
        FinetuneError: the model cannot be trained as configured; says why
    """
    name = model.config.name
    model.load_text()
    if not model.has_text:
        raise FinetuneError(
            f"{name}: its text encoder has no weights, so there is nothing to train towards; name "
            'the base weights, for example pretrained = "openai"'
        )
    if config.loss == "sigmoid" and getattr(model.clip, "logit_bias", None) is None:
        raise FinetuneError(
            f"{name}: loss 'sigmoid' is for models that were trained with it, such as SigLIP, "
            "and this one has no logit_bias: take loss 'infonce'"
        )
    visual = model.clip.visual
    tower = start_regions(model, config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        _start_alpha(visual, config)
        model.clip.requires_grad_(False)
        # With adapters, those alone are trained beside the alpha convolution.
        others = set() if config.lora_rank else set(_unfrozen(visual, config.unfrozen_blocks))
        for name, parameter in visual.named_parameters():
            if name.endswith(f"{ALPHA_SUFFIX}.weight"):
                sees_alpha = config.method == "alpha" or config.region_alpha
                parameter.requires_grad_(config.use_alpha and sees_alpha)
            elif name.startswith(f"{NAME}."):
                is_fixed = config.region_bias == "fixed" and ".scale." in name
                parameter.requires_grad_(tower is not None and not is_fixed)
            else:
                parameter.requires_grad_(name in others)
        if config.lora_rank:
            lora.add_adapters(visual, config.lora_rank, config.lora_scale)
    if config.activation_checkpointing:
        visual.set_grad_checkpointing(True)
    most_scale = _MOST_SCALE if config.loss == "infonce" else float("inf")
    return Trainable(model, most_scale, tower, teacher)


def start_regions(model: AlphaCLIP, config: FinetuneConfig) -> Tower | None:
    """Gives a model region queries where it is trained to have them and has none yet.

    Returns:
        the tower that they are in; None with another method

    Raises:
        AlphaClipError: the image encoder is of a kind that has no region queries
    """
    if config.method != "regions":
        return None
    visual, name = model.clip.visual, model.config.name
    queries = region_queries(visual)
    if queries is not None:
        return find_tower(visual, name, len(queries.scale))
    tower = find_tower(visual, name, config.region_blocks)
    add_regions(visual, tower, config.region_edge, config.region_alpha)
    return tower


def state_to_save(trainable: Trainable) -> dict[str, Tensor]:
    """All weights of the model, adapters merged.

    Args:
        trainable: whose weights; they are not changed

    Returns:
        open_clip's names to copies of the tensors on the CPU, as
        ``alphaclip.create_model(checkpoint=...)`` takes them
    """
    clip = trainable.model.clip
    state = {name: t for name, t in clip.state_dict().items() if not name.startswith("visual.")}
    visual = lora.merged_state(clip.visual)
    state |= {f"visual.{name}": tensor for name, tensor in visual.items()}
    return {name: t.detach().to("cpu", copy=True).contiguous() for name, t in state.items()}


def _start_alpha(visual: nn.Module, config: FinetuneConfig) -> None:
    for name, module in visual.named_modules():
        if not name.endswith(ALPHA_SUFFIX) or not isinstance(module, nn.Conv2d):
            continue
        if config.alpha_init == "random":
            module.reset_parameters()
        elif config.alpha_init == "zero" or not config.use_alpha:
            nn.init.zeros_(module.weight)


def _unfrozen(visual: nn.Module, blocks: int | None) -> Iterator[str]:
    """Names of the last blocks' parameters and of what comes after them."""
    names = [name for name, _ in visual.named_parameters()]
    if blocks is None:
        yield from names
    if not blocks:
        return
    kind = next((kind for kind in _BLOCKS if isinstance(visual, kind)), None)
    path = _BLOCKS.get(kind, "")
    total = len({name.removeprefix(path).split(".")[0] for name in names if name.startswith(path)})
    if kind is None or not total or blocks > total:
        there = f"{total} such blocks" if kind and total else "no row of transformer blocks"
        raise FinetuneError(
            f"unfrozen_blocks is {blocks}, but the image encoder ({type(visual).__name__}) has "
            f"{there}: leave it out to train all of it"
        )
    for name in names:
        block = name.removeprefix(path).split(".")[0] if name.startswith(path) else ""
        if block.isdigit() and int(block) < total - blocks:
            continue
        if block.isdigit() or not name.startswith(_FIRST[kind]):
            yield name


def _is_random(module: nn.Module) -> bool:
    """Whether it drops values or paths; timm's ``DropPath`` is not always importable."""
    dropout = (nn.modules.dropout._DropoutNd, PatchDropout)
    return isinstance(module, dropout) or type(module).__name__ == "DropPath"

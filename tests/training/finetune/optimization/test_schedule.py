"""Rates along the steps, and what each weight's rate and decay is."""

import pytest
import torch

from alphaclip.training.finetune.config import ConfigError
from alphaclip.training.finetune.optimization.optimizer import make_optimizer, scale_rates
from alphaclip.training.finetune.optimization.schedule import check_schedule, rate_scale
from alphaclip.training.finetune.optimization.trainable import prepare


def test_rate__rises_linearly_then_falls_by_half_a_cosine(make_config):
    config = make_config(warm_up=4)

    scales = [rate_scale(step, 12, config) for step in range(13)]

    assert scales[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert scales[8] == pytest.approx(0.5)
    assert scales[10] == pytest.approx(0.146447, abs=1e-6)
    assert scales[12] == 0.0


def test_rate__stays_with_a_constant_schedule(make_config):
    config = make_config(warm_up=2, schedule="constant")

    assert [rate_scale(step, 4, config) for step in range(4)] == [0.5, 1.0, 1.0, 1.0]


def test_rate__follows_the_horizon_and_is_zero_beyond(make_config):
    config = make_config(warm_up=0, horizon=8)

    assert rate_scale(4, 100, config) == pytest.approx(0.5)
    assert rate_scale(50, 100, config) == 0.0


def test_check__refuses_steps_without_rates(make_config):
    check_schedule(5000, make_config(reference=True))
    with pytest.raises(ConfigError, match="horizon is 5000, but the run has 5001 steps"):
        check_schedule(5001, make_config(reference=True))
    with pytest.raises(ConfigError, match="warm_up is 100, but the run has 100 steps only"):
        check_schedule(100, make_config(warm_up=100))


def test_warm_up__is_a_tenth_of_the_steps_and_at_most_200(make_config):
    for steps, warm_up in ((1, 0), (50, 5), (100_000, 200)):
        check_schedule(steps, make_config())
        scales = [rate_scale(step, steps, make_config()) for step in range(min(steps, 300))]
        assert scales.index(1.0) == max(0, warm_up - 1)


def groups_of(optimizer, parameters):
    """Names of the parameters in each group."""
    names = {id(parameter): name for name, parameter in parameters.items()}
    return {g["name"]: {names[id(p)] for p in g["params"]} for g in optimizer.param_groups}


def test_groups__decay_matrices_only_and_give_alpha_its_rate(make_model, make_config):
    parameters = prepare(make_model(), make_config()).trained()

    optimizer = make_optimizer(parameters, make_config())

    groups = {group["name"]: group for group in optimizer.param_groups}
    names = groups_of(optimizer, parameters)
    assert names["alpha"] == {"conv1_alpha.weight"}
    assert {"conv1.weight", "proj", "transformer.resblocks.0.mlp.c_fc.weight"} <= names["weights"]
    assert {"class_embedding", "positional_embedding", "ln_pre.bias"} <= names["undecayed"]
    assert all(parameters[name].ndim > 1 for name in names["weights"])
    assert set.union(*names.values()) == set(parameters)
    assert {n: (g["lr"], g["weight_decay"]) for n, g in groups.items()} == {
        "alpha": (2e-4, 2e-2),
        "weights": (2e-6, 2e-2),
        "undecayed": (2e-6, 0.0),
    }


def test_groups__of_timms_encoder_leave_its_tokens_undecayed(make_model, make_config):
    parameters = prepare(make_model("siglip"), make_config()).trained()

    names = groups_of(make_optimizer(parameters, make_config()), parameters)

    assert {"trunk.pos_embed", "trunk.attn_pool.latent"} <= names["undecayed"]
    assert names["alpha"] == {"trunk.patch_embed.proj_alpha.weight"}


def test_groups__decay_everything_in_the_released_code(make_model, make_config):
    config = make_config(reference=True)

    optimizer = make_optimizer(prepare(make_model(), config).trained(), config)

    assert {group["weight_decay"] for group in optimizer.param_groups} == {1e-2}


def test_scale__is_of_the_full_rate_each_time():
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([{"params": [weight], "lr": 0.8, "initial_lr": 0.8}])

    for scale in (0.5, 0.25):
        scale_rates(optimizer, scale)

    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.2)

"""Configurations: the paper's numbers, files, and what is refused."""

import json
import sys

import pytest

from alphaclip.training.finetune.config import RELEASED, ConfigError, FinetuneConfig, read_fields

GIVEN = {"model": "alphaclip-nano", "pairs": ["pairs"], "output": "run"}


def test_config__defaults_are_the_papers_recipe():
    config = FinetuneConfig.from_dict(GIVEN)

    assert (config.batch_size, config.rate, config.alpha_rate) == (4096, 2e-6, 2e-4)
    assert (config.weight_decay, config.whole_share, config.schedule) == (2e-2, 0.1, "cosine")
    assert config.unfrozen_blocks is None
    assert config.label_smoothing == 0


def test_config__reference_fills_in_the_released_codes_numbers_that_are_not_given():
    config = FinetuneConfig.from_dict({**GIVEN, "reference": True, "warm_up": 200})

    assert config.label_smoothing == 0.1
    assert config.horizon == 5000
    assert config.weight_decay == 1e-2
    assert config.warm_up == 200
    assert set(RELEASED) < set(config.to_dict())


def test_config__comes_back_from_its_dict():
    fields = {**GIVEN, "reference": True, "unfrozen_blocks": 6, "betas": [0.9, 0.98], "rate": 1}
    config = FinetuneConfig.from_dict(fields)

    again = FinetuneConfig.from_dict(json.loads(json.dumps(config.to_dict())))

    assert again == config
    assert again.rate == 1.0


def test_read__takes_json(tmp_path):
    path = tmp_path / "run.json"
    path.write_text(json.dumps({**GIVEN, "steps": 10}), "utf-8")

    assert FinetuneConfig.read(path) == FinetuneConfig.from_dict({**GIVEN, "steps": 10})


def test_read__takes_toml_where_python_can(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text('model = "alphaclip-nano"\npairs = ["pairs"]\noutput = "run"\n', "utf-8")

    if sys.version_info >= (3, 11):
        assert FinetuneConfig.read(path) == FinetuneConfig.from_dict(GIVEN)
    else:
        with pytest.raises(ConfigError, match=r"TOML needs Python 3\.11"):
            FinetuneConfig.read(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("run.json", "{", "not valid JSON"),
        ("run.json", "[1]", "holds a list, expected fields by name"),
        ("run.yaml", "model: x", r"a \.json or \.toml file"),
        ("missing.json", None, "cannot be read"),
    ],
)
def test_read_fields__says_what_is_wrong_with_a_file(tmp_path, name, content, message):
    path = tmp_path / name
    if content is not None:
        path.write_text(content, "utf-8")

    with pytest.raises(ConfigError, match=message) as caught:
        read_fields(path)

    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"learning_rate": 1e-3}, "unknown field learning_rate; known are .*rate"),
        ({"rate": "fast"}, "rate is 'fast': expected a finite number"),
        ({"rate": float("nan")}, "rate is nan"),
        ({"rate": -1.0}, "rate is -1.0: expected at least 0"),
        ({"steps": 1.5}, "steps is 1.5: expected a whole number"),
        ({"steps": True}, "steps is True: expected a whole number"),
        ({"flip": 1}, "flip is 1: expected true or false"),
        ({"pairs": "folder"}, "pairs is 'folder': expected a list"),
        ({"pairs": []}, "pairs names no folder"),
        ({"model": ""}, "model is empty"),
        ({"output": ""}, "output is empty"),
        ({"betas": [0.9]}, "betas has 1 values: expected 2"),
        ({"betas": [0.9, 1.0]}, "betas have to be"),
        ({"gradient": "sum"}, "gradient is 'sum': expected 'accumulate', 'cache'"),
        ({"gradient": "cache"}, "needs a micro_batch"),
        ({"whole_share": 1.5}, "whole_share is 1.5: a share is from 0 to 1"),
        ({"context": [1.9, 1.1]}, "context has to be two sides"),
        ({"label_smoothing": 1.0}, "label_smoothing has to be"),
        ({"epochs": 0, "steps": 0}, "nothing would be trained"),
        ({"keep": ["newest"]}, "keep has to be a list of 'last', 'best'"),
        ({"loss": "sigmoid", "label_smoothing": 0.1}, "label_smoothing is for loss 'infonce'"),
        ({"loss": "sigmoid", "negatives": 2}, "negatives are further columns"),
        ({"loss": "sigmoid", "reference": True, "label_smoothing": 0.0}, "no loss 'sigmoid'"),
        ({"reference": True, "gradient": "cache", "micro_batch": 8}, "no gradient 'cache'"),
        ({"use_alpha": False, "unfrozen_blocks": 0}, "nothing would be trained"),
        ({"use_alpha": False, "alpha_init": "random"}, "alpha_init cannot be 'random'"),
        ({"lora_rank": 4, "unfrozen_blocks": 2}, "leave unfrozen_blocks out"),
        ({"batch_size": 1}, "batch_size is 1: expected at least 2"),
    ],
)
def test_config__refuses_what_cannot_be_meant(fields, message):
    with pytest.raises(ConfigError, match=message):
        FinetuneConfig.from_dict({**GIVEN, **fields})


def test_config__names_what_is_missing_and_the_source():
    with pytest.raises(ConfigError, match=r"run\.json: pairs, output missing"):
        FinetuneConfig.from_dict({"model": "alphaclip-nano"}, "run.json")

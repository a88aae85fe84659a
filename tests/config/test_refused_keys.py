"""What Model Zoo knows and we do not support is refused by name, and never ignored."""

from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from modelzoo_mediswift.config import modelzoo_keys
from modelzoo_mediswift.config.load import parse_config
from modelzoo_mediswift.config.modelzoo_keys import Refused
from modelzoo_mediswift.config.trainer import TrainerConfig
from modelzoo_mediswift.errors import UserError

SECTIONS: dict[str, Mapping[str, Refused]] = {
    "init": modelzoo_keys.INIT,
    "init.model": modelzoo_keys.MODEL,
    "init.backend": modelzoo_keys.BACKEND,
    "init.optimizer.AdamW": modelzoo_keys.ADAMW,
    "init.schedulers.0.LinearLR": modelzoo_keys.SCHEDULE,
    "init.checkpoint": modelzoo_keys.CHECKPOINT,
    "init.logging": modelzoo_keys.LOGGING,
    "init.sparsity": modelzoo_keys.SPARSITY,
    "fit.train_dataloader": modelzoo_keys.DATALOADER,
}
KEYS = [(path, key) for path, table in SECTIONS.items() for key in table]


def complete() -> dict[str, Any]:
    """A configuration with every section."""
    line = {"initial_learning_rate": 0, "end_learning_rate": 1, "total_iters": 5}
    return {
        "init": {
            "model": {"name": "gpt3"},
            "backend": {},
            "optimizer": {"AdamW": {}},
            "schedulers": [{"LinearLR": line}],
            "checkpoint": {},
            "logging": {"log_steps": 1},
            "sparsity": {"sparsity": 0.5},
            "loop": {"max_steps": 1},
        },
        "fit": {
            "train_dataloader": {
                "data_processor": "GptHDF5MapDataProcessor",
                "data_dir": "d",
                "batch_size": 1,
            }
        },
    }


def load_with(path: str, key: str, value: object) -> TrainerConfig:
    """The complete configuration with one key more."""
    trainer = complete()
    node: Any = trainer
    for step in path.split("."):
        node = node[int(step) if step.isdigit() else step]
    node[key] = value
    return parse_config(yaml.safe_dump({"trainer": trainer}, sort_keys=False), "f")


@pytest.mark.parametrize(("path", "key"), KEYS)
def test_refused_by_name_with_the_reason(path: str, key: str) -> None:
    refused = SECTIONS[path][key]
    with pytest.raises(UserError) as caught:
        load_with(path, key, "anything")
    message = str(caught.value)
    assert f": trainer.{path}.{key}: {refused.reason}" in message
    assert "unknown key" not in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("path", "key", "value"),
    [(path, key, value) for path, key in KEYS for value in SECTIONS[path][key].off],
)
def test_a_value_that_does_nothing_may_stand(path: str, key: str, value: object) -> None:
    assert load_with(path, key, value) == parse_config(yaml.safe_dump({"trainer": complete()}))


@pytest.mark.parametrize(
    ("path", "key", "value"),
    [
        ("init.model", "embedding_layer_norm", 0),  # false is off; 0 is another thing
        ("init.model", "position_embedding_offset", False),
        ("init.model", "attention_softmax_fp32", 1),
        ("fit.train_dataloader", "use_vsl", True),
        ("init.model", "moe", {"num_experts": 8}),
    ],
)
def test_only_the_very_value_does_nothing(path: str, key: str, value: object) -> None:
    with pytest.raises(UserError, match=f"trainer.{path}.{key}: "):
        load_with(path, key, value)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (
            "position_embedding_type",
            "rotary",
            "rotary position embeddings are Model Zoo's but not supported here; "
            'supported: learned (got "rotary")',
        ),
        (
            "position_embedding_type",
            None,
            "a model without position embeddings is Model Zoo's but not supported here; "
            "supported: learned (got null)",
        ),
        (
            "position_embedding_type",
            "learnt",
            'unknown kind of position embedding; supported: learned (got "learnt")',
        ),
        (
            "attention_type",
            "dot_product",
            "unscaled attention is Model Zoo's but not supported here; "
            'supported: scaled_dot_product (got "dot_product")',
        ),
        (
            "nonlinearity",
            "gelu_new",
            'only the exact GELU (by erf) is supported here; supported: gelu (got "gelu_new")',
        ),
        (
            "loss_scaling",
            "batch_size",
            "a loss per sequence is Model Zoo's but not supported here; "
            'supported: num_tokens (got "batch_size")',
        ),
        (
            "share_embedding_weights",
            False,
            "an output layer with its own weights is not supported here; "
            "supported: true (got false)",
        ),
        ("loss_weight", 0.5, "expected 1.0, since loss_scaling is num_tokens, got 0.5"),
        (
            "name",
            "llama",
            "llama is Model Zoo's but not supported here; supported: gpt3, mediswift",
        ),
        ("name", "gpt4", 'unknown model "gpt4"; did you mean "gpt3"? (known: gpt3, mediswift)'),
    ],
)
def test_one_value_of_several_is_supported(key: str, value: object, message: str) -> None:
    with pytest.raises(UserError) as caught:
        load_with("init.model", key, value)
    assert str(caught.value).endswith(f": trainer.init.model.{key}: {message}")


@pytest.mark.parametrize(
    "key",
    ["use_bias_in_output", "use_projection_bias_in_attention", "use_ffn_bias_in_attention",
     "use_ffn_bias"],
)  # fmt: skip
def test_biases_are_where_the_paper_has_them(key: str) -> None:
    supported = key != "use_bias_in_output"
    assert load_with("init.model", key, supported)
    with pytest.raises(UserError, match=f"trainer.init.model.{key}: .*is not supported here"):
        load_with("init.model", key, not supported)


@pytest.mark.parametrize(
    ("key", "names"),
    [
        ("optimizer", modelzoo_keys.OPTIMIZERS),
        ("schedulers", modelzoo_keys.SCHEDULERS),
        ("callbacks", modelzoo_keys.CALLBACKS),
        ("loggers", modelzoo_keys.LOGGERS),
    ],
)
def test_names_of_model_zoos_classes(key: str, names: Mapping[str, str]) -> None:
    for name, reason in names.items():
        entry: dict[str, Any] = {name.upper(): {}}  # Model Zoo compares without regard to case
        with pytest.raises(UserError) as caught:
            load_with("init", key, entry if key == "optimizer" else [entry])
        at = key if key == "optimizer" else f"{key}.0"
        assert f"trainer.init.{at}: {name} is Model Zoo's but not supported here: {reason}" in str(
            caught.value
        )


def test_data_processors() -> None:
    for name, reason in modelzoo_keys.DATA_PROCESSORS.items():
        with pytest.raises(UserError) as caught:
            load_with("fit.train_dataloader", "data_processor", name)
        assert f"trainer.fit.train_dataloader.data_processor: {reason}" in str(caught.value)


def test_initializers() -> None:
    for name in modelzoo_keys.INITIALIZERS:
        with pytest.raises(UserError) as caught:
            load_with("init.model", "initializer", {"name": name})
        assert str(caught.value).endswith(
            f"trainer.init.model.initializer.name: the {name} initializer is Model Zoo's but not "
            "supported here"
        )

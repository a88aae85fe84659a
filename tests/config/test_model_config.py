from collections.abc import Callable

import pytest

from modelzoo_mediswift.config.model import Normal, TruncatedNormal
from modelzoo_mediswift.config.trainer import TrainerConfig

Load = Callable[..., TrainerConfig]
Complaint = Callable[..., str]


def test_model_zoos_defaults(load: Load) -> None:
    model = load(("      hidden_size: 64\n      num_heads: 4\n", "")).init.model
    assert model.vocab_size == 50257
    assert model.max_position_embeddings == 1024
    assert model.hidden_size == 768
    assert model.num_hidden_layers == 12
    assert model.num_heads == 12
    assert model.filter_size == 3072
    assert model.dropout_rate == 0.1
    assert model.attention_dropout_rate == 0.1
    assert model.embedding_dropout_rate == 0.1
    assert model.layer_norm_epsilon == 1e-5
    assert model.compute_eval_metrics is True
    assert model.num_virtual_tokens == 0


def test_absent_dropout_rates_follow_dropout_rate(load: Load) -> None:
    model = load(("num_heads: 4", "num_heads: 4\n      dropout_rate: 0.3")).init.model
    assert model.embedding_dropout_rate == 0.3
    assert model.attention_dropout_rate == 0.1, "Model Zoo's own default"
    model = load(
        (
            "num_heads: 4",
            "dropout_rate: 0.3\n      attention_dropout_rate: null\n      num_heads: 4",
        )
    ).init.model
    assert model.attention_dropout_rate == 0.3


def test_absent_initializers(load: Load) -> None:
    model = load(("num_heads: 4", "num_heads: 4\n      num_hidden_layers: 8")).init.model
    plain = TruncatedNormal(mean=0.0, std=0.02, a=-0.04, b=0.04)
    assert model.embedding_initializer == plain
    assert model.initializer == plain
    # 0.02 / sqrt(2 * 8)
    assert model.output_layer_initializer == TruncatedNormal(std=0.005, a=-0.01, b=0.01)


def test_the_output_layers_follow_an_initializer_that_is_given(load: Load) -> None:
    """Model Zoo scales by depth only where neither of the two is given."""
    model = load(("num_heads: 4", "num_heads: 4\n      initializer: {name: normal, std: 0.1}"))
    assert model.init.model.initializer == Normal(std=0.1)
    assert model.init.model.output_layer_initializer == Normal(std=0.1)
    assert model.init.model.embedding_initializer == TruncatedNormal(std=0.02)


def test_initializer_by_its_name_alone(load: Load) -> None:
    model = load(("num_heads: 4", "num_heads: 4\n      initializer: truncated_normal")).init.model
    assert model.initializer == TruncatedNormal(mean=0.0, std=0.05, a=-0.1, b=0.1)


def test_a_faulty_initializer_is_reported_once(complaint: Complaint) -> None:
    text = complaint(("num_heads: 4", "num_heads: 4\n      initializer: {name: normal, std: -1}"))
    assert text == "7: trainer.init.model.initializer.std: expected a number > 0, got -1"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            "{name: truncated_normal, a: 1.0, b: 1.0}",
            "initializer.b: expected a number above a = 1.0, got 1.0",
        ),
        ("{name: truncated_normal, stdd: 1}", 'initializer.stdd: unknown key "stdd"'),
        ("{name: norml}", 'initializer.name: unknown initializer "norml"; did you mean "normal"?'),
        ("{std: 0.1}", "initializer: missing `name`; expected one of truncated_normal, normal"),
        ("3", "initializer: expected an initializer as a mapping with `name`, got 3"),
    ],
)
def test_faulty_initializers(complaint: Complaint, value: str, message: str) -> None:
    text = complaint(("num_heads: 4", f"num_heads: 4\n      initializer: {value}"))
    assert text.startswith(f"7: trainer.init.model.{message}")


def test_heads_divide_the_width(complaint: Complaint) -> None:
    assert complaint(("num_heads: 4", "num_heads: 5")) == (
        "6: trainer.init.model.num_heads: expected a divisor of hidden_size = 64, got 5"
    )


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("hidden_size", "-64", "an integer >= 1"),
        ("vocab_size", "600000", "an integer in [1, 512000]"),
        ("filter_size", "0", "an integer >= 1"),
        ("dropout_rate", "1.0", "a number in [0, 1)"),
        ("dropout_rate", "-0.1", "a number in [0, 1)"),
        ("layer_norm_epsilon", "0", "a number > 0"),
        ("compute_eval_metrics", "1", "true or false"),
        ("num_virtual_tokens", "-1", "an integer >= 0"),
    ],
)
def test_values_out_of_range_are_named(
    complaint: Complaint, key: str, value: str, expected: str
) -> None:
    if key == "hidden_size":
        text = complaint(("hidden_size: 64", f"hidden_size: {value}"))
        assert text == f"5: trainer.init.model.{key}: expected {expected}, got {value}"
    else:
        text = complaint(("num_heads: 4", f"num_heads: 4\n      {key}: {value}"))
        assert text == f"7: trainer.init.model.{key}: expected {expected}, got {value}"


def test_a_soft_prompt_needs_mediswift(load: Load, complaint: Complaint) -> None:
    model = load(("name: gpt3", "name: mediswift\n      num_virtual_tokens: 9")).init.model
    assert (model.name, model.num_virtual_tokens) == ("mediswift", 9)
    assert complaint(("name: gpt3", "name: gpt3\n      num_virtual_tokens: 9")) == (
        "5: trainer.init.model.num_virtual_tokens: a soft prompt needs `name: mediswift`, "
        "got name gpt3"
    )


def test_the_old_name_of_name(complaint: Complaint) -> None:
    assert complaint(("name: gpt3", "model_name: gpt3")).splitlines() == [
        "3: trainer.init.model.name: missing; this key is required",
        '4: trainer.init.model.model_name: renamed: write `name` (got "gpt3")',
    ]

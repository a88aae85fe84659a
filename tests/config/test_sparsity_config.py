from collections.abc import Callable

import pytest

from modelzoo_mediswift.config.sparsity import SparsityConfig
from modelzoo_mediswift.config.trainer import TrainerConfig

Load = Callable[..., TrainerConfig]
Complaint = Callable[..., str]


def sparsity(value: str) -> tuple[str, str]:
    """Change to the small file: the key added as its tenth line."""
    return ("    loop:", f"    sparsity: {value}\n    loop:")


@pytest.mark.parametrize("value", ["null", "[]"])
def test_dense(load: Load, value: str) -> None:
    assert load(sparsity(value)).init.sparsity == ()
    assert load().init.sparsity == ()


def test_a_level_alone(load: Load) -> None:
    assert load(sparsity("0.75")).init.sparsity == (
        SparsityConfig(algorithm="static", sparsity=0.75, init_method="random", param_filter=None),
    )


def test_zero_with_a_decimal_point_is_a_level(load: Load) -> None:
    assert load(sparsity("0.0")).init.sparsity == (SparsityConfig(sparsity=0.0),)


def test_one_block(load: Load) -> None:
    text = "{algorithm: STATIC, sparsity: 0.5, init_method: topk, param_filter: '*.weight'}"
    assert load(sparsity(text)).init.sparsity == (
        SparsityConfig(sparsity=0.5, init_method="topk", param_filter=("*.weight",)),
    )


def test_several_blocks_stay_in_order(load: Load) -> None:
    text = "[{sparsity: 0.5, param_filter: [a*, b*]}, {sparsity: 0.75, init_method: checkerboard}]"
    assert load(sparsity(text)).init.sparsity == (
        SparsityConfig(sparsity=0.5, param_filter=("a*", "b*")),
        SparsityConfig(sparsity=0.75, init_method="checkerboard"),
    )


AT = "10: trainer.init.sparsity"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("0", f"{AT}: expected a number in [0, 1) with a decimal point, got 0; write 0.0"),
        ("1", f"{AT}: expected a number in [0, 1) with a decimal point, got 1"),
        ("1.0", f"{AT}: expected a number in [0, 1), got 1.0"),
        ("-0.5", f"{AT}: expected a number in [0, 1), got -0.5"),
        (".nan", f"{AT}: expected a number in [0, 1), got nan"),
        ("true", f"{AT}: expected a number, a mapping or a list of mappings, got true"),
        ("'0.5'", f'{AT}: expected a number, a mapping or a list of mappings, got "0.5"'),
        ("{}", f"{AT}.sparsity: missing; this key is required"),
        ("{sparsity: 75.0}", f"{AT}.sparsity: expected a number in [0, 1), got 75.0"),
        ("{sparsity: '0.5'}", f'{AT}.sparsity: expected a number in [0, 1), got "0.5"'),
        (
            "{sparsity: {type: linear, init: 0.0, slope: 0.1}}",
            f"{AT}.sparsity: expected a number in [0, 1), got a schedule; "
            "static sparsity is constant",
        ),
        (
            "[{sparsity: 0.5}, {sparsity: 1.5}]",
            f"{AT}.1.sparsity: expected a number in [0, 1), got 1.5",
        ),
        ("[0.5]", f"{AT}.0: expected a mapping, got 0.5"),
        (
            "{sparsity: 0.5, algorithm: statc}",
            f'{AT}.algorithm: unknown algorithm "statc"; did you mean "static"? '
            "(known: gmp, rigl, set, static)",
        ),
        (
            "{sparsity: 0.5, init_method: randm}",
            f'{AT}.init_method: unknown init_method "randm"; did you mean "random"? '
            "(known: checkerboard, from_zeros, random, topk)",
        ),
        (
            "{sparsity: 0.5, param_filter: []}",
            f"{AT}.param_filter: expected at least one entry, got []",
        ),
        ("{sparsity: 0.5, param_filter: [3]}", f"{AT}.param_filter.0: expected text, got 3"),
        (
            "{sparsity: 0.5, seed: 1}",
            f'{AT}.seed: unknown key "seed" '
            "(known: algorithm, balance_in_groups, balance_out_groups, drop_fraction, "
            "init_method, param_filter, sparsity, update)",
        ),
        (
            "{sparsity: 0.5, type: static}",
            f'{AT}.type: is Release 2.1.1\'s key: write `algorithm` (got "static")',
        ),
        (
            "{sparsity: 0.5, add_summaries: true}",
            f"{AT}.add_summaries: is Release 2.1.1's key: write `- LogSparsity: {{}}` under "
            "trainer.init.callbacks (got true)",
        ),
    ],
)
def test_mistakes(complaint: Complaint, value: str, message: str) -> None:
    assert complaint(sparsity(value)) == message


def test_a_dense_model_that_is_sparse(complaint: Complaint) -> None:
    change = sparsity("0.5\n    callbacks: [{DensifyOnLoad: {}}]")
    assert complaint(change) == (
        "10: trainer.init.sparsity: DensifyOnLoad makes the model dense; leave this key out"
    )

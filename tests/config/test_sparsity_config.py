from collections.abc import Callable

import pytest

from modelzoo_mediswift.config.sparsity import SparsityConfig
from modelzoo_mediswift.config.sparsity_schedule import (
    AtSteps,
    Cosine,
    Cycling,
    EveryFreq,
    Exp,
    Power,
)
from modelzoo_mediswift.config.trainer import TrainerConfig

Load = Callable[..., TrainerConfig]
Complaint = Callable[..., str]


def sparsity(value: str) -> tuple[str, str]:
    """Change to the small file: the key added as its tenth line."""
    return ("    loop:", f"    sparsity: {value}\n    loop:")


@pytest.mark.parametrize("value", ["null", "[]"])
def test_no_sparsity_is_dense(load: Load, value: str) -> None:
    assert load(sparsity(value)).init.sparsity == ()
    assert load().init.sparsity == ()


def test_a_bare_number_is_a_static_random_level(load: Load) -> None:
    assert load(sparsity("0.75")).init.sparsity == (
        SparsityConfig(algorithm="static", sparsity=0.75, init_method="random", param_filter=None),
    )


def test_zero_with_a_decimal_point_is_a_level(load: Load) -> None:
    assert load(sparsity("0.0")).init.sparsity == (SparsityConfig(sparsity=0.0),)


def test_one_block_of_settings(load: Load) -> None:
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
            "{sparsity: 0.5, algorithm: static, type: static}",
            f'{AT}.type: unknown key "type" '
            "(known: algorithm, balance_in_groups, balance_out_groups, drop_fraction, "
            "init_method, param_filter, sparsity, update)",
        ),
        (
            "{sparsity: 0.5, param_name_patterns: 'fc.*'}",
            f"{AT}.param_name_patterns: is Release 2.1.1's key: write `param_filter`, with globs "
            'in place of regular expressions (got "fc.*")',
        ),
        (
            "{sparsity: 0.5, add_summaries: true}",
            f"{AT}.add_summaries: is Release 2.1.1's key: write `- LogSparsity: {{}}` under "
            "trainer.init.callbacks (got true)",
        ),
    ],
)
def test_mistakes_are_named(complaint: Complaint, value: str, message: str) -> None:
    assert complaint(sparsity(value)) == message


def block(text: str) -> str:
    return "{algorithm: " + text + "}"


def test_dynamic_blocks(load: Load) -> None:
    text = (
        "[{algorithm: GMP, sparsity: {type: Cosine, init: 0.9, half_period: 10}, "
        "update: {freq: 5, start: 1, stop: 9}}, "
        "{algorithm: set, sparsity: [0.5, 0.75], update: {steps: [0, 3]}, drop_fraction: 1}, "
        "{algorithm: rigl, sparsity: 0.9, drop_fraction: {type: power, init: 0.3, beta: 0.99}, "
        "balance_in_groups: 4}]"
    )
    gmp, evolved, rigl = load(sparsity(text)).init.sparsity
    assert gmp.sparsity == Cosine(type="cosine", init=0.9, half_period=10.0, minimum=0.0)
    assert gmp.update == EveryFreq(freq=5, start=1, stop=9)
    assert evolved.sparsity == Cycling(type="cycling", values=(0.5, 0.75))
    assert evolved.update == AtSteps(steps=(0, 3))
    assert evolved.drop_fraction == 1.0
    assert rigl.drop_fraction == Power(type="power", init=0.3, beta=0.99)
    assert (rigl.update, rigl.balance_in_groups, rigl.balance_out_groups) == (None, 4, None)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            "gmp, sparsity: 0.5",
            f"{AT}.sparsity: expected a schedule or a list, since gmp at a constant level never "
            "changes its masks; for that, write algorithm: static",
        ),
        ("set, sparsity: 1.5", f"{AT}.sparsity: expected a number in [0, 1), got 1.5"),
        (
            "set, sparsity: {init: 0.5}",
            f"{AT}.sparsity: expected a schedule with `type`, one of constant, linear, exp, "
            "power, cosine, cycling, got null",
        ),
        (
            "set, sparsity: {type: linaer, init: 0.5}",
            f'{AT}.sparsity: unknown type "linaer"; did you mean "linear"? '
            "(known: constant, cosine, cycling, exp, linear, power)",
        ),
        (
            "gmp, sparsity: {type: linear, init: 0.5, slop: 0.1}",
            f'{AT}.sparsity.slop: unknown key "slop"; did you mean "slope"? '
            "(known: init, slope, type)\n"
            f"{AT}.sparsity.slope: missing; this key is required",
        ),
        (
            "gmp, sparsity: {type: linear, init: 5, slope: 0.1}",
            f"{AT}.sparsity.init: expected a number in [0, 1], got 5",
        ),
        ("gmp, sparsity: [0.5, 2.0]", f"{AT}.sparsity.1: expected a number in [0, 1], got 2.0"),
        (
            "set, sparsity: 0.5, update: {frq: 5}",
            f'{AT}.update: unknown key "frq"; did you mean "freq"? '
            "(known: freq, start, steps, stop)",
        ),
        (
            "set, sparsity: 0.5, update: {freq: 0}",
            f"{AT}.update.freq: expected an integer >= 1, got 0",
        ),
        (
            "set, sparsity: 0.5, update: {start: 5}",
            f"{AT}.update: expected {{freq, start, stop}}, of which freq is required, or "
            "{steps: [...]}",
        ),
        (
            "set, sparsity: 0.5, update: 5",
            f"{AT}.update: expected {{freq, start, stop}} or {{steps: [...]}}, got 5",
        ),
        (
            "set, sparsity: 0.5, drop_fraction: 1.5",
            f"{AT}.drop_fraction: expected a number in [0, 1] or a schedule, got 1.5",
        ),
        (
            "set, sparsity: 0.5, drop_fractoin: 0.5",
            f'{AT}.drop_fractoin: unknown key "drop_fractoin"; did you mean "drop_fraction"? '
            "(known: algorithm, balance_in_groups, balance_out_groups, drop_fraction, "
            "init_method, param_filter, sparsity, update)",
        ),
        (
            "static, sparsity: 0.5, drop_fraction: 0.3",
            f"{AT}.drop_fraction: means nothing for algorithm: static (for: set, rigl)",
        ),
        (
            "static, sparsity: 0.5, update: {freq: 3}",
            f"{AT}.update: means nothing for algorithm: static (for: gmp, set, rigl)",
        ),
        (
            "set, sparsity: 0.5, balance_out_groups: 2",
            f"{AT}.balance_out_groups: means nothing for algorithm: set (for: rigl)",
        ),
        (
            "rigl, sparsity: 0.5, balance_out_groups: 2, balance_in_groups: 2",
            f"{AT}.balance_out_groups: excludes balance_in_groups; write one of them",
        ),
    ],
)
def test_mistakes_in_dynamic_blocks(complaint: Complaint, value: str, message: str) -> None:
    assert complaint(sparsity(block(value))) == message


def test_keys_of_release_2_1_1_are_translated_aloud(
    load: Load, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "{type: rigl, sparsity: 0.5, schedule: {freq: 100, stop: 300}}"
    (rigl,) = load(sparsity(text)).init.sparsity
    assert (rigl.algorithm, rigl.update) == ("rigl", EveryFreq(freq=100, stop=300))
    err = capsys.readouterr().err
    assert err.endswith(
        "small.yaml:10: trainer.init.sparsity: old keys: `type` as `algorithm`, "
        "`schedule` as `update`\n"
    )
    text = "[{algorithm: gmp, schedule: {type: exp, init: 0.5, gamma: -0.1}}]"
    (gmp,) = load(sparsity(text)).init.sparsity
    assert gmp.sparsity == Exp(type="exp", init=0.5, gamma=-0.1, final=1.0)
    assert "sparsity.0: old keys: `schedule` as `sparsity`" in capsys.readouterr().err


def test_simple_patterns_of_release_2_1_1_become_globs(
    load: Load, capsys: pytest.CaptureFixture[str]
) -> None:
    text = r"{sparsity: 0.5, param_name_patterns: ['.*proj_[qkv]_dense_layer.weight', '.*\.fc.*']}"
    (block,) = load(sparsity(text)).init.sparsity
    assert block.param_filter == ("*proj_[qkv]_dense_layer.weight", "*.fc*")
    err = capsys.readouterr().err
    assert err.endswith(
        "old keys: `param_name_patterns` as "
        '`param_filter: ["*proj_[qkv]_dense_layer.weight", "*.fc*"]`\n'
    )


@pytest.mark.parametrize(
    "pattern", ["fc.*", ".*(a|b).weight", ".*fc", ".*x?weight", ".*[^k]weight"]
)
def test_other_patterns_are_left_to_the_user(
    load: Load, complaint: Complaint, pattern: str
) -> None:
    text = sparsity(f"{{sparsity: 0.5, param_name_patterns: '{pattern}'}}")
    assert "param_name_patterns: is Release 2.1.1's key" in complaint(text)


def test_a_dense_model_that_is_sparse(complaint: Complaint) -> None:
    change = sparsity("0.5\n    callbacks: [{DensifyOnLoad: {}}]")
    assert complaint(change) == (
        "10: trainer.init.sparsity: DensifyOnLoad makes the model dense; leave this key out"
    )

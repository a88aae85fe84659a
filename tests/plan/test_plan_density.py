import math
from dataclasses import dataclass

import pytest

from modelzoo_mediswift.config import sparsity_schedule as config
from modelzoo_mediswift.config.sparsity import SparsityConfig
from modelzoo_mediswift.plan.density import gradient_share, mean_sparsity
from modelzoo_mediswift.plan.inputs import SparsityBlock
from modelzoo_mediswift.plan.memory import training_memory
from modelzoo_mediswift.plan.parameters import count_parameters


@dataclass(frozen=True)
class Model:
    """One layer of width 4: 192 weights in its matrices."""

    vocab_size: int = 10
    max_position_embeddings: int = 5
    num_virtual_tokens: int = 0
    hidden_size: int = 4
    num_hidden_layers: int = 1
    num_heads: int = 2
    filter_size: int = 16


def block(**keys: object) -> SparsityBlock:
    return SparsityConfig.model_validate(keys)


def test_a_constant_level_is_its_own_mean():
    assert mean_sparsity(block(sparsity=0.75), 100) == 0.75
    assert mean_sparsity(block(algorithm="set", sparsity=0.75), None) == 0.75


def test_training_is_dense_before_the_first_change():
    late = block(algorithm="rigl", sparsity=0.8, update={"freq": 100, "start": 25})
    assert mean_sparsity(late, 100) == pytest.approx(0.8 * 75 / 100)


def test_a_level_holds_until_the_next_change():
    # Steps 1-4 at the level of step 0, 5-8 at that of step 4, 9 and 10 at that of step 8.
    gmp = block(
        algorithm="gmp",
        sparsity={"type": "linear", "init": 0.1, "slope": 0.05},
        update={"freq": 4},
    )
    assert mean_sparsity(gmp, 10) == pytest.approx((4 * 0.1 + 4 * 0.3 + 2 * 0.5) / 10)
    clamped = block(algorithm="gmp", sparsity={"type": "linear", "init": 0.5, "slope": 1})
    assert mean_sparsity(clamped, 4) == pytest.approx((0.5 + 1 + 1 + 1) / 4)


def test_a_cycle_goes_on_at_changes():
    cycle = block(algorithm="gmp", sparsity=[0.2, 0.4, 0.9], update={"steps": [0, 2, 5]})
    assert mean_sparsity(cycle, 10) == pytest.approx((2 * 0.2 + 3 * 0.4 + 5 * 0.9) / 10)


def test_an_unknown_length_takes_the_first_level():
    exp = block(algorithm="gmp", sparsity={"type": "exp", "init": 0.25, "gamma": -0.1})
    assert mean_sparsity(exp, None) == 0.25


def test_rigls_gradients():
    rigl = block(algorithm="rigl", sparsity=0.75, update={"freq": 20, "stop": 225})
    assert gradient_share(rigl, 300) == 11 / 300
    assert gradient_share(block(algorithm="set", sparsity=0.75), 300) == 0.0
    # 192 weights, 48 kept; the gradients of 144 in 11 of 300 steps.
    counts = count_parameters(Model(), [rigl], 300)
    assert counts.regrowth == pytest.approx(144 * 11 / 300)
    assert counts.kept_gradients == 192
    memory = training_memory(Model(), counts, sequences=1, sequence_length=5, mixed=False)
    assert memory.gradients - memory.weights == 4 * 192


@pytest.mark.parametrize(
    ("keys", "step", "value"),
    [
        ({"type": "constant", "value": 0.3}, 7, 0.3),
        ({"type": "exp", "init": 0.0, "gamma": math.log(0.5)}, 3, 0.875),
        ({"type": "power", "init": 0.5, "beta": 0.5}, 2, 0.125),
        ({"type": "power", "init": 0.5, "beta": 2.0}, 100_000, 0.5 * math.exp(700)),
        ({"type": "cosine", "init": 0.8, "half_period": 10, "minimum": 0.4}, 10, 0.4),
    ],
)
def test_formulas_by_hand(keys, step, value):
    schedule = config.read_schedule(keys)
    assert schedule.at(step, 0) == pytest.approx(value)

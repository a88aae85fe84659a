import math
import time
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


def walked(block: SparsityBlock, steps: int) -> float:
    """The mean, step by step."""
    level, changes, levels = 0.0, 0, []
    own = set(range(steps) if block.update is None else block.update.before(steps))
    for step in range(steps):
        if step in own:
            level = min(max(block.sparsity.at(step, changes), 0.0), 1.0)
            changes += 1
        levels.append(level)
    return math.fsum(levels) / steps


SCHEDULES = [
    {"type": "linear", "init": 0.2, "slope": 1e-4},  # reaches 1
    {"type": "linear", "init": 0.9, "slope": -1e-3},  # reaches 0
    {"type": "linear", "init": 0.5, "slope": 0},
    {"type": "exp", "init": 0.1, "gamma": -1e-3, "final": 0.75},
    {"type": "exp", "init": 0.1, "gamma": 0, "final": 0.75},
    {"type": "power", "init": 0.9, "beta": 0.999},
    {"type": "power", "init": 0.1, "beta": 1.001},  # reaches 1
    {"type": "power", "init": 0.1, "beta": 50},  # and the greatest float
    {"type": "power", "init": 0.0, "beta": 50},
    {"type": "power", "init": 0.4, "beta": 1},
    {"type": "cosine", "init": 0.8, "half_period": 700, "minimum": 0.3},
    {"type": "cosine", "init": 0.8, "half_period": 3.5, "minimum": 0.3},  # as often as it changes
    {"type": "cosine", "init": 0.8, "half_period": 0.01},
    {"type": "cycling", "values": [0.1, 0.5, 0.9]},
]


@pytest.mark.parametrize(
    "update", [None, {"freq": 7}, {"freq": 3, "start": 11}, {"freq": 2, "start": 5, "stop": 4000}]
)
@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_a_sum_in_closed_form_is_the_walk(schedule, update):
    gmp = block(algorithm="gmp", sparsity=schedule, update=update)
    for steps in (1, 5, 6, 12, 9001):
        assert mean_sparsity(gmp, steps) == pytest.approx(walked(gmp, steps), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_a_billion_changes_take_no_time(schedule):
    gmp = block(algorithm="gmp", sparsity=schedule, update={"freq": 1})
    start = time.perf_counter()
    mean = mean_sparsity(gmp, 10**9)
    assert time.perf_counter() - start < 0.1
    assert 0 <= mean <= 1
    rigl = block(algorithm="rigl", sparsity=0.75, update={"freq": 1})
    assert gradient_share(rigl, 10**9) == 1.0


def test_a_billion_steps_by_hand():
    gmp = block(algorithm="gmp", sparsity={"type": "exp", "init": 0.0, "gamma": -1e-7})
    # 1 - (1 - e^-100) / (1 - e^-1e-7) / 1e9
    assert mean_sparsity(gmp, 10**9) == pytest.approx(1 - 0.010000000500, abs=1e-11)
    cosine = {"type": "cosine", "init": 0.8, "half_period": 10**9, "minimum": 0.4}
    gmp = block(algorithm="gmp", sparsity=cosine)
    assert mean_sparsity(gmp, 10**9) == pytest.approx(0.6 + 0.2 / 10**9, abs=1e-12)


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

import math

import pytest

from modelzoo_mediswift.sparsity.schedules import (
    EVERY_STEP,
    SCHEDULES,
    Constant,
    Cosine,
    Cycling,
    Every,
    Exp,
    Linear,
    Listed,
    Power,
)


@pytest.mark.parametrize(
    ("schedule", "step", "value"),
    [
        (Constant(0.75), 1000, 0.75),
        (Linear(0.25, 0.125), 4, 0.75),
        (Exp(0.0, math.log(0.5)), 3, 0.875),
        (Exp(0.5, math.log(0.5), final=0.9), 1, 0.7),
        (Power(0.5, 0.5), 2, 0.125),
        (Cosine(0.3, 10), 0, 0.3),
        (Cosine(0.3, 10), 5, 0.15),
        (Cosine(0.3, 10), 10, 0.0),
        (Cosine(0.8, 10, minimum=0.4), 10, 0.4),
        (Cosine(0.8, 10, minimum=0.4), 20, 0.8),
    ],
)
def test_values_by_hand(schedule, step, value):
    assert schedule(step, 0) == pytest.approx(value, abs=1e-7)


def test_a_cycle_moves_on_at_changes_and_starts_again():
    cycle = Cycling((0.25, 0.5, 0.75))
    assert [cycle(99, updates) for updates in range(5)] == [0.25, 0.5, 0.75, 0.25, 0.5]


def test_single_precision_is_the_librarys():
    assert Constant(0.9)(0, 0) == 0.8999999761581421
    assert Linear(0.0, 0.1)(3, 0) == 0.30000001192092896


@pytest.mark.parametrize(
    ("updates", "steps"),
    [
        (EVERY_STEP, list(range(12))),
        (Every(4), [0, 4, 8]),
        (Every(4, start=2), [2, 6, 10]),
        (Every(4, stop=8), [0, 4]),
        (Every(5, start=1, stop=7), [1, 6]),
        (Every(3, start=20), []),
        (Listed(frozenset({7, 2})), [2, 7]),
    ],
)
def test_steps_of_changes(updates, steps):
    assert [s for s in range(12) if s in updates] == steps
    assert [updates.before(s) for s in range(12)] == [sum(u < s for u in steps) for s in range(12)]


def test_every_schedule_of_the_library_is_there():
    assert list(SCHEDULES) == ["constant", "linear", "exp", "power", "cosine", "cycling"]

import pytest

from modelzoo_mediswift.optim.schedules import ConstantLR, CosineDecayLR, LinearLR, SequentialLR


def test_the_papers_schedule():
    schedule = SequentialLR([LinearLR(0.0, 2e-4, 20_000), CosineDecayLR(2e-4, 2e-5, 180_000)])
    assert schedule.total_iters == 200_000
    assert schedule(0) == 0.0
    assert schedule(5_000) == pytest.approx(5e-5)
    assert schedule(20_000) == pytest.approx(2e-4)
    assert schedule(110_000) == pytest.approx((2e-4 + 2e-5) / 2)  # half-way down the cosine
    assert schedule(65_000) == pytest.approx(2e-5 + 1.8e-4 * 0.8535533905932737)  # a quarter
    assert schedule(200_000) == pytest.approx(2e-5)
    assert schedule(300_000) == pytest.approx(2e-5)


def test_constant_and_three_phases():
    schedule = SequentialLR([LinearLR(0.0, 1.0, 2), ConstantLR(1.0, 3), LinearLR(1.0, 0.0, 2)])
    assert [schedule(i) for i in range(9)] == [0.0, 0.5, 1.0, 1.0, 1.0, 1.0, 0.5, 0.0, 0.0]


def test_at_its_milestone_the_next_schedule_counts():
    schedule = SequentialLR([ConstantLR(1.0, 2), LinearLR(0.5, 0.0, 2)])
    assert [schedule(i) for i in range(5)] == [1.0, 1.0, 0.5, 0.25, 0.0]

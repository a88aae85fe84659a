from pathlib import Path

import pytest

from modelzoo_mediswift.trainer.callbacks.base import Run
from modelzoo_mediswift.trainer.callbacks.rate import Rate


def test_tokens_per_second_and_utilisation_by_hand():
    now = [100.0]
    run = Run(Path(), 0, 10, 1, dense_flops_per_token=2e9, peak_flops=1e13)
    rate = Rate(run, clock=lambda: now[0])
    assert rate.tokens_per_second == 0.0
    rate.add(3000)
    rate.add(1000)
    now[0] = 102.0
    assert rate.tokens_per_second == pytest.approx(2000)
    assert rate.mfu == pytest.approx(2000 * 2e9 / 1e13)
    rate.restart()
    now[0] = 103.0
    assert rate.tokens_per_second == 0.0


def test_no_utilisation_without_a_known_peak():
    assert Rate(Run(Path(), 0, 10, 1, dense_flops_per_token=2e9)).mfu is None


def test_both_conventions_and_what_sparsity_saves():
    now = [0.0]
    run = Run(
        Path(),
        0,
        10,
        1,
        flops_per_token=5e8,
        dense_flops_per_token=2e9,
        palm_flops_per_token=1.8e9,
        peak_flops=1e13,
    )
    rate = Rate(run, clock=lambda: now[0])
    rate.add(3000)
    rate.restart()
    rate.add(1000)
    now[0] = 1.0
    assert rate.mfu == pytest.approx(0.2)
    assert rate.palm_mfu == pytest.approx(0.18)
    assert rate.flops_saved == pytest.approx(4000 * 1.5e9)

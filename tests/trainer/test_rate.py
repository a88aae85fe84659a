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

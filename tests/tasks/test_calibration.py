import math

import pytest

from modelzoo_mediswift.tasks.calibration import calibration


def logs(*shares: float) -> dict[str, float]:
    return {label: math.log(share) - 7 for label, share in zip("abc", shares, strict=True)}


def test_hand_computed() -> None:
    answers = [
        logs(0.75, 0.15, 0.1),
        logs(0.2, 0.72, 0.08),
        logs(0.1, 0.1, 0.8),
        logs(0.4, 0.3, 0.3),
    ]
    found = calibration(answers, ["a", "a", "c", "a"])
    # (0.7, 0.8]: confidences 0.75, 0.72 and 0.8, two of three right; (0.3, 0.4]: 0.4, right.
    assert [b.count for b in found.bins] == [1, 3]
    assert found.bins[1].confidence == pytest.approx((0.75 + 0.72 + 0.8) / 3)
    assert found.bins[1].accuracy == pytest.approx(2 / 3)
    gap = abs((0.75 + 0.72 + 0.8) / 3 - 2 / 3)
    assert found.ece == pytest.approx(3 / 4 * gap + 1 / 4 * 0.6)
    assert found.mean_confidence == pytest.approx((0.75 + 0.72 + 0.8 + 0.4) / 4)


def test_a_confidence_on_an_edge_is_in_the_bin_below() -> None:
    (one,) = calibration([{"a": -7.0, "b": -7.0}], ["a"]).bins
    assert (one.low, one.high, one.confidence) == (0.4, 0.5, 0.5)


def test_certain_and_right_is_calibrated() -> None:
    certain = {"a": -3.0, "b": -2000.0, "c": -3000.0}
    assert calibration([certain], ["a"]).ece == 0
    assert calibration([certain], ["b"]).ece == 1

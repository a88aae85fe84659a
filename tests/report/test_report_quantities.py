import pytest

from modelzoo_mediswift.report.quantities import (
    count,
    decimal,
    duration,
    percent,
    power,
    ratio,
)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (count(1_234_567), "1,234,567"),
        (decimal(2.1414), "2.141"),
        (decimal(0.00014), "0.00014"),
        (decimal(0.0), "0.000"),
        (percent(0.3055), "30.6 %"),
        (percent(0.75, 2), "75.00 %"),
        (power(3.4484e20), "3.448e20"),
        (power(0.0), "0.000e0"),
        (duration(4.25), "4.2 s"),
        (duration(59.7), "1 min 00 s"),
        (duration(7500), "2 h 05 min"),
        (duration(524_288), "6 d 01 h"),
    ],
)
def test_numbers_as_they_are_written(written, expected):
    assert written == expected


def test_missing_number_is_a_dash():
    assert {f(None) for f in (count, decimal, percent, power, duration)} == {"-"}


def test_ratio_to_nothing_is_missing():
    assert ratio(1, 4) == 0.25
    assert ratio(1, 0) is ratio(1, None) is ratio(None, 1) is None

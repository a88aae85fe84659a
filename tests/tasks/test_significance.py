import pytest

from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.tasks.significance import compare, mcnemar_exact


def test_exact_p_by_hand() -> None:
    # Of 6 examples that one alone gets right, 1 or fewer: (1 + 6) / 64, on both sides.
    assert mcnemar_exact(1, 5) == mcnemar_exact(5, 1) == pytest.approx(2 * 7 / 64)
    assert mcnemar_exact(0, 5) == pytest.approx(2 / 32)
    assert mcnemar_exact(3, 3) == mcnemar_exact(0, 0) == 1
    assert 0 < mcnemar_exact(900, 1100) < 1e-5  # too long for floats


def test_examples_are_sorted_by_who_is_right() -> None:
    gold = {"1": "a", "2": "a", "3": "b", "4": "b", "5": "b"}
    first = {"1": "a", "2": "b", "3": "b", "4": None, "5": "b"}
    second = {"1": "a", "2": "a", "3": None, "4": None, "5": "a"}
    found = compare(first, second, gold)
    assert (found.both, found.only_first, found.only_second, found.neither) == (1, 2, 1, 1)
    assert found.p_value == 1
    with pytest.raises(UserError, match="1 missing"):
        compare(first, {k: v for k, v in second.items() if k != "3"}, gold)

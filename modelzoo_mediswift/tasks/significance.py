"""Whether two models differ on the same test examples."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from modelzoo_mediswift.tasks.scoring import check_ids


@dataclass(frozen=True)
class Comparison:
    """Examples by who is right; only those where one model alone is right tell them apart."""

    both: int
    only_first: int
    only_second: int
    neither: int
    p_value: float
    """McNemar's exact test, two-sided: of so uneven a split, or a more uneven one, by chance."""


def compare(
    first: Mapping[str, str | None], second: Mapping[str, str | None], gold: Mapping[str, str]
) -> Comparison:
    """Two models' predictions by example id. Raises UserError unless all ids are the same."""
    check_ids(first, gold)
    check_ids(second, gold)
    right = [(first[key] == label, second[key] == label) for key, label in gold.items()]
    only_first, only_second = right.count((True, False)), right.count((False, True))
    return Comparison(
        both=right.count((True, True)),
        only_first=only_first,
        only_second=only_second,
        neither=right.count((False, False)),
        p_value=mcnemar_exact(only_first, only_second),
    )


def mcnemar_exact(only_first: int, only_second: int) -> float:
    """Two-sided p of the binomial distribution with n = the sum and p = 1/2."""
    n = only_first + only_second
    tail = sum(math.comb(n, k) for k in range(min(only_first, only_second) + 1))
    return min(1.0, 2 * tail / 2**n)  # integers: exact, and no overflow

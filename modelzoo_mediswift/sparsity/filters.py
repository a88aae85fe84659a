"""Where sparsity goes: parameter filters, with the meaning they have in cstorch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.sparsity.schedules import EVERY_STEP, Schedule, Updates

# Without a filter every matrix is sparsified but these, as in cstorch's default filter.
DENSE_BY_DEFAULT = ("embedding", "norm", "lm_head", "pe_helper")


@dataclass(frozen=True)
class SparsityRule:
    """One block of the YAML's `sparsity`: `sparsity` is the fraction of zeros.

    What follows `param_filter` is for algorithms that change their masks.
    """

    sparsity: float | Schedule
    init_method: str = "random"
    param_filter: tuple[str, ...] | None = None
    algorithm: str = "static"
    updates: Updates = EVERY_STEP
    drop_fraction: float | Schedule = 0.3
    balance_in_groups: int | None = None
    balance_out_groups: int | None = None


def match_rules(
    shapes: Mapping[str, Sequence[int]], rules: Iterable[SparsityRule]
) -> dict[str, SparsityRule]:
    """The rule of each parameter to be sparsified, in the order of `shapes`; the first match wins.

    Raises UserError for a glob that matches no parameter: it is a typo, and a run that
    silently trains dense is the costliest kind.
    """
    rules = list(rules)
    for rule in rules:
        for glob in rule.param_filter or ():
            if not any(fnmatchcase(name, glob) for name in shapes):
                raise UserError(
                    f'sparsity.param_filter: "{glob}" matches no parameter '
                    f"(parameters look like {next(iter(shapes), '<none>')})"
                )
    chosen = {}
    for name, shape in shapes.items():
        for rule in rules:
            if _matches(name, shape, rule):
                chosen[name] = rule
                break
    return chosen


def _matches(name: str, shape: Sequence[int], rule: SparsityRule) -> bool:
    if rule.param_filter is None:
        return len(shape) > 1 and not any(part in name.lower() for part in DENSE_BY_DEFAULT)
    return any(fnmatchcase(name, glob) for glob in rule.param_filter)

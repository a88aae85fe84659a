"""Static sparsity: masks drawn once, before the first step, and kept."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.sparsity.filters import SparsityRule
from modelzoo_mediswift.sparsity.masks import INIT_METHODS, WHOLE, Groups, parameter_generator
from modelzoo_mediswift.sparsity.schedules import Constant, Schedule


class Static:
    """One block's way with masks; the algorithms that change them override what they change."""

    def __init__(self, rule: SparsityRule, seed: int) -> None:
        self.rule = rule
        self.seed = seed
        self.sparsity = as_schedule(rule.sparsity)
        self.groups = _groups(rule)

    def changes_at(self, step: int) -> bool:
        """Whether masks change right after optimizer step number `step` (from 1 on)."""
        return False

    def needs_gradient(self, step: int) -> bool:
        """Whether that change needs the gradients of masked weights too."""
        return False

    def level(self, step: int) -> float:
        """The fraction of zeros aimed at."""
        return as_fraction(self.sparsity(0, 0))

    def initial_mask(self, name: str, weight: Tensor) -> Tensor:
        """The mask of a parameter before the first step, on the CPU."""
        self.groups.check(name, weight.shape)
        init = INIT_METHODS[self.rule.init_method]
        return init(weight, self.level(0), parameter_generator(self.seed, name), self.groups)


class Dynamic(Static, ABC):
    """Masks that change at the steps that `update` names."""

    @abstractmethod
    def new_mask(
        self, name: str, weight: Tensor, mask: Tensor, gradient: Tensor | None, step: int
    ) -> Tensor:
        """The mask after a change; `weight` is as the optimizer left it."""

    def changes_at(self, step: int) -> bool:
        return step in self.rule.updates

    def level(self, step: int) -> float:
        return as_fraction(self.sparsity(step, self.rule.updates.before(step)))

    def initial_mask(self, name: str, weight: Tensor) -> Tensor:
        if self.changes_at(0):
            return super().initial_mask(name, weight)
        self.groups.check(name, weight.shape)
        return torch.ones_like(weight, dtype=torch.bool, device="cpu")


def as_schedule(value: float | Schedule) -> Schedule:
    """A number is the same at every step."""
    return Constant(value) if isinstance(value, int | float) else value


def as_fraction(value: float) -> float:
    """A schedule may leave [0, 1]; what it is for cannot."""
    return min(max(value, 0.0), 1.0)


def _groups(rule: SparsityRule) -> Groups:
    if rule.balance_in_groups and rule.balance_out_groups:
        raise UserError("sparsity: balance_in_groups and balance_out_groups exclude each other")
    if rule.balance_in_groups:
        return Groups(rule.balance_in_groups, of_inputs=True)
    return Groups(rule.balance_out_groups) if rule.balance_out_groups else WHOLE

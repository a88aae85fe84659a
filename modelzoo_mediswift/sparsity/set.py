"""Sparse evolutionary training (Mocanu et al., 2018, arXiv 1707.04780)."""

from __future__ import annotations

import torch
from torch import Tensor

from modelzoo_mediswift.sparsity.filters import SparsityRule
from modelzoo_mediswift.sparsity.masks import drop_and_grow, parameter_generator
from modelzoo_mediswift.sparsity.static import Dynamic, as_fraction, as_schedule


class SET(Dynamic):
    """Drops the smallest weights and grows as many elsewhere, at random."""

    def __init__(self, rule: SparsityRule, seed: int) -> None:
        super().__init__(rule, seed)
        self.drop_fraction = as_schedule(rule.drop_fraction)

    def new_mask(
        self, name: str, weight: Tensor, mask: Tensor, gradient: Tensor | None, step: int
    ) -> Tensor:
        return drop_and_grow(
            weight.abs(),
            self.growth_scores(name, weight, gradient, step),
            mask,
            sparsity=self.level(step),
            drop_fraction=self.fraction_to_drop(step),
            groups=self.groups,
        )

    def fraction_to_drop(self, step: int) -> float:
        """Of the kept weights. Drawing the initial masks drops nothing, so it does not count."""
        changes = self.rule.updates.before(step) - self.changes_at(0)
        return as_fraction(self.drop_fraction(step, changes))

    def growth_scores(
        self, name: str, weight: Tensor, gradient: Tensor | None, step: int
    ) -> Tensor:
        """Where to grow: the largest scores. Drawn on the CPU, to be the same on every device."""
        scores = torch.rand(weight.shape, generator=parameter_generator(self.seed, name, step))
        return scores.to(weight.device)

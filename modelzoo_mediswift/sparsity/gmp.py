"""Gradual magnitude pruning (Zhu and Gupta, 2017, arXiv 1710.01878)."""

from __future__ import annotations

from torch import Tensor

from modelzoo_mediswift.sparsity.masks import largest
from modelzoo_mediswift.sparsity.static import Dynamic


class GMP(Dynamic):
    """Keeps the largest weights; the level follows its schedule."""

    def new_mask(
        self, name: str, weight: Tensor, mask: Tensor, gradient: Tensor | None, step: int
    ) -> Tensor:
        return largest(weight.abs(), self.level(step), self.groups)

"""RigL (Evci et al., 2020, arXiv 1911.11134)."""

from __future__ import annotations

from torch import Tensor

from modelzoo_mediswift.sparsity.set import SET


class RigL(SET):
    """Drops the smallest weights and grows where the loss has the largest gradients."""

    def needs_gradient(self, step: int) -> bool:
        return self.changes_at(step)

    def growth_scores(
        self, name: str, weight: Tensor, gradient: Tensor | None, step: int
    ) -> Tensor:
        assert gradient is not None, "RigL changes masks only after a step with gradients"
        return gradient.abs()

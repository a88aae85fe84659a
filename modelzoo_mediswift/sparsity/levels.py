"""The sparsity that a model really has, parameter by parameter and kind by kind."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from modelzoo_mediswift.sparsity.masking import SparseParameter


@dataclass(frozen=True)
class Level:
    """`kept` of `total` weights are not masked; `sparsity` is the fraction of zeros."""

    name: str
    kept: int
    total: int
    target: float | None = None  # the fraction of zeros aimed at, where it was asked for

    @property
    def sparsity(self) -> float:
        return 1.0 - self.kept / self.total


def levels(parameters: Iterable[SparseParameter], step: int | None = None) -> list[Level]:
    """One level per masked parameter; with the target of a step, where that is given."""
    return [
        Level(
            p.name,
            int(p.whole_mask.sum()),
            p.mask.numel(),
            None if step is None else p.algorithm.level(step),
        )
        for p in parameters
    ]


def levels_by_kind(every: Iterable[Level]) -> list[Level]:
    """Levels summed over layers: `layers.3.ffn` and `layers.4.ffn` are of one kind."""
    sums: dict[str, tuple[int, int]] = {}
    for level in every:
        kind = re.sub(r"\.layers\.\d+\.", ".layers.*.", level.name)
        kept, total = sums.get(kind, (0, 0))
        sums[kind] = (kept + level.kept, total + level.total)
    return [Level(kind, kept, total) for kind, (kept, total) in sums.items()]


def masks_sha256(parameters: Iterable[SparseParameter]) -> str:
    """Of the names and masks, in the order of the names; a byte per weight."""
    digest = hashlib.sha256()
    for parameter in sorted(parameters, key=lambda p: p.name):
        digest.update(parameter.name.encode())
        digest.update(parameter.whole_mask.cpu().numpy().tobytes())
    return digest.hexdigest()

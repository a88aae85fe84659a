"""What is sparse, printed before the first step."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from modelzoo_mediswift.sparsity.levels import Level
from modelzoo_mediswift.trainer.callbacks.base import Callback, Run


class SparsityTable(Callback):
    def __init__(self, levels: Sequence[Level]) -> None:
        self.levels = levels

    def on_start(self, run: Run) -> None:
        print(render(self.levels), file=sys.stderr)


def render(levels: Sequence[Level]) -> str:
    """One line per level and one for their sum."""
    total = Level("all sparse weights", sum(x.kept for x in levels), sum(x.total for x in levels))
    width = max(len(level.name) for level in (*levels, total))
    lines = [f"{'parameter':<{width}}  {'weights':>14}  {'kept':>14}  sparsity"]
    lines += [
        f"{level.name:<{width}}  {level.total:>14,}  {level.kept:>14,}  {level.sparsity:>8.4f}"
        for level in (*levels, total)
    ]
    return "\n".join(lines)

"""How many revived weights have left zero by the end of a run."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from torch import Tensor, nn

from modelzoo_mediswift.checkpoint.revival import count_moved
from modelzoo_mediswift.model.tensors import unique_tensors
from modelzoo_mediswift.trainer.callbacks.base import Callback, Run


class RevivedMoved(Callback):
    """Adds `revived_moved` to the run's facts; it stands before the callbacks that write them."""

    def __init__(self, model: nn.Module, revived: Mapping[str, Tensor]) -> None:
        """`revived` marks the places that a mask held, by parameter name."""
        self.model = model
        self.revived = revived
        self.total = sum(int(places.sum()) for places in revived.values())

    def on_start(self, run: Run) -> None:
        self.run = run

    def on_end(self, step: int) -> None:
        moved = count_moved(unique_tensors(self.model), self.revived)
        self.run.facts["revived_moved"] = moved
        print(f"revived weights that are not zero: {moved:,} of {self.total:,}", file=sys.stderr)

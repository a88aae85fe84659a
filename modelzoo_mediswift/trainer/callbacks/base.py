"""What a callback may listen to; each method does nothing unless overridden."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelzoo_mediswift.engine.base import EvalResult, StepResult


@dataclass(frozen=True)
class Run:
    """What is fixed for a run; `facts` are further entries of its start record."""

    model_dir: Path
    start_step: int
    total_steps: int
    log_every: int
    flops_per_token: float | None = None  # training, by the paper's formula
    dense_flops_per_token: float | None = None  # what a dense device executes for it
    palm_flops_per_token: float | None = None  # the same as PaLM's report counts it
    peak_flops: float | None = None  # of all devices, where known
    facts: dict[str, Any] = field(default_factory=dict)


class Callback:
    """Is told what happens in a run."""

    def on_start(self, run: Run) -> None:
        """Called once, before the first step."""

    def on_step(self, result: StepResult) -> None:
        """Called after every optimizer step."""

    def on_evaluate(self, step: int, name: str, result: EvalResult) -> None:
        """Called after each validation set."""

    def on_checkpoint(self, step: int, path: Path) -> None:
        """Called when a checkpoint is whole on disk."""

    def on_end(self, step: int) -> None:
        """Called once, also when the run is cut short."""

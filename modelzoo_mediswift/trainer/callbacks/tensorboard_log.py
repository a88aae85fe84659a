"""Scalars for TensorBoard in `<model_dir>/events`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from modelzoo_mediswift.engine.base import EvalResult, StepResult
from modelzoo_mediswift.report.run import EVENTS_DIR
from modelzoo_mediswift.sparsity.levels import Level
from modelzoo_mediswift.trainer.callbacks.base import Callback, Run
from modelzoo_mediswift.trainer.callbacks.rate import Rate

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class TensorBoardLogger(Callback):
    """Names of scalars are Model Zoo's where it has one."""

    def __init__(
        self,
        summary_dir: Path | None = None,
        sparsity: Callable[[int], list[Level]] | None = None,
    ) -> None:
        self.summary_dir = summary_dir
        self.sparsity = sparsity

    def on_start(self, run: Run) -> None:
        self.run = run
        self.rate = Rate(run)
        self.writer: SummaryWriter | None = None
        self.waiting: list[tuple[str, float, int, float]] = []

    def _add(self, name: str, value: float, step: int) -> None:
        self.waiting.append((name, value, step, time.time()))

    def _write(self) -> None:
        """Write what waits. TensorBoard is imported here: it need not delay the first step."""
        if self.writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self.writer = SummaryWriter(str(self.summary_dir or self.run.model_dir / EVENTS_DIR))
        for scalar in self.waiting:
            self.writer.add_scalar(*scalar)
        self.waiting.clear()

    def on_step(self, result: StepResult) -> None:
        self.rate.add(result.n_tokens)
        if result.step % self.run.log_every and result.step != self.run.total_steps:
            return
        scalars = {
            "loss": result.loss,
            "lr": result.learning_rate,
            "model_wise_grad_norm": result.grad_norm,
            "loss_scale": result.loss_scale,
            "tokens_per_second": self.rate.tokens_per_second,
            "mfu": self.rate.mfu,
            "mfu_palm": self.rate.palm_mfu,
            "flops_saved": self.rate.flops_saved,
        }
        for level in self.sparsity(result.step) if self.sparsity else ():
            scalars[f"sparsity/{level.name}/target"] = level.target
            scalars[f"sparsity/{level.name}/actual"] = level.sparsity
        for name, value in scalars.items():
            if value is not None:
                self._add(name, value, result.step)
        self._write()
        self.rate.restart()

    def on_evaluate(self, step: int, name: str, result: EvalResult) -> None:
        self._add(f"{name}/loss", result.loss, step)
        self._add(f"{name}/lm_perplexity", math.exp(min(result.loss, 700.0)), step)
        self._add(f"{name}/accuracy", result.accuracy, step)
        if self.writer is not None:
            self._write()
        self.rate.restart()

    def on_checkpoint(self, step: int, path: Path) -> None:
        self.rate.restart()

    def on_end(self, step: int) -> None:
        self._write()
        assert self.writer is not None
        self.writer.close()

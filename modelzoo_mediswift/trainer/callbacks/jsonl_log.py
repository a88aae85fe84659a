"""One JSON object per line in `<model_dir>/log.jsonl`: all that the report reads.

Events are `start`, `train`, `eval`, `checkpoint` and `end`. A resumed run appends; where a step
occurs twice, the later line counts. `time` is in seconds since 1970.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from modelzoo_mediswift.engine.base import EvalResult, StepResult
from modelzoo_mediswift.report.log import LOG_FILE
from modelzoo_mediswift.sparsity.levels import Level
from modelzoo_mediswift.trainer.callbacks.base import Callback, Run
from modelzoo_mediswift.trainer.callbacks.rate import Rate

END_FACTS = ("revived_moved", "stopped_early")  # known at the end alone


class JsonLog(Callback):
    """The log; `sparsity` gives the levels at a step, where they change and are to be logged."""

    def __init__(self, sparsity: Callable[[int], list[Level]] | None = None) -> None:
        self.sparsity = sparsity

    def on_start(self, run: Run) -> None:
        self.run = run
        self.rate = Rate(run)
        path = run.model_dir / LOG_FILE
        cut_short = path.exists() and not path.read_bytes().endswith(b"\n")
        self.file: IO[str] = path.open("a", encoding="utf-8")
        if cut_short:  # by a kill in the middle of a line
            self.file.write("\n")
        self._write("start", run.start_step, total_steps=run.total_steps, **run.facts)

    def on_step(self, result: StepResult) -> None:
        self.rate.add(result.n_tokens)
        if result.step % self.run.log_every and result.step != self.run.total_steps:
            return
        self._write(
            "train",
            result.step,
            loss=result.loss,
            lr=result.learning_rate,
            grad_norm=result.grad_norm,
            **({} if result.loss_scale is None else {"loss_scale": result.loss_scale}),
            tokens_per_second=round(self.rate.tokens_per_second, 1),
            mfu=self.rate.mfu,
            mfu_palm=self.rate.palm_mfu,
            flops_saved=self.rate.flops_saved,
            **self._levels(result.step),
        )
        self.rate.restart()

    def _levels(self, step: int) -> dict[str, Any]:
        """Fractions of zeros by parameter, as aimed at and as they are."""
        if self.sparsity is None:
            return {}
        return {
            "sparsity": {
                level.name: {"target": level.target, "actual": level.sparsity}
                for level in self.sparsity(step)
            }
        }

    def on_evaluate(self, step: int, name: str, result: EvalResult) -> None:
        self._write(
            "eval",
            step,
            name=name,
            loss=result.loss,
            perplexity=math.exp(min(result.loss, 700.0)),  # beyond it a float overflows
            accuracy=result.accuracy,
            n_tokens=result.n_tokens,
        )
        self.rate.restart()

    def on_checkpoint(self, step: int, path: Path) -> None:
        self._write("checkpoint", step, path=str(path))
        self.rate.restart()

    def on_end(self, step: int) -> None:
        self._write("end", step, **{k: v for k, v in self.run.facts.items() if k in END_FACTS})
        self.file.close()

    def _write(self, event: str, step: int, **values: Any) -> None:
        record = {"event": event, "step": step, "time": round(time.time(), 3), **values}
        self.file.write(json.dumps(record) + "\n")
        self.file.flush()

"""The progress bar on a terminal, and plain lines where there is none."""

from __future__ import annotations

import sys
from pathlib import Path

from tqdm import tqdm

from modelzoo_mediswift.engine.base import EvalResult, StepResult
from modelzoo_mediswift.trainer.callbacks.base import Callback, Run
from modelzoo_mediswift.trainer.callbacks.rate import Rate


class ProgressLogger(Callback):
    """Loss, learning rate, tokens/s, utilisation and remaining time."""

    def on_start(self, run: Run) -> None:
        self.run = run
        self.rate = Rate(run)
        self.loss = float("nan")
        self.terminal = sys.stderr.isatty()
        self.bar = tqdm(
            total=run.total_steps,
            initial=run.start_step,
            unit="step",
            dynamic_ncols=True,
            disable=not self.terminal,
        )

    def on_step(self, result: StepResult) -> None:
        self.rate.add(result.n_tokens)
        if result.loss is not None:
            self.loss = result.loss
        self.bar.update()
        if result.step % self.run.log_every == 0 or result.step == self.run.total_steps:
            text = f"loss {self.loss:.4f}, lr {result.learning_rate:.2e}, {self._speed()}"
            self.bar.set_postfix_str(text)
            if not self.terminal:
                print(f"step {result.step}/{self.run.total_steps}: {text}", file=sys.stderr)
            self.rate.restart()

    def _speed(self) -> str:
        parts = [f"{self.rate.tokens_per_second:,.0f} tokens/s"]
        if self.rate.mfu is not None:
            parts.append(f"MFU {self.rate.mfu:.1%}")
        if self.rate.palm_mfu is not None:
            parts.append(f"{self.rate.palm_mfu:.1%} by PaLM's count")
        if self.rate.flops_saved:
            parts.append(f"{self.rate.flops_saved:.2e} FLOPs saved by sparsity")
        return ", ".join(parts)

    def on_evaluate(self, step: int, name: str, result: EvalResult) -> None:
        self._say(
            f"step {step}: {name}: loss {result.loss:.4f}, "
            f"next-token accuracy {result.accuracy:.1%} over {result.n_tokens:,} tokens"
        )
        self.rate.restart()

    def on_checkpoint(self, step: int, path: Path) -> None:
        self._say(f"step {step}: saved {path}")
        self.rate.restart()

    def on_end(self, step: int) -> None:
        self.bar.close()

    def _say(self, text: str) -> None:
        if self.terminal:
            self.bar.write(text, file=sys.stderr)
        else:
            print(text, file=sys.stderr)

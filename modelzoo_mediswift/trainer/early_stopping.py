"""When training no longer helps: the best evaluation so far, and how long ago it was.

`<model_dir>/early_stopping.json` holds the history, so that a run that is taken up again at a
checkpoint decides as if it had never stopped.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelzoo_mediswift.checkpoint.directory import step_path
from modelzoo_mediswift.engine.base import EvalResult
from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.whole_files import read_json, write_json

FILE = "early_stopping.json"


@dataclass
class EarlyStopping:
    """The weights before the first step do not compete: there is always something to keep."""

    model_dir: Path
    monitor: str = "loss"  # or "accuracy", both of the tokens in the loss
    patience: int = 1
    min_delta: float = 0.0
    speaks: bool = True  # of several processes one writes the file and tells the user
    history: list[tuple[int, float]] = field(default_factory=list)  # (step, value), ascending

    def take_up(self, step: int) -> None:
        """Continue at `step`, from what the run's folder knows of the steps before it."""
        self.history = [(s, v) for s, v in read(self.model_dir).get("history", []) if s <= step]

    def consider(self, step: int, result: EvalResult) -> None:
        """Note an evaluation."""
        if step == 0:
            return
        value = result.loss if self.monitor == "loss" else result.accuracy
        self.history = [(s, v) for s, v in self.history if s < step]
        self.history.append((step, value))
        if not self.speaks:
            return
        self._write()
        if self.exhausted:
            best_step, best = self.best or (0, value)
            print(
                f"step {step}: {self.monitor} no better for {self.patience} evaluations; "
                f"best was {best:.4f} at step {best_step}",
                file=sys.stderr,
            )

    @property
    def best(self) -> tuple[int, float] | None:
        """Step and value of the best evaluation; what is not a number is beaten by any number."""
        best: tuple[int, float] | None = None
        for step, value in self.history:
            if (
                best is None
                or (math.isnan(best[1]) and not math.isnan(value))
                or self._gain(value, best[1]) > self.min_delta
            ):
                best = step, value
        return best

    @property
    def exhausted(self) -> bool:
        """Whether training should end."""
        best = self.best
        return best is not None and (
            sum(step > best[0] for step, _ in self.history) >= self.patience
        )

    def _gain(self, value: float, over: float) -> float:
        return over - value if self.monitor == "loss" else value - over

    def _write(self) -> None:
        best = self.best
        content = {
            "monitor": self.monitor,
            "patience": self.patience,
            "min_delta": self.min_delta,
            "history": self.history,
            "best": {"step": best[0], "value": best[1]} if best else None,
            "stopped": self.exhausted,
        }
        write_json(self.model_dir / FILE, content)


def read(model_dir: Path) -> dict[str, Any]:
    """What the file of a run's folder says; empty if there is none.

    Raises UserError for one that is damaged.
    """
    path = model_dir / FILE
    if not path.is_file():
        return {}
    content = read_json(path)
    try:
        history = [(int(step), float(value)) for step, value in content["history"]]
    except (KeyError, ValueError, TypeError):
        raise UserError(f"{path}: damaged: history should be pairs of a step and a value") from None
    return content | {"history": history}


def best_checkpoint(model_dir: Path) -> Path | None:
    """The checkpoint of the best evaluation, where the run watched a validation set."""
    best = read(model_dir).get("best")
    return step_path(model_dir, int(best["step"])) if best else None

"""Learning rates as functions of the step, under Model Zoo's names.

`step` counts finished optimizer steps, so the first update uses `schedule(0)`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


class Schedule(Protocol):
    """The learning rate at a step."""

    @property
    def total_iters(self) -> int | None:
        """Length in steps; None for a schedule without end."""

    def __call__(self, step: int) -> float: ...


@dataclass(frozen=True)
class ConstantLR:
    """One rate; `total_iters` matters only where another schedule follows."""

    learning_rate: float
    total_iters: int | None = None

    def __call__(self, step: int) -> float:
        return self.learning_rate


@dataclass(frozen=True)
class LinearLR:
    """A straight line over `total_iters` steps, then the end value."""

    initial_learning_rate: float
    end_learning_rate: float
    total_iters: int

    def __call__(self, step: int) -> float:
        progress = min(step / self.total_iters, 1.0)
        span = self.end_learning_rate - self.initial_learning_rate
        return self.initial_learning_rate + span * progress


@dataclass(frozen=True)
class CosineDecayLR:
    """Half a cosine over `total_iters` steps, then the end value (paper, appendix A.1)."""

    initial_learning_rate: float
    end_learning_rate: float
    total_iters: int

    def __call__(self, step: int) -> float:
        progress = min(step / self.total_iters, 1.0)
        span = self.initial_learning_rate - self.end_learning_rate
        return self.end_learning_rate + span * 0.5 * (1.0 + math.cos(math.pi * progress))


class SequentialLR:
    """One schedule after another; each starts its own count at its milestone."""

    def __init__(self, schedules: Sequence[Schedule]) -> None:
        *self.first, self.last = schedules

    @property
    def total_iters(self) -> int | None:
        lengths = [schedule.total_iters for schedule in (*self.first, self.last)]
        return None if None in lengths else sum(n for n in lengths if n is not None)

    def __call__(self, step: int) -> float:
        for schedule in self.first:
            assert schedule.total_iters is not None, "only the last schedule may be endless"
            if step < schedule.total_iters:
                return schedule(step)
            step -= schedule.total_iters
        return self.last(step)

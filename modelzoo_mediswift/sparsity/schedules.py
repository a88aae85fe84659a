"""When: values that change over training, and the steps at which masks change.

Step n is the n-th optimizer step; step 0 is the initial drawing of the masks. Values are computed
in single precision, as cstorch computes them, so that counts of weights agree to the last one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch


class Schedule(Protocol):
    """A level of sparsity, or a fraction of weights to drop."""

    def __call__(self, step: int, updates: int) -> float:
        """The value at a step before which masks were drawn or changed `updates` times."""


@dataclass(frozen=True)
class Constant:
    value: float

    def __call__(self, step: int, updates: int) -> float:
        return torch.tensor(self.value, dtype=torch.float32).item()


@dataclass(frozen=True)
class Linear:
    """init + step * slope."""

    init: float
    slope: float

    def __call__(self, step: int, updates: int) -> float:
        return (torch.tensor(self.init) + torch.tensor(step) * torch.tensor(self.slope)).item()


@dataclass(frozen=True)
class Exp:
    """final + (init - final) * e^(step * gamma); a negative gamma approaches `final`."""

    init: float
    gamma: float
    final: float = 1.0

    def __call__(self, step: int, updates: int) -> float:
        final = torch.tensor(self.final)
        scale = final - torch.tensor(self.init)
        return (final - scale * torch.exp(torch.tensor(step) * torch.tensor(self.gamma))).item()


@dataclass(frozen=True)
class Power:
    """init * beta^step."""

    init: float
    beta: float

    def __call__(self, step: int, updates: int) -> float:
        power = torch.pow(torch.tensor(self.beta), torch.tensor(step))
        return (torch.tensor(self.init) * power).item()


@dataclass(frozen=True)
class Cosine:
    """From `init` to `minimum` in `half_period` steps, and back, and so on."""

    init: float
    half_period: float
    minimum: float = 0.0

    def __call__(self, step: int, updates: int) -> float:
        middle = (self.minimum + self.init) / 2
        angle = torch.tensor(step) * torch.tensor(math.pi / self.half_period)
        return (torch.tensor(self.init - middle) * torch.cos(angle) + torch.tensor(middle)).item()


@dataclass(frozen=True)
class Cycling:
    """The next of `values` at each update, over and over."""

    values: tuple[float, ...]

    def __call__(self, step: int, updates: int) -> float:
        return torch.tensor(self.values[updates % len(self.values)], dtype=torch.float32).item()


SCHEDULES: dict[str, Callable[..., Schedule]] = {
    "constant": Constant,
    "linear": Linear,
    "exp": Exp,
    "power": Power,
    "cosine": Cosine,
    "cycling": Cycling,
}


class Updates(Protocol):
    """The steps at which masks change. Where step 0 is not one, training starts dense."""

    def __contains__(self, step: int) -> bool: ...

    def before(self, step: int) -> int:
        """How many of them come before `step`."""


@dataclass(frozen=True)
class Every:
    """start, start + freq, start + 2 freq, ... below `stop`."""

    freq: int = 1
    start: int = 0
    stop: int | None = None

    def __contains__(self, step: int) -> bool:
        ended = self.stop is not None and step >= self.stop
        return step >= self.start and not ended and (step - self.start) % self.freq == 0

    def before(self, step: int) -> int:
        end = step if self.stop is None else min(step, self.stop)
        return max(0, math.ceil((end - self.start) / self.freq))


EVERY_STEP = Every()


@dataclass(frozen=True)
class Listed:
    """These steps and no other."""

    steps: frozenset[int]

    def __contains__(self, step: int) -> bool:
        return step in self.steps

    def before(self, step: int) -> int:
        return sum(s < step for s in self.steps)

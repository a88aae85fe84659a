"""What a device must be able to do. The trainer knows nothing else about devices."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

from modelzoo_mediswift.data.batch import Batch
from modelzoo_mediswift.errors import UserError


@dataclass(frozen=True)
class StepResult:
    """One optimizer step. Loss and gradient norm are None where reading them would make the
    host wait for the device between two logging steps."""

    step: int  # steps finished, this one included
    learning_rate: float
    n_tokens: int  # positions fed, padding included
    loss: float | None  # nats per token that the loss mask selects
    grad_norm: float | None  # before clipping, after masking
    loss_scale: float | None = None  # where it is dynamic and to be logged


@dataclass(frozen=True)
class EvalResult:
    """Means over a whole validation set."""

    loss: float  # nats per selected token
    accuracy: float  # share of selected tokens whose most likely prediction is right
    n_tokens: int  # selected tokens


@dataclass
class EngineState:
    """All that a step changes, on the CPU, by name."""

    model: dict[str, Tensor]  # parameters and masks, each tensor once
    optimizer: dict[str, Tensor] = field(default_factory=dict)
    rng: dict[str, Tensor] = field(default_factory=dict)


class NonFiniteLoss(UserError):
    """Training diverged; the message names the step and the batch."""


def never() -> bool:
    """Nobody asks to stop."""
    return False


class Engine(Protocol):
    """A model on a device, with what it takes to train it."""

    @property
    def description(self) -> str:
        """Device and arithmetic in a few words, for logs."""

    def train(
        self,
        batches: Iterable[Batch],
        start: int,
        stop: int,
        log_every: int,
        on_step: Callable[[StepResult], bool],
    ) -> int:
        """Run steps start .. stop-1 until `on_step` returns False; returns steps finished.

        Raises NonFiniteLoss, at the latest at the next logging step.
        """

    def evaluate(
        self, batches: Iterable[Batch], stop: Callable[[], bool] = never
    ) -> EvalResult | None:
        """Loss and accuracy over all batches, without changing any state; None if `stop`, which
        is asked where the device can pause, said so."""

    def state(self) -> EngineState:
        """A copy of the present state."""

    def load_state(self, state: EngineState) -> None:
        """Restore a state; raises UserError where names or shapes do not fit."""

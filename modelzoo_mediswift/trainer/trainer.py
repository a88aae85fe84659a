"""fit and validate: steps, evaluations and checkpoints in the right order, on any engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from modelzoo_mediswift.data.batch import Batch, Validation
from modelzoo_mediswift.engine.base import Engine, EvalResult, StepResult
from modelzoo_mediswift.trainer.callbacks.base import Callback, Run
from modelzoo_mediswift.trainer.checkpointing import Checkpointing
from modelzoo_mediswift.trainer.early_stopping import EarlyStopping
from modelzoo_mediswift.trainer.stop_request import StopRequest


class Loader(Protocol):
    """An endless source of batches whose position can be saved."""

    def __iter__(self) -> Iterator[Batch]: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class Interrupted(Exception):
    """The run was asked to stop and did, after saving; `step` is the last finished one."""

    def __init__(self, step: int) -> None:
        super().__init__(f"stopped after step {step}")
        self.step = step


@dataclass(frozen=True)
class Cadence:
    """When things happen; 0 means never."""

    total_steps: int
    log_every: int
    evaluate_every: int = 0
    checkpoint_every: int = 0
    checkpoint_first: bool = False  # before the first step too

    def next_pause(self, step: int) -> int:
        """The next step after `step` at which training must halt."""
        pauses = [self.total_steps]
        for every in (self.evaluate_every, self.checkpoint_every):
            if every:
                pauses.append((step // every + 1) * every)
        return min(pauses)

    def evaluate_at(self, step: int) -> bool:
        return bool(self.evaluate_every) and (
            step % self.evaluate_every == 0 or step == self.total_steps
        )

    def checkpoint_at(self, step: int) -> bool:
        return bool(self.checkpoint_every) and (
            step % self.checkpoint_every == 0 or step == self.total_steps
        )


class Trainer:
    """One run: what the engine does, and when."""

    def __init__(
        self,
        engine: Engine,
        run: Run,
        cadence: Cadence,
        checkpointing: Checkpointing,
        callbacks: Sequence[Callback] = (),
        early_stopping: EarlyStopping | None = None,
        agree: Callable[[bool], bool] = bool,
        stop: StopRequest | None = None,
    ) -> None:
        """`agree` tells every process of the run what one of them was asked by `stop`."""
        self.engine = engine
        self.run = run
        self.cadence = cadence
        self.checkpointing = checkpointing
        self.callbacks = callbacks
        self.early_stopping = early_stopping
        self.agree = agree
        self.stop = stop or StopRequest()  # this process; nobody else need know yet
        self._stop_requested = False  # all processes

    def fit(self, loader: Loader, validation: Validation) -> None:
        """Train from the run's start step to the end.

        Raises Interrupted after SIGINT or SIGTERM: the current step is finished and a
        checkpoint saved first. A second signal, not the first one's echo, ends the process at once.
        """
        step = self.run.start_step
        self._each(lambda c: c.on_start(self.run))
        batches = iter(loader)
        try:
            with self.stop.listening():
                if step == 0:
                    if self.cadence.checkpoint_first:
                        self._save(step, loader)
                    # The score to improve on; and bad validation data shows up now, not in hours.
                    self._evaluate(step, validation)
                while step < self.cadence.total_steps and not self._good_enough:
                    step = self.engine.train(
                        batches,
                        step,
                        self.cadence.next_pause(step),
                        self.cadence.log_every,
                        self._on_step,
                    )
                    if self.cadence.evaluate_at(step):
                        self._watch(step, self._evaluate(step, validation))
                        self._stop_requested = self.agree(self.stop.made)
                    if self._save_at(step):
                        self._save(step, loader)
                    finished = step >= self.cadence.total_steps or self._good_enough
                    if self._stop_requested and not finished:
                        # Together: one that left before all is saved would end the others.
                        self.agree(True)
                        raise Interrupted(step)
                if step < self.cadence.total_steps:
                    self.run.facts["stopped_early"] = True
        finally:
            self._each(lambda c: c.on_end(step))

    def validate(self, validation: Validation) -> dict[str, EvalResult]:
        """Evaluate the present weights on each validation set."""
        self._each(lambda c: c.on_start(self.run))
        try:
            return self._evaluate(self.run.start_step, validation)
        finally:
            self._each(lambda c: c.on_end(self.run.start_step))

    def _on_step(self, result: StepResult) -> bool:
        self._each(lambda c: c.on_step(result))
        self._stop_requested = self.agree(self.stop.made)
        return not self._stop_requested

    def _evaluate(self, step: int, validation: Validation) -> dict[str, EvalResult]:
        results = {}
        for name, batches in validation.items():
            result = results[name] = self.engine.evaluate(batches())
            for callback in self.callbacks:
                callback.on_evaluate(step, name, result)
        return results

    def _watch(self, step: int, results: Mapping[str, EvalResult]) -> None:
        if self.early_stopping is not None:
            self.early_stopping.consider(step, next(iter(results.values())))

    @property
    def _good_enough(self) -> bool:
        return self.early_stopping is not None and self.early_stopping.exhausted

    @property
    def _best_step(self) -> int | None:
        best = self.early_stopping.best if self.early_stopping else None
        return best[0] if best else None

    def _save_at(self, step: int) -> bool:
        return (
            self._stop_requested
            or self._good_enough
            or step == self._best_step
            or self.cadence.checkpoint_at(step)
        )

    def _save(self, step: int, loader: Loader) -> None:
        best = self._best_step
        path = self.checkpointing.save(step, self.engine.state(), loader.state_dict(), best)
        self._each(lambda c: c.on_checkpoint(step, path))

    def _each(self, call: Callable[[Callback], None]) -> None:
        for callback in self.callbacks:
            call(callback)

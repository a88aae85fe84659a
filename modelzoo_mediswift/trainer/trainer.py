"""fit and validate: steps, evaluations and checkpoints in the right order, on any engine."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from modelzoo_mediswift.data.batch import Batch, Validation
from modelzoo_mediswift.engine.base import Engine, EvalResult, StepResult, never
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
        owed: Collection[str] = (),
    ) -> None:
        """`agree` tells every process of the run what one of them was asked by `stop`. The
        validation sets in `owed` are evaluated before the next step."""
        self.engine = engine
        self.run = run
        self.cadence = cadence
        self.checkpointing = checkpointing
        self.callbacks = callbacks
        self.early_stopping = early_stopping
        self.agree = agree
        self.stop = stop or StopRequest()  # this process; nobody else need know yet
        self.owed = owed
        self._saved_step = run.start_step or None
        self._watched: str | None = None  # the validation set for early stopping
        self._stop_requested = False  # all processes

    def fit(self, loader: Loader, validation: Validation) -> None:
        """Train from the run's start step to the end.

        Raises Interrupted after SIGINT or SIGTERM: the current step is finished and a
        checkpoint saved first, an evaluation cut short. A second signal, not the first one's echo,
        ends the process at once.
        """
        step = self.run.start_step
        self._watched = next(iter(validation), None)
        self._each(lambda c: c.on_start(self.run))
        batches = iter(loader)
        try:
            with self.stop.listening():
                if step == 0 and self.cadence.checkpoint_first:
                    self._save(step, loader)
                missing = {name: validation[name] for name in validation if name in self.owed}
                owed = bool(missing) and not self._evaluate_and_keep(step, missing, loader)
                while not (self._stop_requested or self._finished(step)):
                    step = self.engine.train(
                        batches,
                        step,
                        self.cadence.next_pause(step),
                        self.cadence.log_every,
                        self._on_step,
                    )
                    owed = self.cadence.evaluate_at(step)
                    # Before the evaluation, which may take long and be cut short.
                    if self._stop_requested or self.cadence.checkpoint_at(step):
                        self._save(step, loader)
                    if owed and not self._stop_requested:
                        owed = not self._evaluate_and_keep(step, validation, loader)
                if self._stop_requested and (owed or not self._finished(step)):
                    self._save(step, loader)
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
        return not self._asked_to_stop()

    def _asked_to_stop(self) -> bool:
        self._stop_requested = self.agree(self.stop.made)
        return self._stop_requested

    def _evaluate(
        self, step: int, validation: Validation, stop: Callable[[], bool] = never
    ) -> dict[str, EvalResult]:
        """By name; those of the sets that were finished before `stop` said so."""
        results = {}
        for name, batches in validation.items():
            result = self.engine.evaluate(batches(), stop)
            if result is None:
                break
            results[name] = result
            # Before the log: what that has is not evaluated again when a killed run goes on.
            if self.early_stopping is not None and name == self._watched:
                self.early_stopping.consider(step, result)
            for callback in self.callbacks:
                callback.on_evaluate(step, name, result)
        return results

    def _evaluate_and_keep(self, step: int, validation: Validation, loader: Loader) -> bool:
        """Evaluate, and keep the best checkpoint. Returns False if the run was asked to stop
        before the end."""
        whole = len(self._evaluate(step, validation, self._asked_to_stop)) == len(validation)
        if step == self._best_step or self._good_enough:
            self._save(step, loader)
        if whole:
            self._asked_to_stop()  # else a whole stretch on CSX might follow
        return whole

    def _finished(self, step: int) -> bool:
        return step >= self.cadence.total_steps or self._good_enough

    @property
    def _good_enough(self) -> bool:
        return self.early_stopping is not None and self.early_stopping.exhausted

    @property
    def _best_step(self) -> int | None:
        best = self.early_stopping.best if self.early_stopping else None
        return best[0] if best else None

    def _save(self, step: int, loader: Loader) -> None:
        """Unless the checkpoint of this step is there; then it may be the best one by now."""
        if step != self._saved_step:
            path = self.checkpointing.save(step, self.engine.state(), loader.state_dict())
            self._saved_step = step
            self._each(lambda c: c.on_checkpoint(step, path))
        self.checkpointing.delete_old(self._best_step)

    def _each(self, call: Callable[[Callback], None]) -> None:
        for callback in self.callbacks:
            call(callback)

"""Execution by `cerebras.pytorch`: a CS system, or its CPU backend for comparison."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import cerebras.pytorch as cstorch
import torch
from torch import Tensor

from modelzoo_mediswift.cerebras.input import WorkerBatches
from modelzoo_mediswift.cerebras.program import Features, TracedGPT3
from modelzoo_mediswift.cerebras.state import put_masks, read_snapshot, restore, snapshot
from modelzoo_mediswift.cerebras.update import Step, Update
from modelzoo_mediswift.data.batch import Batch
from modelzoo_mediswift.engine.base import (
    EngineState,
    EvalResult,
    NonFiniteLoss,
    StepResult,
    never,
)
from modelzoo_mediswift.errors import UserError


class CstorchEngine:
    """Runs a TracedGPT3 on the process's one backend; without `update` it can only evaluate.

    The host hands a system a whole stretch of steps, from one pause of the trainer to the next,
    and sees scalars at logging steps and weights at the end of the stretch alone. A request to
    stop therefore takes effect at the next pause.
    """

    def __init__(
        self,
        backend: Any,
        model: TracedGPT3,
        make_update: Callable[[TracedGPT3], Update] | None = None,
        *,
        autocast: bool = False,
        description: str = "CSX",
    ) -> None:
        """`make_update` is called when the model is on the device. `autocast` is for the CPU."""
        self.backend = backend
        self.model = model
        self.compiled = cstorch.compile(model, backend)
        self.update = make_update(model) if make_update else None
        self.autocast = autocast
        self.description = description
        self.step = 0
        self._saved: Path | None = None  # the state after the last stretch

    def train(
        self,
        batches: Iterable[Batch],
        start: int,
        stop: int,
        log_every: int,
        on_step: Callable[[StepResult], bool],
    ) -> int:
        assert isinstance(batches, WorkerBatches), "CSX reads its data on workers"
        loader = batches.dataloader(stop - start)
        self.run_training(loader, start, stop, log_every, on_step)
        batches.advance(stop - start)
        return stop

    def run_training(
        self,
        loader: cstorch.utils.data.DataLoader,
        start: int,
        stop: int,
        log_every: int,
        on_step: Callable[[StepResult], bool],
    ) -> None:
        """Steps start .. stop-1 on the batches of `loader`; keeps the state at the end."""
        update = self.update
        assert update is not None, "an engine without optimizer cannot train"
        self.model.train()
        executor = cstorch.utils.data.DataExecutor(
            loader,
            num_steps=stop - start,
            checkpoint_steps=stop - start,
            # Counted from `start`: a divisor of both meets every multiple of log_every.
            activation_steps=math.gcd(log_every, start),
        )
        reported = start

        @cstorch.trace
        def train_step(batch: Features) -> Step:
            with self._autocast():
                loss, _ = self.compiled(batch)
            return update.step(loss)

        @cstorch.step_closure
        def report(**scalars: Tensor) -> None:  # the library fetches arguments that are tensors
            nonlocal reported
            step = start + executor.user_iteration
            tokens = (step - reported) * tokens_per_step
            reported = step
            on_step(_step_result(step, tokens, Step(**scalars), update.log_loss_scale))

        @cstorch.checkpoint_closure
        def save() -> None:
            self._save(Path(executor.artifact_dir), stop)

        tokens_per_step = 0
        for batch in executor:
            tokens_per_step = batch["input_ids"].numel()
            report(**vars(train_step(batch)))
            save()
        self.step = stop

    def evaluate(
        self, batches: Iterable[Batch], stop: Callable[[], bool] = never
    ) -> EvalResult | None:
        if stop():  # the last moment to ask: the system evaluates without a pause
            return None
        assert isinstance(batches, WorkerBatches), "CSX reads its data on workers"
        steps = batches.num_steps
        loss, right, n_tokens = self.run_evaluation(batches.dataloader(steps), steps)
        if n_tokens == 0:
            raise UserError("evaluation: the loss mask selects no token in the whole data set")
        return EvalResult(loss / n_tokens, right / n_tokens, n_tokens)

    def run_evaluation(
        self, loader: cstorch.utils.data.DataLoader, num_steps: int
    ) -> tuple[float, int, int]:
        """Summed loss, right predictions and selected tokens over `num_steps` batches."""
        self.model.eval()
        loss_sum, right, n_tokens = 0.0, 0, 0

        @cstorch.trace
        @torch.no_grad()
        def eval_step(batch: Features) -> tuple[Tensor, Tensor, Tensor]:
            with self._autocast():
                loss, logits = self.compiled(batch)
            mask = batch["attention_mask"].float()
            correct = (logits.argmax(-1).int() == batch["labels"]).float() * mask
            return loss, correct.sum(), mask.sum()

        @cstorch.step_closure
        def add(loss: Tensor, correct: Tensor, count: Tensor) -> None:
            nonlocal loss_sum, right, n_tokens
            tokens = round(count.item())
            loss_sum += loss.item() * tokens if tokens else 0.0
            right += round(correct.item())
            n_tokens += tokens

        executor = cstorch.utils.data.DataExecutor(loader, num_steps=num_steps)
        for batch in executor:
            loss, correct, count = eval_step(batch)
            add(loss, correct, count)
        return loss_sum, right, n_tokens

    def state(self) -> EngineState:
        if self._saved is None:
            if self.update is not None and self.update.sparsity is not None:
                self.update.sparsity.initialize()  # masks are drawn when a run starts
            self._save(Path(self.backend.artifact_dir), self.step)
        assert self._saved is not None
        return read_snapshot(self._saved)

    def _save(self, folder: Path, step: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "state.mdl"
        path.unlink(missing_ok=True)  # of an earlier run in the same folder
        cstorch.save(snapshot(self.model, self.update, step), path)
        self._saved = path

    def load_state(self, state: EngineState) -> None:
        self.step = restore(state, self.backend, self.model, self.update)
        self._saved = None

    def begin_with_masks(self, masks: Mapping[str, Tensor]) -> None:
        """Start from these, by parameter, instead of masks that the library draws."""
        put_masks(masks, self.backend, self.model)
        self._saved = None

    def _autocast(self) -> AbstractContextManager:
        return cstorch.amp.autocast() if self.autocast else nullcontext()


def _step_result(step: int, n_tokens: int, done: Step, log_loss_scale: bool) -> StepResult:
    """Raises NonFiniteLoss, also where gradients overflow at any loss scale: each such step is
    skipped, so that training would stand still in silence."""
    loss = done.loss.item()
    if not math.isfinite(loss):
        raise NonFiniteLoss(f"step {step}: the loss is {loss}")
    scale, free, norm = map(_number, (done.loss_scale, done.free_loss_scale, done.grad_norm))
    if scale is not None and free is not None and free < scale:
        raise NonFiniteLoss(
            f"step {step}: gradients overflow at the smallest loss scale, {scale:g}"
        )
    logged = scale if log_loss_scale else None
    return StepResult(step, done.learning_rate.item(), n_tokens, loss, norm, logged)


def _number(scalar: Tensor | None) -> float | None:
    return None if scalar is None else scalar.item()

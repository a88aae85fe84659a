"""CPU and single-GPU execution with PyTorch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from modelzoo_mediswift.data.loader import Batch
from modelzoo_mediswift.engine.base import EngineState, EvalResult, NonFiniteLoss, StepResult
from modelzoo_mediswift.engine.sparse_layers import SparseLayers
from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.model.gpt3 import GPT3
from modelzoo_mediswift.model.loss import summed_loss
from modelzoo_mediswift.model.tensors import load_tensors, unique_tensors
from modelzoo_mediswift.optim.adamw import AdamW
from modelzoo_mediswift.optim.schedules import Schedule
from modelzoo_mediswift.sparsity.masking import Masking


@dataclass(frozen=True)
class Update:
    """Everything that turns gradients into new weights."""

    optimizer: AdamW
    schedule: Schedule
    sparsity: Masking | None = None
    max_gradient_norm: float | None = None
    max_gradient_value: float | None = None
    grad_accum_steps: int = 1  # batches per step, their losses averaged


class TorchEngine:
    """Runs a GPT3 on one device; without `update` it can only evaluate."""

    def __init__(
        self,
        model: GPT3,
        device: torch.device,
        update: Update | None = None,
        *,
        autocast: torch.dtype | None = None,
        micro_batch_size: int | None = None,
        sparse_layers: SparseLayers | None = None,
    ) -> None:
        self.model = model
        self.device = device
        self.update = update
        self.autocast = autocast
        self.micro_batch_size = micro_batch_size
        self.sparse_layers = sparse_layers

    @property
    def description(self) -> str:
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "CPU"
        threads = f", {torch.get_num_threads()} threads" if self.device.type == "cpu" else ""
        arithmetic = "bf16 mixed precision" if self.autocast else "fp32"
        return f"{name}{threads}, {arithmetic}"

    def _autocast(self) -> AbstractContextManager:
        if self.autocast is None:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.autocast)

    def _pieces(self, batch: Batch) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
        """Micro-batches on the device: ids, labels, flat positions that count (None: all)."""
        size = self.micro_batch_size or len(batch.input_ids)
        for ids, labels, mask in zip(
            batch.input_ids.split(size),
            batch.labels.split(size),
            batch.loss_mask.split(size),
            strict=True,
        ):
            selected = None if bool(mask.all()) else mask.flatten().nonzero().squeeze(-1)
            yield (
                ids.to(self.device, non_blocking=True),
                labels.to(self.device, non_blocking=True),
                None if selected is None else selected.to(self.device, non_blocking=True),
            )

    def train(
        self,
        batches: Iterable[Batch],
        start: int,
        stop: int,
        log_every: int,
        on_step: Callable[[StepResult], bool],
    ) -> int:
        assert self.update is not None, "an engine without optimizer cannot train"
        self.model.train()
        iterator = iter(batches)
        waits = self.device.type != "cpu"
        worst = torch.zeros((), device=self.device)  # becomes and stays non-finite
        for step in range(start, stop):
            if self.sparse_layers is not None:
                self.sparse_layers.before_step(step + 1)
            learning_rate = self.update.schedule(step)
            loss, grad_norm, n_tokens, first = self._gradients(iterator, step + 1)
            worst = worst + loss * 0 + grad_norm * 0
            read = not waits or (step + 1) % log_every == 0 or step + 1 == stop
            if read and not math.isfinite(worst.item()):
                raise NonFiniteLoss(
                    f"step {step + 1}: the loss is {loss.item()}, the gradient norm "
                    f"{grad_norm.item()}, or one just before was not finite "
                    f"(batch starts at sample {first} of the data order)"
                )
            self.update.optimizer.step(step, learning_rate)
            if self.update.sparsity is not None:
                for changed in self.update.sparsity.change_masks(step + 1):
                    self.update.optimizer.mask_moments(changed.weight, changed.mask)
            self.update.optimizer.zero_grad()
            result = StepResult(
                step + 1,
                learning_rate,
                n_tokens,
                loss.item() if read else None,
                grad_norm.item() if read else None,
            )
            if not on_step(result):
                return step + 1
        return stop

    def _gradients(self, batches: Iterator[Batch], step: int) -> tuple[Tensor, Tensor, int, int]:
        """Accumulate one step's gradients, masked and clipped: loss, norm, tokens, position.

        `step` counts from 1.
        """
        update = self.update
        assert update is not None
        total = torch.zeros((), device=self.device)
        n_tokens, first = 0, 0
        for i in range(update.grad_accum_steps):
            batch = next(batches)
            first = batch.first_position if i == 0 else first
            n_tokens += batch.input_ids.numel()
            # The mean over the tokens that count; a batch without any has loss zero.
            divisor = update.grad_accum_steps * max(int(batch.loss_mask.sum()), 1)
            for ids, labels, selected in self._pieces(batch):
                with self._autocast():
                    loss, _ = summed_loss(self.model, ids, labels, selected)
                loss = loss / divisor
                loss.backward()
                total += loss.detach()
        if update.sparsity is not None:
            update.sparsity.mask_gradients(step)
        parameters = update.optimizer.parameters
        if update.max_gradient_value is not None:
            torch.nn.utils.clip_grad_value_(parameters, update.max_gradient_value)
        limit = math.inf if update.max_gradient_norm is None else update.max_gradient_norm
        norm = torch.nn.utils.clip_grad_norm_(parameters, limit)
        return total, norm, n_tokens, first

    @torch.no_grad()
    def evaluate(self, batches: Iterable[Batch]) -> EvalResult:
        self.model.eval()
        if self.sparse_layers is not None:
            self.sparse_layers.before_evaluation()
        loss_sum = torch.zeros((), dtype=torch.float64, device=self.device)
        right = torch.zeros((), dtype=torch.int64, device=self.device)
        n_tokens = 0
        for batch in batches:
            n_tokens += int(batch.loss_mask.sum())
            for ids, labels, selected in self._pieces(batch):
                with self._autocast():
                    loss, correct = summed_loss(self.model, ids, labels, selected)
                loss_sum += loss
                right += correct
        if n_tokens == 0:
            raise UserError("evaluation: the loss mask selects no token in the whole data set")
        return EvalResult(loss_sum.item() / n_tokens, right.item() / n_tokens, n_tokens)

    def state(self) -> EngineState:
        rng = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            rng["cuda"] = torch.cuda.get_rng_state(self.device)
        sparsity = self.update.sparsity if self.update else None
        if sparsity is not None and sparsity.seed is not None:
            rng["sparsity_seed"] = torch.tensor(sparsity.seed)
        optimizer = self.update.optimizer.state() if self.update else {}
        if self.sparse_layers is not None and self.sparse_layers.choices is not None:
            rng["sparse_kernels"] = self.sparse_layers.choices
        return EngineState(
            model={n: self._copy(n, t) for n, t in unique_tensors(self.model).items()},
            optimizer={n: self._copy(n, t) for n, t in optimizer.items()},
            rng=rng,
        )

    def _copy(self, name: str, tensor: Tensor) -> Tensor:
        if self.sparse_layers is not None:
            tensor = self.sparse_layers.dense(name, tensor)
        return tensor.detach().cpu().clone()

    def load_state(self, state: EngineState) -> None:
        if self.sparse_layers is not None:
            self.sparse_layers.expand()
            if "sparse_kernels" in state.rng:
                self.sparse_layers.choices = state.rng["sparse_kernels"]
        load_tensors(self.model, state.model)
        if self.update is not None and state.optimizer:
            try:
                self.update.optimizer.load_state(state.optimizer)
            except KeyError as error:
                raise UserError(f"the checkpoint has no optimizer state {error}") from error
            if self.update.sparsity is not None and "sparsity_seed" in state.rng:
                self.update.sparsity.seed = int(state.rng["sparsity_seed"])
        if "cpu" in state.rng:
            torch.set_rng_state(state.rng["cpu"])
        if "cuda" in state.rng and self.device.type == "cuda":
            torch.cuda.set_rng_state(state.rng["cuda"], self.device)

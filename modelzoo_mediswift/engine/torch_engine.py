"""Execution with PyTorch: on a CPU, a GPU, or several of either."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor, nn

from modelzoo_mediswift.data.batch import Batch
from modelzoo_mediswift.engine.base import (
    EngineState,
    EvalResult,
    NonFiniteLoss,
    StepResult,
    never,
)
from modelzoo_mediswift.engine.out_of_memory import OutOfMemory, halved, named_out_of_memory
from modelzoo_mediswift.engine.parallel import accumulating, all_laid_out_as, distribute, whole
from modelzoo_mediswift.engine.pieces import pieces_as_saved, pieces_to_save
from modelzoo_mediswift.engine.processes import ALONE, Processes
from modelzoo_mediswift.engine.random_state import load_random_state, random_state
from modelzoo_mediswift.engine.rehearsal import Rehearsal
from modelzoo_mediswift.engine.sparse_layers import SparseLayers
from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.model.gpt3 import GPT3
from modelzoo_mediswift.model.loss import IGNORED
from modelzoo_mediswift.model.tensors import load_tensors, unique_tensors
from modelzoo_mediswift.optim.adamw import MOMENTS, AdamW
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


# With fewer counting positions than this share, the others' logits are not computed.
FEW = 0.5
# Numbers of chosen positions are rounded up on a GPU: fewer shapes to compile for.
POSITIONS_MULTIPLE = 256


class TorchEngine:
    """Runs a GPT3 on one device, alone or with other processes; without `update` it can only
    evaluate."""

    def __init__(
        self,
        model: GPT3,
        device: torch.device,
        update: Update | None = None,
        *,
        autocast: torch.dtype | None = None,
        micro_batch_size: int | None = None,
        guessed: bool = False,
        chosen_of: int | None = None,
        module: nn.Module | None = None,
        processes: Processes = ALONE,
        sparse_layers: SparseLayers | None = None,
        fp8: str | None = None,
    ) -> None:
        """`module` is what `parallel.distribute` made of the model; None: the model alone. `fp8`
        is the recipe that `use_fp8` was called with, to be told in the description.

        A `micro_batch_size` that is `guessed` is halved where training runs out of memory, by all
        processes where one does, for which each must hold all parameters. One that memory chose,
        of a batch of `chosen_of` sequences, is kept by runs that continue.
        """
        self.model = model
        self.module = distribute(model, device) if module is None else module
        self.processes = processes
        self.device = device
        self.update = update
        self.autocast = autocast
        self.micro_batch_size = micro_batch_size
        self.guessed = guessed
        self.rehearsal = Rehearsal(processes, device)
        self.chosen_of = chosen_of
        self.sparse_layers = sparse_layers
        self.fp8 = fp8
        self.waits = device.type != "cpu"  # reading a value waits for the device

    @property
    def description(self) -> str:
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "CPU"
        threads = f", {torch.get_num_threads()} threads" if self.device.type == "cpu" else ""
        arithmetic = "bf16 mixed precision" if self.autocast else "fp32"
        if self.fp8:
            arithmetic += f" with fp8 ({self.fp8})"
        times = f"{self.processes.count} x " if self.processes.many else ""
        return f"{times}{name}{threads}, {arithmetic}"

    def _autocast(self) -> AbstractContextManager:
        if self.autocast is None:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.autocast)

    def _pieces(
        self, batch: Batch, size: int | None = None
    ) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
        """Micro-batches on the device: ids, targets, flat positions of the targets (None: all).

        What is computed from the loss mask is computed on the host, before the copy.
        """
        size = size or self.micro_batch_size or len(batch.input_ids)
        for ids, labels, mask in zip(
            batch.input_ids.split(size),
            batch.labels.split(size),
            batch.loss_mask.split(size),
            strict=True,
        ):
            counts = mask.flatten() != 0
            targets = labels.flatten().long().masked_fill_(~counts, IGNORED)
            positions = None
            if int(counts.sum()) < FEW * counts.numel():
                positions = self._rounded(counts.nonzero().squeeze(-1), counts)
                targets = targets[positions]
                positions = self._on_device(positions)
            yield self._on_device(ids), self._on_device(targets), positions

    def _rounded(self, positions: Tensor, counts: Tensor) -> Tensor:
        """On a GPU, with positions that do not count appended up to a round number, which is not
        zero: kernels are not made for nothing."""
        if self.device.type == "cpu":
            return positions
        wanted = POSITIONS_MULTIPLE * max(1, math.ceil(len(positions) / POSITIONS_MULTIPLE))
        missing = wanted - len(positions)
        return torch.cat((positions, (~counts).nonzero().squeeze(-1)[:missing]))

    def _on_device(self, tensor: Tensor) -> Tensor:
        """Copied from page-locked memory, so that the host does not wait."""
        if self.device.type == "cuda":
            tensor = tensor.pin_memory()
        return tensor.to(self.device, non_blocking=True)

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
        worst = torch.zeros((), device=self.device)  # becomes and stays non-finite
        for step in range(start, stop):
            if self.sparse_layers is not None:
                self.sparse_layers.before_step(step + 1)
            learning_rate = self.update.schedule(step)
            loss, grad_norm, n_tokens, first = self._fitting_gradients(iterator, step + 1)
            worst = worst + loss * 0 + grad_norm * 0
            read = not self.waits or (step + 1) % log_every == 0 or step + 1 == stop
            if read:
                self._require_finite(worst, loss, grad_norm, step + 1, first)
            with named_out_of_memory(self.device, self.micro_batch_size):
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
                if not read:  # what is saved now has to be finite too
                    self._require_finite(worst, loss, grad_norm, step + 1, first)
                return step + 1
        return stop

    def _require_finite(
        self, worst: Tensor, loss: Tensor, grad_norm: Tensor, step: int, first: int
    ) -> None:
        """Sum the loss over the processes; raise NonFiniteLoss if `worst`, the sum over the steps
        since the last call, is not finite."""
        self.processes.sum(loss)
        if not math.isfinite(self.processes.sum(worst).item()):
            raise NonFiniteLoss(
                f"step {step}: the loss is {loss.item()}, the gradient norm {grad_norm.item()}, or "
                f"one just before was not finite (batch starts at sample {first} of the data order)"
            )

    def _fitting_gradients(
        self, batches: Iterator[Batch], step: int
    ) -> tuple[Tensor, Tensor, int, int]:
        """`_gradients` of the next batches, in micro-batches that fit if their size was guessed."""
        assert self.update is not None
        taken = [next(batches) for _ in range(self.update.grad_accum_steps)]
        if self.guessed and self.processes.many and self.micro_batch_size is not None:
            self.micro_batch_size = self.rehearsal.fitting(
                self.micro_batch_size, taken, self._rehearse
            )
        while True:
            size = self.micro_batch_size
            try:
                with named_out_of_memory(self.device, size):
                    return self._gradients(taken, step)
            except OutOfMemory:
                if not self.guessed or self.processes.many or size is None or size == 1:
                    raise
            # Only here the memory that the traceback held is free.
            self.update.optimizer.zero_grad()
            self.micro_batch_size = halved(size, self.device)

    def _rehearse(self, batches: Iterable[Batch], size: int) -> None:
        """Gradients of two micro-batches, the second beside those of the first, not averaged."""
        assert self.update is not None
        pieces = (piece for batch in batches for piece in self._pieces(batch, size))
        try:
            for ids, targets, positions in islice(pieces, 2):
                with accumulating(self.module, last=False):
                    with self._autocast():
                        loss, _ = self.module(ids, targets, positions)
                    loss.backward()
        finally:
            self.update.optimizer.zero_grad()

    def _gradients(self, batches: Iterable[Batch], step: int) -> tuple[Tensor, Tensor, int, int]:
        """Accumulate one step's gradients, masked and clipped: loss, norm, tokens, position.

        `step` counts from 1.
        """
        update = self.update
        assert update is not None
        total = torch.zeros((), device=self.device)
        n_tokens, first = 0, 0
        for i, batch in enumerate(batches):
            first = batch.first_position if i == 0 else first
            # The mean over the tokens that count, in all processes; a batch without any has
            # loss zero.
            fed, counted = self.processes.sum_numbers(
                batch.input_ids.numel(), int(batch.loss_mask.sum())
            )
            n_tokens += fed
            divisor = update.grad_accum_steps * max(counted, 1)
            pieces = list(self._pieces(batch))
            for k, (ids, targets, positions) in enumerate(pieces, 1):
                last = i + 1 == update.grad_accum_steps and k == len(pieces)
                with accumulating(self.module, last):
                    with self._autocast():
                        loss, _ = self.module(ids, targets, positions)
                    loss = loss / divisor
                    (loss * self.processes.count).backward()  # averaged over the processes
                total += loss.detach()
        if update.sparsity is not None:
            update.sparsity.mask_gradients(step)
        parameters = update.optimizer.parameters
        if update.max_gradient_value is not None:
            torch.nn.utils.clip_grad_value_(parameters, update.max_gradient_value)
        limit = math.inf if update.max_gradient_norm is None else update.max_gradient_norm
        norm = whole(torch.nn.utils.clip_grad_norm_(parameters, limit))
        return total, norm, n_tokens, first

    @torch.no_grad()
    def evaluate(
        self, batches: Iterable[Batch], stop: Callable[[], bool] = never
    ) -> EvalResult | None:
        self.model.eval()
        if self.sparse_layers is not None:
            self.sparse_layers.before_evaluation()
        loss_sum = torch.zeros((), dtype=torch.float64, device=self.device)
        right = torch.zeros((), dtype=torch.int64, device=self.device)
        n_tokens = 0
        for batch in batches:
            if stop():
                return None
            n_tokens += int(batch.loss_mask.sum())
            for ids, targets, positions in self._pieces(batch):
                with self._autocast(), named_out_of_memory(self.device, self.micro_batch_size):
                    loss, correct = self.module(ids, targets, positions, count_right=True)
                loss_sum += loss
                right += correct
        n_tokens = self.processes.sum_number(n_tokens)
        self.processes.sum(loss_sum)
        self.processes.sum(right)
        if n_tokens == 0:
            raise UserError("evaluation: the loss mask selects no token in the whole data set")
        return EvalResult(loss_sum.item() / n_tokens, right.item() / n_tokens, n_tokens)

    def state(self) -> EngineState:
        rng = random_state(self.device, self.processes)
        sparsity = self.update.sparsity if self.update else None
        if sparsity is not None and sparsity.seed is not None:
            rng["sparsity_seed"] = torch.tensor(sparsity.seed)
        optimizer = self.update.optimizer.state() if self.update else {}
        dense = _as_it_is if self.sparse_layers is None else self.sparse_layers.dense
        if self.sparse_layers is not None and self.sparse_layers.choices is not None:
            rng["sparse_kernels"] = self.sparse_layers.choices
        rng |= pieces_to_save(self.micro_batch_size, self.chosen_of)
        return EngineState(
            model=_on_host(unique_tensors(self.model), dense),
            optimizer=_on_host(optimizer, dense),
            rng=rng,
        )

    def load_state(self, state: EngineState) -> None:
        if self.sparse_layers is not None:
            self.sparse_layers.expand()
            if "sparse_kernels" in state.rng:
                self.sparse_layers.choices = state.rng["sparse_kernels"]
        load_tensors(self.model, all_laid_out_as(unique_tensors(self.model), state.model))
        if self.update is not None and state.optimizer:
            optimizer = self.update.optimizer
            targets = {
                f"{name}.{moment}": parameter
                for name, parameter in zip(optimizer.names, optimizer.parameters, strict=True)
                for moment in MOMENTS
            }
            try:
                optimizer.load_state(all_laid_out_as(targets, state.optimizer))
            except KeyError as error:
                raise UserError(f"the checkpoint has no optimizer state {error}") from error
            if self.update.sparsity is not None and "sparsity_seed" in state.rng:
                self.update.sparsity.seed = int(state.rng["sparsity_seed"])
        load_random_state(state.rng, self.device, self.processes)
        self.micro_batch_size = pieces_as_saved(
            state.rng, self.micro_batch_size, self.chosen_of, speaks=self.processes.first
        )


def _on_host(
    tensors: Mapping[str, Tensor], dense: Callable[[str, Tensor], Tensor]
) -> dict[str, Tensor]:
    """Whole copies on the CPU, of matrices in any form as `dense` makes them."""
    return {
        name: whole(dense(name, tensor.detach())).to("cpu", copy=True)
        for name, tensor in tensors.items()
    }


def _as_it_is(name: str, tensor: Tensor) -> Tensor:
    return tensor

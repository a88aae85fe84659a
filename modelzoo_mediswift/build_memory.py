"""How many tokens a CPU's memory takes at a time: known before anything is allocated."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch

from modelzoo_mediswift.config.callbacks import SparseKernels
from modelzoo_mediswift.config.data import DataLoaderConfig
from modelzoo_mediswift.config.fine_tuning import TrainOnly
from modelzoo_mediswift.config.trainer import InitConfig, TrainerConfig
from modelzoo_mediswift.data.batch import Share
from modelzoo_mediswift.engine.freed_memory import give_back_freed_memory, keep_freed_memory
from modelzoo_mediswift.engine.host_memory import Room, available_memory, rows_at_once
from modelzoo_mediswift.engine.processes import Processes
from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.plan.memory import (
    LOSS_CHUNK,
    evaluated_bytes_per_token,
    loss_bytes,
    training_memory,
)
from modelzoo_mediswift.plan.parameters import count_parameters, parameter_shapes

# Resident bytes that grow with the batch, in units of the predicted ones, measured by
# benchmarks/step_memory.py in fp32 and bf16, on 4 to 16 layers and 64 to 512 sequences: up to 1.05
# where the C library gives back what is freed; where it keeps it, up to 1.5 in training and 2.4 in
# evaluation, for the holes between what is kept.
GIVEN_BACK = 1.1
KEPT_IN_TRAINING = 1.6
KEPT_IN_EVALUATION = 3.0
_FLOAT = 4
_GIB = 2**30


@dataclass(frozen=True)
class _Need:
    """Bytes of one process."""

    state: int
    """What a batch of any size needs."""
    least: int
    """The same if sparse kernels compress all that they may."""
    saving: int
    """While a checkpoint is written, with a copy of all that is in it."""
    per_token: int
    kept: float
    """In units of `per_token`, where the C library keeps what is freed."""

    def of(self, tokens: int, factor: float = GIVEN_BACK) -> int:
        """For a micro-batch of so many tokens."""
        return self.state + int(factor * self.per_token * tokens)


def training_room(
    config: TrainerConfig, length: int, device: torch.device, processes: Processes
) -> Room:
    """What `fit` takes at a time, with training sequences of `length` tokens.

    The C library keeps what is freed if there is room for that too.
    Raises UserError where not one sequence fits, unless the file gives a micro-batch.
    """
    init, fit = config.init, config.fit
    assert fit is not None
    available = _available(device, processes)
    if available is None:
        return Room()
    asked = init.micro_batch_size
    rows = asked or Share(0, processes.count).each(fit.train_dataloader.batch_size)
    need = _training_need(init, length, processes)
    _require(need, 0 if asked else length, available, processes)
    room = Room(_limit(need, rows, length, available))
    if room.training is not None and processes.first:
        _say(need, rows, length, room.training, available, asked is not None)
    evaluation = _evaluation_need(init, need.state)
    widest, longest = _widest(fit.val_dataloader, init, processes)
    room.evaluation = _limit(evaluation, widest, longest, available)
    most = max(need.of(rows * length, need.kept), evaluation.of(widest * longest, evaluation.kept))
    if most <= available:
        keep_freed_memory()
    return room


def evaluation_room(
    init: InitConfig,
    loaders: tuple[DataLoaderConfig, ...],
    device: torch.device,
    processes: Processes,
) -> Room:
    """What a pass of evaluation takes at a time. Raises UserError where not one sequence fits."""
    available = _available(device, processes)
    if available is None:
        return Room()
    need = _evaluation_need(init)
    rows, length = _widest(loaders, init, processes)
    _require(need, length, available, processes)
    if need.of(rows * length, need.kept) <= available:
        keep_freed_memory()
    return Room(None, _limit(need, rows, length, available))


def _available(device: torch.device, processes: Processes) -> int | None:
    """Bytes for this process, the same in all; None: nothing is known, or a GPU's memory counts."""
    if device.type != "cpu":
        return None
    give_back_freed_memory()
    available = available_memory()
    # Where the processes meet, all have looked, and none has allocated anything yet.
    each = [int(n) for n in processes.gather(torch.tensor(available or 0))]
    if not all(each):
        keep_freed_memory()
        return None
    return min(each) // processes.local_count


def _training_need(init: InitConfig, length: int, processes: Processes) -> _Need:
    counts = count_parameters(init.model, init.sparsity)
    memory = training_memory(
        init.model, counts, sequences=1, sequence_length=length, mixed=_mixed(init)
    )
    shared = processes.count if init.backend.shard_parameters else 1
    held = memory.weights + memory.masks + 2 * _FLOAT * _trained(init)  # with both moments
    gradients = _FLOAT * (_trained(init) + counts.kept_gradients)
    state = (held + gradients) // shared + memory.half_weights + memory.loss
    least, saving = state, 0
    if init.callback(SparseKernels) is not None and not processes.many:
        least = memory.weights + memory.masks + 3 * _FLOAT * counts.nonzero
    elif init.checkpoint.steps:
        saving = held // shared + held
    return _Need(state, least, saving, memory.activations_per_sequence // length, KEPT_IN_TRAINING)


def _trained(init: InitConfig) -> int:
    """Number of parameters that train."""
    only = init.callback(TrainOnly)
    return sum(
        math.prod(shape)
        for name, shape in parameter_shapes(init.model).items()
        if only is None or any(fnmatchcase(name, glob) for glob in only.param_filter)
    )


def _evaluation_need(init: InitConfig, state: int | None = None) -> _Need:
    """`state`: of training, which goes on after the evaluation."""
    mixed = _mixed(init)
    if state is None:
        counts = count_parameters(init.model, ())
        one = training_memory(init.model, counts, sequences=1, sequence_length=1, mixed=mixed)
        state = one.weights + one.half_weights + loss_bytes(init.model, LOSS_CHUNK, mixed=mixed)
    per_token = evaluated_bytes_per_token(init.model, mixed=mixed)
    return _Need(state, state, 0, per_token, KEPT_IN_EVALUATION)


def _mixed(init: InitConfig) -> bool:
    precision = init.precision
    return precision is not None and precision.enabled


def _widest(
    loaders: tuple[DataLoaderConfig, ...], init: InitConfig, processes: Processes
) -> tuple[int, int]:
    """Rows and tokens in a row of the largest batch that a pass of evaluation can have."""
    rows = max((loader.batch_size for loader in loaders), default=1)
    each = Share(0, processes.count).each(rows)
    return min(each, init.micro_batch_size or each), init.model.max_position_embeddings


def _limit(need: _Need, rows: int, length: int, available: int) -> int | None:
    """Tokens that fit, and one sequence in any case; None where all rows do."""
    if need.of(rows * length) <= available:
        return None
    return max(length, int((available - need.state) / (GIVEN_BACK * need.per_token)))


def _require(need: _Need, tokens: int, available: int, processes: Processes) -> None:
    what, least = "its state", need.least + need.per_token * tokens
    if need.saving > least:
        what, least = "its state, copied for a checkpoint,", need.saving
    elif tokens:
        what = "its state and one sequence"
    if least > available:
        each = " for each process" if processes.many else ""
        raise UserError(
            f"memory: the model with {what} takes {least / _GIB:.1f} GiB, and "
            f"{available / _GIB:.1f} GiB are available{each}"
        )


def _say(need: _Need, rows: int, length: int, tokens: int, available: int, asked: bool) -> None:
    sizes = f"{need.of(rows * length) / _GIB:.1f} GiB for {rows} sequences, "
    sizes += f"{available / _GIB:.1f} GiB available"
    if asked:
        what = "the system may end the run without a word; a smaller micro_batch_size needs less"
    else:
        what = f"{rows_at_once(rows, length, tokens)} at a time"
    print(f"memory: {sizes}: {what}", file=sys.stderr)

"""What must fit a CPU's memory, known before anything is allocated, and how it is handled."""

from __future__ import annotations

import math
from fnmatch import fnmatchcase

import torch

from modelzoo_mediswift.config.callbacks import SparseKernels
from modelzoo_mediswift.config.fine_tuning import TrainOnly
from modelzoo_mediswift.config.trainer import InitConfig
from modelzoo_mediswift.engine.freed_memory import give_back_freed_memory
from modelzoo_mediswift.engine.host_memory import available_memory
from modelzoo_mediswift.engine.processes import Processes
from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.plan.memory import evaluated_bytes_per_token, training_memory
from modelzoo_mediswift.plan.parameters import count_parameters, parameter_shapes

# Of what is left, for a pass of evaluation: it took up to 2.9 times the prediction
# (benchmarks/step_memory.py --evaluate), for the holes between what the C library keeps.
EVALUATION_SHARE = 0.3
_FLOAT = 4
_GIB = 2**30


def require_memory(
    init: InitConfig, length: int, device: torch.device, processes: Processes, *, trains: bool
) -> None:
    """Raises UserError where a CPU's memory cannot hold the model with its state, a sequence of
    `length` tokens and the copy that a checkpoint is written from. What an earlier run of this
    process has freed is given back first."""
    if device.type != "cpu":
        return
    give_back_freed_memory()
    available = available_memory()
    # Where the processes meet, all have looked, and none has allocated anything yet.
    least = processes.least(available or 0) // processes.local_count
    if not least:
        return
    what, needed = _needed(init, length, processes, trains)
    if needed > least:
        each = " for each process" if processes.many else ""
        raise UserError(
            f"memory: the model with {what} takes {needed / _GIB:.1f} GiB, and "
            f"{least / _GIB:.1f} GiB are available{each}"
        )


def evaluated_at_once(
    init: InitConfig, device: torch.device, processes: Processes, *, trains: bool
) -> int | None:
    """Sequences that a pass of evaluation may take at a time beside the model, which is there, and
    if it `trains` its moments, which are not yet."""
    available = available_memory() if device.type == "cpu" else None
    if available is None:
        return None
    each = evaluated_bytes_per_token(init.model, mixed=_mixed(init))
    moments = 2 * _FLOAT * _trained(init) if trains else 0
    budget = EVALUATION_SHARE * (available / processes.local_count - moments)
    return max(1, processes.least(int(budget / (each * init.model.max_position_embeddings))))


def _needed(init: InitConfig, length: int, processes: Processes, trains: bool) -> tuple[str, int]:
    """What takes the most, and its bytes: at least so many, for one process."""
    counts = count_parameters(init.model, init.sparsity if trains else ())
    memory = training_memory(
        init.model, counts, sequences=1, sequence_length=length, mixed=_mixed(init)
    )
    if not trains:
        each = evaluated_bytes_per_token(init.model, mixed=_mixed(init))
        return "one sequence", memory.weights + memory.half_weights + each * length
    shared = processes.count if init.backend.shard_parameters else 1
    trained = _FLOAT * _trained(init)
    held = memory.weights + memory.masks + 2 * trained  # with both moments
    compressed = init.callback(SparseKernels) is not None and not processes.many
    if compressed:  # as much as may be
        held, trained = memory.weights + memory.masks, _FLOAT * counts.nonzero
    asked = init.micro_batch_size is not None  # whoever says so may try
    before = 0 if asked else memory.half_weights + memory.activations + memory.loss
    needs = {
        "its state" if asked else "its state and one sequence": held // shared
        + max(trained // shared, before)
    }
    if init.checkpoint.steps and not compressed:
        needs["its state, copied for a checkpoint,"] = held // shared + held
    return max(needs.items(), key=lambda need: need[1])


def _trained(init: InitConfig) -> int:
    """Number of parameters that train."""
    only = init.callback(TrainOnly)
    return sum(
        math.prod(shape)
        for name, shape in parameter_shapes(init.model).items()
        if only is None or any(fnmatchcase(name, glob) for glob in only.param_filter)
    )


def _mixed(init: InitConfig) -> bool:
    return init.precision is not None and init.precision.enabled

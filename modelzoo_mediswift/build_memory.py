"""Whether a model fits a device's memory, and how many sequences at a time."""

from __future__ import annotations

import sys

import torch

from modelzoo_mediswift.config.callbacks import SparseKernels
from modelzoo_mediswift.config.fine_tuning import TrainOnly
from modelzoo_mediswift.config.trainer import TrainerConfig
from modelzoo_mediswift.data.batch import Share
from modelzoo_mediswift.engine.host_memory import available_memory
from modelzoo_mediswift.engine.processes import Processes
from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.plan.memory import Memory, fitting_micro_batch
from modelzoo_mediswift.plan.plan import make_plan

# Of a GPU's memory; the rest is for the CUDA context, libraries and what the allocator wastes.
USED_MEMORY = 0.85
# Of what a host has left. Steps took up to 1.5 of what was predicted (benchmarks/step_memory.py),
# for the holes between what the C library keeps.
USED_HOST_MEMORY = 0.65
_GIB = 2**30


def require_memory(config: TrainerConfig, device: torch.device, processes: Processes) -> None:
    """Raises UserError where a CPU's memory cannot hold the model and its state.

    Call it before the model is made. Runs that may take less than `plan` predicts may try.
    """
    init = config.init
    less = init.callback(SparseKernels) or init.callback(TrainOnly)
    if device.type != "cpu" or less or init.backend.shard_parameters:
        return
    memory, available = make_plan(config).memory, _on_host(processes)
    if memory is None or available is None:
        return
    state = memory.weights + memory.masks + memory.optimizer + memory.gradients
    if state > available:
        each = " for each process" if processes.many else ""
        raise UserError(
            f"memory: weights, gradients and moments take {state / _GIB:.1f} GiB, and "
            f"{available / _GIB:.1f} GiB are left{each}"
        )


def choose_micro_batch(
    config: TrainerConfig,
    length: int,
    device: torch.device,
    processes: Processes,
    *,
    compiled: bool,
) -> int | None:
    """What the file says; where it says nothing, the sequences that should fit beside the model,
    the same in all processes."""
    init = config.init
    if init.micro_batch_size is not None or config.fit is None:
        return init.micro_batch_size
    memory = make_plan(config, length, compiled).memory
    budget = _budget(memory, device, processes) if memory else None
    if memory is None or budget is None:
        return None
    share = Share(0, processes.count).each(config.fit.train_dataloader.batch_size)
    several = init.loop.grad_accum_steps > 1 or processes.many
    fitting = processes.least(fitting_micro_batch(memory, share, budget, accumulates=several))
    takes = memory.of(fitting, accumulates=several or fitting < share).total
    if processes.first and (fitting < share or takes > budget):
        print(
            f"memory: {fitting} of {share} sequences at a time, which take about "
            f"{takes / _GIB:.1f} GiB; {budget / _GIB:.1f} GiB are to be used",
            file=sys.stderr,
        )
    return fitting


def _budget(memory: Memory, device: torch.device, processes: Processes) -> int | None:
    """Bytes to be used by this process, the model included, which is there already; None where the
    system does not tell."""
    if device.type == "cuda":
        return int(USED_MEMORY * torch.cuda.get_device_properties(device).total_memory)
    available = _on_host(processes)
    if available is None:
        return None
    return int(USED_HOST_MEMORY * (available + memory.weights + memory.masks))


def _on_host(processes: Processes) -> int | None:
    """Bytes that are left for this process."""
    available = available_memory()
    return None if available is None else available // processes.local_count

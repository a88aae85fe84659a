"""From a configuration to PyTorch's engine: processes, device, arithmetic, optimizer."""

from __future__ import annotations

import sys

import torch

from modelzoo_mediswift.build_memory import evaluated_at_once
from modelzoo_mediswift.build_model import build_schedule
from modelzoo_mediswift.config.callbacks import GroupByLength, SparseKernels
from modelzoo_mediswift.config.trainer import InitConfig, TrainerConfig
from modelzoo_mediswift.data.batch import Share
from modelzoo_mediswift.engine.compiler import use_compiler
from modelzoo_mediswift.engine.devices import find_device
from modelzoo_mediswift.engine.freed_memory import keep_freed_memory
from modelzoo_mediswift.engine.host_memory import available_memory
from modelzoo_mediswift.engine.parallel import distribute
from modelzoo_mediswift.engine.precision import autocast_dtype
from modelzoo_mediswift.engine.processes import Processes, join, started_processes
from modelzoo_mediswift.engine.sparse_layers import make_sparse_layers
from modelzoo_mediswift.engine.torch_engine import TorchEngine, Update
from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.model.gpt3 import GPT3
from modelzoo_mediswift.optim.adamw import AdamW
from modelzoo_mediswift.plan.memory import Memory, fitting_micro_batch
from modelzoo_mediswift.plan.plan import make_plan
from modelzoo_mediswift.sparsity.masking import Masking

# Of a GPU's memory; the rest is for the CUDA context, libraries and what the allocator wastes.
USED_MEMORY = 0.85
# Of what a host has left. Steps took up to 1.5 of what was predicted (benchmarks/step_memory.py),
# for the holes between what the C library keeps; up to 1.07 where it gives back what is freed
# (--give_back), which a step that needs the room does, slower for it but to the same bits.
USED_HOST_MEMORY = 0.65
USED_GIVING_BACK = 0.92
_GIB = 2**30


def meet(init: InitConfig, device_name: str) -> tuple[Processes, torch.device]:
    """The processes of this run, joined, and this one's device."""
    processes = started_processes()
    if init.backend.enable_distributed and not processes.many:
        raise UserError(
            "trainer.init.backend.enable_distributed: start the processes with "
            "`torchrun --nproc_per_node N run.py ...`"
        )
    device = find_device(device_name, processes.local_rank if processes.many else None)
    join(processes, device)
    return processes, device


def training_engine(
    config: TrainerConfig,
    model: GPT3,
    sparsity: Masking | None,
    length: int,
    device: torch.device,
    processes: Processes,
) -> TorchEngine:
    """An engine for `model` with its weights; the training sequences have `length` tokens."""
    init, fit = config.init, config.fit
    assert fit is not None
    compiled, autocast = _compiled(init, device), _autocast(init, device)
    module = distribute(
        model,
        device,
        processes,
        sparsity,
        shard=init.backend.shard_parameters,
        compiled=compiled,
        by_layer=_varies(init),
    )
    update = _update(init, model, sparsity)
    kernels = init.callback(SparseKernels)
    sparse_layers = None
    if kernels is not None:
        sparse_layers = make_sparse_layers(
            model,
            sparsity,
            update.optimizer,
            device,
            every_layer=kernels.layers == "all",
            tokens=(init.micro_batch_size or fit.train_dataloader.batch_size) * length,
            autocast=autocast,
            alone=not (processes.many or compiled),
        )
    return TorchEngine(
        model,
        device,
        update,
        autocast=autocast,
        micro_batch_size=_micro_batch(config, length, device, processes),
        evaluated_at_once=evaluated_at_once(init, device, processes, trains=True),
        # Several processes would have to halve together; a CPU continues to the same bits.
        guessed=init.micro_batch_size is None and device.type == "cuda" and not processes.many,
        module=module,
        processes=processes,
        sparse_layers=sparse_layers,
        fp8=init.fp8,
    )


def evaluation_engine(
    config: TrainerConfig, model: GPT3, device: torch.device, processes: Processes
) -> TorchEngine:
    """An engine that only evaluates, with a copy of the model in each process."""
    init = config.init
    return TorchEngine(
        model,
        device,
        autocast=_autocast(init, device),
        micro_batch_size=_evaluation_micro_batch(config, device, processes),
        evaluated_at_once=evaluated_at_once(init, device, processes, trains=False),
        module=distribute(model, device, compiled=_compiled(init, device), by_layer=_varies(init)),
        processes=processes,
        fp8=init.fp8,
    )


def _micro_batch(
    config: TrainerConfig, length: int, device: torch.device, processes: Processes
) -> int | None:
    """What the file says; where it says nothing, what should fit beside the model, the same in all
    processes. On a CPU None where all does."""
    init = config.init
    asked = init.micro_batch_size
    if config.fit is None or (asked is not None and device.type == "cuda"):
        return asked
    memory = make_plan(config, length, _compiled(init, device)).memory
    budget = _budget(memory, device, processes) if memory else None
    if memory is None or budget is None:
        return asked
    share = Share(0, processes.count).each(config.fit.train_dataloader.batch_size)
    several = init.loop.grad_accum_steps > 1 or processes.many
    if device.type == "cpu":
        whole = memory.of(asked or share, accumulates=several or asked is not None).total
        if processes.least(int(whole <= budget)):
            keep_freed_memory()
            return asked
        budget = _budget(memory, device, processes, USED_GIVING_BACK) or budget
    if asked is not None:
        fitting = asked
    else:
        fitting = processes.least(fitting_micro_batch(memory, share, budget, accumulates=several))
    takes = memory.of(fitting, accumulates=several or fitting < share).total
    if processes.first and (takes > budget or (fitting < share and asked is None)):
        print(
            f"memory: {fitting} of {share} sequences at a time, which take about "
            f"{takes / _GIB:.1f} GiB; {budget / _GIB:.1f} GiB are to be used",
            file=sys.stderr,
        )
    return None if device.type == "cpu" and fitting == share else fitting


def _evaluation_micro_batch(
    config: TrainerConfig, device: torch.device, processes: Processes
) -> int | None:
    if device.type == "cpu":
        keep_freed_memory()
        return config.init.micro_batch_size
    return _micro_batch(config, config.init.model.max_position_embeddings, device, processes)


def _budget(
    memory: Memory, device: torch.device, processes: Processes, share: float = USED_HOST_MEMORY
) -> int | None:
    """Bytes to be used by this process, the model included; None where the system does not tell."""
    if device.type == "cuda":
        return int(USED_MEMORY * torch.cuda.get_device_properties(device).total_memory)
    available = available_memory()
    if available is None:
        return None
    there = memory.weights + memory.masks
    return int(share * (available // processes.local_count + there))


def _compiled(init: InitConfig, device: torch.device) -> bool:
    return use_compiler(init.backend.compile, device, speaks=started_processes().first)


def _varies(init: InitConfig) -> bool:
    """Whether batches have many lengths. Programs are then made for several, and a fine-tuning may
    be shorter than the making of programs of the whole model."""
    return init.callback(GroupByLength) is not None


def _autocast(init: InitConfig, device: torch.device) -> torch.dtype | None:
    if init.precision is None:
        return None
    return autocast_dtype(device, init.precision.enabled, init.precision.fp16_type)


def _update(init: InitConfig, model: GPT3, sparsity: Masking | None) -> Update:
    optimizer, precision = init.optimizer, init.precision
    assert optimizer is not None
    return Update(
        AdamW(
            model,
            betas=optimizer.betas,
            eps=optimizer.eps,
            weight_decay=optimizer.weight_decay,
        ),
        build_schedule(init),
        sparsity,
        max_gradient_norm=precision.max_gradient_norm if precision else None,
        max_gradient_value=precision.max_gradient_value if precision else None,
        grad_accum_steps=init.loop.grad_accum_steps,
    )

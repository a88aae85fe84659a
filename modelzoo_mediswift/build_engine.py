"""From a configuration to PyTorch's engine: processes, device, arithmetic, optimizer."""

from __future__ import annotations

import torch

from modelzoo_mediswift.build_memory import choose_micro_batch
from modelzoo_mediswift.build_model import build_schedule
from modelzoo_mediswift.config.callbacks import GroupByLength, SparseKernels
from modelzoo_mediswift.config.trainer import InitConfig, TrainerConfig
from modelzoo_mediswift.data.batch import Share
from modelzoo_mediswift.engine.compiler import use_compiler
from modelzoo_mediswift.engine.devices import find_device
from modelzoo_mediswift.engine.freed_memory import keep_freed_memory
from modelzoo_mediswift.engine.parallel import distribute
from modelzoo_mediswift.engine.precision import autocast_dtype
from modelzoo_mediswift.engine.processes import Processes, join, started_processes
from modelzoo_mediswift.engine.sparse_layers import make_sparse_layers
from modelzoo_mediswift.engine.torch_engine import TorchEngine, Update
from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.model.gpt3 import GPT3
from modelzoo_mediswift.optim.adamw import AdamW
from modelzoo_mediswift.sparsity.masking import Masking


def meet(init: InitConfig, device_name: str) -> tuple[Processes, torch.device]:
    """The processes of this run, joined, and this one's device."""
    processes = started_processes()
    if init.backend.enable_distributed and not processes.many:
        raise UserError(
            "trainer.init.backend.enable_distributed: start the processes with "
            "`torchrun --nproc_per_node N run.py ...`"
        )
    device = find_device(device_name, processes.local_rank if processes.many else None)
    if device.type == "cpu":
        keep_freed_memory()
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
    batch_size, chosen = fit.train_dataloader.batch_size, init.micro_batch_size is None
    sparse_layers = None
    if kernels is not None:
        sparse_layers = make_sparse_layers(
            model,
            sparsity,
            update.optimizer,
            device,
            every_layer=kernels.layers == "all",
            tokens=(init.micro_batch_size or batch_size) * length,
            autocast=autocast,
            alone=not (processes.many or compiled),
        )
    return TorchEngine(
        model,
        device,
        update,
        autocast=autocast,
        micro_batch_size=choose_micro_batch(config, length, device, processes, compiled=compiled),
        # A CPU continues to the same bits. Of a shared model no process computes anything alone.
        guessed=chosen
        and device.type == "cuda"
        and not (processes.many and init.backend.shard_parameters),
        chosen_of=Share(0, processes.count).each(batch_size) if chosen else None,
        module=module,
        processes=processes,
        sparse_layers=sparse_layers,
        fp8=init.fp8,
    )


def evaluation_engine(
    config: TrainerConfig, model: GPT3, device: torch.device, processes: Processes
) -> TorchEngine:
    """An engine that only evaluates, with a copy of the model in each process."""
    init, length = config.init, config.init.model.max_position_embeddings
    compiled = _compiled(init, device)
    return TorchEngine(
        model,
        device,
        autocast=_autocast(init, device),
        micro_batch_size=choose_micro_batch(config, length, device, processes, compiled=compiled),
        module=distribute(model, device, compiled=compiled, by_layer=_varies(init)),
        processes=processes,
        fp8=init.fp8,
    )


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

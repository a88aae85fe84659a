"""From a configuration to runs on CPU and GPU.

This module and its parts, `build_*.py`, are the only ones that know every package.
"""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import torch

from modelzoo_mediswift.build_data import (
    group_window,
    open_data,
    refuse_shared_examples,
    train_loader,
    validation_loaders,
    validation_passes,
)
from modelzoo_mediswift.build_engine import evaluation_engine, meet, training_engine
from modelzoo_mediswift.build_memory import require_memory
from modelzoo_mediswift.build_model import build_masking, build_model, train_only
from modelzoo_mediswift.build_start import find_start, load_for_evaluation
from modelzoo_mediswift.build_trainer import (
    FitJob,
    Parts,
    fit_section,
    make_callbacks,
    make_fit_job,
    make_validate_trainer,
    run_seed,
)
from modelzoo_mediswift.config.trainer import TrainerConfig
from modelzoo_mediswift.data.batch import Share, Validation
from modelzoo_mediswift.engine.energy import energy_meters
from modelzoo_mediswift.engine.fp8 import use_fp8
from modelzoo_mediswift.trainer.callbacks.base import Callback
from modelzoo_mediswift.trainer.callbacks.revived_moved import RevivedMoved
from modelzoo_mediswift.trainer.callbacks.run_record import RunRecord
from modelzoo_mediswift.trainer.trainer import Trainer


def build_fit(
    config: TrainerConfig,
    device_name: str,
    *,
    resume: bool = False,
    load_states: str | None = None,
) -> FitJob:
    """Everything for `trainer.fit`, with the checkpoint that it starts from loaded.

    `resume` and `load_states` are those of `find_start`.
    """
    init, fit = config.init, fit_section(config)
    processes, device = meet(init, device_name)
    share = Share(processes.rank, processes.count)
    seed = processes.same(run_seed(init))
    torch.manual_seed(seed + processes.rank)  # dropout

    refuse_shared_examples(fit)
    source = open_data(fit.train_dataloader, init.model)
    loader = train_loader(fit.train_dataloader, source, init.model, group_window(init), share)
    validation = validation_passes(fit.val_dataloader, init, share)
    require_memory(config, device, processes)
    start = find_start(config, source, resume=resume, load_states=load_states)
    model = build_model(init.model, None if start.continues else seed)
    if init.fp8:
        use_fp8(model, init.fp8, device)
    sparsity = build_masking(init, model, seed)
    start.load_weights(init, model, seed)
    train_only(init, model)
    engine = training_engine(config, model, sparsity, source.max_sequence_length, device, processes)
    start.restore(engine, loader)
    callbacks: list[Callback] = []
    if start.revived and not init.backend.shard_parameters:  # counted where weights are whole
        callbacks.append(RevivedMoved(model, start.revived))
    callbacks += make_callbacks(init, sparsity)
    callbacks.append(RunRecord(loader.padding, energy_meters(device.type)))
    versions = {"torchao": importlib.metadata.version("torchao")} if init.fp8 else {}
    parts = Parts(engine, loader, validation, callbacks, sparsity, processes, versions)
    return make_fit_job(config, source, start, seed, parts)


def build_validate(
    config: TrainerConfig, device_name: str, path: Path | None, mode: str = "eval"
) -> tuple[Trainer, Validation]:
    """Everything for `trainer.validate` of the checkpoint `path` (None: the initial weights), or
    in mode eval_all for its part of `trainer.validate_all`."""
    init = config.init
    loaders = validation_loaders(config, mode)
    processes, device = meet(init, device_name)
    model = build_model(init.model, None if path else init.seed or 0)
    if init.fp8:
        use_fp8(model, init.fp8, device)
    step = load_for_evaluation(model, path)
    engine = evaluation_engine(config, model, device, processes)
    trainer = make_validate_trainer(init, engine, step, processes)
    share = Share(processes.rank, processes.count)
    return trainer, validation_passes(loaders, init, share)

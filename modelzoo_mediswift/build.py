"""From a configuration to runs; with its parts, the only code that knows every package."""

from __future__ import annotations

import importlib.metadata
import math
import platform
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor

from modelzoo_mediswift.build_data import (
    Validation,
    group_window,
    open_data,
    refuse_shared_examples,
    train_loader,
    validation_loaders,
    validation_passes,
)
from modelzoo_mediswift.build_model import (
    build_device,
    build_model,
    build_schedule,
    build_sparsity_rule,
    train_only,
)
from modelzoo_mediswift.checkpoint.densify import load_dense, with_prompt
from modelzoo_mediswift.checkpoint.directory import (
    Checkpoint,
    load_checkpoint,
    newest_checkpoint,
)
from modelzoo_mediswift.checkpoint.revival import Revival, RevivalInit, load_places
from modelzoo_mediswift.config.callbacks import (
    KeepNCheckpoints,
    LoadCheckpointStates,
    LogSparsity,
    SparseKernels,
)
from modelzoo_mediswift.config.dump import to_yaml
from modelzoo_mediswift.config.fine_tuning import DensifyOnLoad
from modelzoo_mediswift.config.fine_tuning import EarlyStopping as EarlyStoppingConfig
from modelzoo_mediswift.config.trainer import NEWEST, InitConfig, TrainerConfig
from modelzoo_mediswift.data.hdf5 import SequenceSource
from modelzoo_mediswift.data.loader import Share, TrainLoader
from modelzoo_mediswift.engine.base import Engine
from modelzoo_mediswift.engine.energy import energy_meters
from modelzoo_mediswift.engine.parallel import distribute
from modelzoo_mediswift.engine.peaks import peak_flops
from modelzoo_mediswift.engine.precision import autocast_dtype
from modelzoo_mediswift.engine.processes import Processes, join, started_processes
from modelzoo_mediswift.engine.sparse_layers import make_sparse_layers
from modelzoo_mediswift.engine.torch_engine import TorchEngine, Update
from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.model.gpt3 import GPT3
from modelzoo_mediswift.model.tensors import load_tensors
from modelzoo_mediswift.optim.adamw import AdamW
from modelzoo_mediswift.plan.memory import fitting_micro_batch
from modelzoo_mediswift.plan.plan import make_plan
from modelzoo_mediswift.sparsity.levels import levels, levels_by_kind, masks_sha256
from modelzoo_mediswift.sparsity.masking import Masking
from modelzoo_mediswift.trainer.callbacks.base import Callback, Run
from modelzoo_mediswift.trainer.callbacks.jsonl_log import JsonLog
from modelzoo_mediswift.trainer.callbacks.progress import ProgressLogger
from modelzoo_mediswift.trainer.callbacks.revived_moved import RevivedMoved
from modelzoo_mediswift.trainer.callbacks.run_record import RunRecord
from modelzoo_mediswift.trainer.callbacks.sparsity_table import SparsityTable
from modelzoo_mediswift.trainer.checkpointing import Checkpointing, engine_state
from modelzoo_mediswift.trainer.early_stopping import EarlyStopping
from modelzoo_mediswift.trainer.trainer import Cadence, Trainer

# Of a GPU's memory; the rest is for the CUDA context, libraries and what the allocator wastes.
USED_MEMORY = 0.85


@dataclass(frozen=True)
class FitJob:
    """Everything `trainer.fit` needs; `finished` when there is no step left to run."""

    trainer: Trainer
    loader: TrainLoader
    validation: Validation
    finished: bool

    def run(self) -> None:
        self.trainer.fit(self.loader, self.validation)


def build_fit(
    config: TrainerConfig,
    device_name: str,
    *,
    resume: bool = False,
    load_states: str | None = None,
) -> FitJob:
    """Everything for `trainer.fit`, with the checkpoint that it starts from loaded.

    With `resume`, the newest checkpoint in model_dir goes before fit.ckpt_path. `load_states`
    ("all" or "model") replaces what the callback LoadCheckpointStates says.
    """
    init, fit = config.init, config.fit
    if fit is None:
        raise UserError("the configuration has no trainer.fit section, which training needs")
    processes, device = _meet(init, device_name)
    share = Share(processes.rank, processes.count)
    model_dir = Path(init.model_dir)
    seed = processes.same(secrets.randbits(32) if init.seed is None else init.seed)
    torch.manual_seed(seed + processes.rank)  # dropout

    refuse_shared_examples(fit)
    source = open_data(fit.train_dataloader, init.model)
    loader = train_loader(fit.train_dataloader, source, init.model, group_window(init), share)
    validation = validation_passes(fit.val_dataloader, init, share)
    model = build_model(init.model, seed)
    rules = [build_sparsity_rule(block) for block in init.sparsity]
    sparsity = Masking(model, rules, seed) if rules else None

    path = start_path(config, model_dir, resume)
    checkpoint = load_checkpoint(path) if path else None
    states = load_states or load_states_of(init)
    weights_only = states == "model" and path is not None and path.parent != model_dir
    revival = Revival()
    if checkpoint is not None and path is not None:
        check_tokenizer(checkpoint, source, path)
        if weights_only:
            revival = load_weights(init, model, checkpoint, path, seed)
    revived = revived_places(model, revival, path)
    train_only(init, model)
    module = distribute(
        model,
        device,
        processes,
        sparsity,
        shard=init.backend.shard_parameters,
        compiled=_compiled(init, device),
    )
    update, autocast = _update(init, model, sparsity), _autocast(init, device)
    sequences = init.micro_batch_size or fit.train_dataloader.batch_size
    kernels = init.callback(SparseKernels)
    engine = TorchEngine(
        model,
        device,
        update,
        autocast=autocast,
        micro_batch_size=_micro_batch(config, source.max_sequence_length, device, processes),
        module=module,
        processes=processes,
        sparse_layers=make_sparse_layers(
            model,
            sparsity,
            update.optimizer,
            device,
            every_layer=kernels.layers == "all",
            tokens=sequences * source.max_sequence_length,
            autocast=autocast,
            alone=not (processes.many or _compiled(init, device)),
        )
        if kernels
        else None,
    )
    start = 0
    if checkpoint is not None and not weights_only:
        engine.load_state(engine_state(checkpoint))
        loader.load_state_dict(checkpoint.loader)
        start = checkpoint.step
    total = total_steps(init, start, len(source), fit.train_dataloader.batch_size)
    run = make_run(
        config,
        source,
        engine,
        start=start,
        total=total,
        seed=seed,
        path=path,
        checkpoint=checkpoint,
        revival=revival,
        sparsity=sparsity,
        devices=processes.count,
    )
    model_dir.mkdir(parents=True, exist_ok=True)
    if processes.first:
        Revival(revived).save(model_dir)
    stopping = early_stopping(init, model_dir, start)
    # Made by all processes, since some ask for whole masks, and used by one. Revived weights are
    # counted where they are whole.
    callbacks = [
        *([RevivedMoved(model, revived)] if revived and not init.backend.shard_parameters else []),
        *make_callbacks(init, sparsity),
        RunRecord(loader.padding, energy_meters(device.type)),
    ]
    trainer = Trainer(
        engine,
        run,
        cadence(init, start, total),
        make_checkpointing(config, source, writes=processes.first),
        callbacks if processes.first else [],
        stopping,
        agree=processes.any,
    )
    done = start >= total or (stopping is not None and stopping.exhausted)
    return FitJob(trainer, loader, validation, finished=done)


def make_run(
    config: TrainerConfig,
    source: SequenceSource,
    engine: Engine,
    *,
    start: int,
    total: int,
    seed: int,
    path: Path | None,
    checkpoint: Checkpoint | None,
    revival: Revival,
    sparsity: Masking | None,
    devices: int = 1,
    other_versions: Mapping[str, str] = MappingProxyType({}),
) -> Run:
    """What the log says about a training run, on any device."""
    plan = make_plan(config, source.max_sequence_length)
    model_dir = Path(config.init.model_dir)
    peak = peak_flops(engine.description)
    return Run(
        model_dir=model_dir,
        start_step=start,
        total_steps=total,
        log_every=config.init.logging.log_steps,
        flops_per_token=plan.flops_per_token.total,
        dense_flops_per_token=plan.dense_flops_per_token.total,
        palm_flops_per_token=plan.palm_flops_per_token,
        peak_flops=peak * devices if peak else None,
        facts={
            "name": model_dir.name,
            "device": engine.description,
            "seed": seed,
            "versions": versions() | dict(other_versions),
            "config": to_yaml(config),
            "plan": plan.to_dict(),
            "data": source.params or {},
            "data_fingerprint": source.fingerprint,
            "masks_sha256": masks_sha256(sparsity.parameters) if sparsity else None,
            "started_from": str(path) if path else None,
            "started_from_sha256": checkpoint.sha256 if checkpoint else None,
            **revival.facts(),
            "sparsity": [
                {"name": level.name, "kept": level.kept, "total": level.total}
                for level in (levels(sparsity.parameters) if sparsity else [])
            ],
        },
    )


def make_checkpointing(
    config: TrainerConfig, source: SequenceSource, *, writes: bool = True
) -> Checkpointing:
    """How a training run saves, on any device."""
    keep = config.init.callback(KeepNCheckpoints)
    return Checkpointing(
        Path(config.init.model_dir),
        config=to_yaml(config),
        data=source.params or {},
        versions=versions(),
        keep=keep.n if keep else None,
        writes=writes,
    )


def build_validate(
    config: TrainerConfig, device_name: str, path: Path | None
) -> tuple[Trainer, Validation]:
    """Everything for `trainer.validate` of the checkpoint `path` (None: the initial weights)."""
    init = config.init
    loaders = validation_loaders(config)
    processes, device = _meet(init, device_name)
    model = build_model(init.model, init.seed or 0)
    step = 0
    if path is not None:
        checkpoint = load_checkpoint(path)
        load_dense(model, checkpoint.model, path)  # zeros need no mask to be evaluated
        step = checkpoint.step
    engine = TorchEngine(
        model,
        device,
        autocast=_autocast(init, device),
        micro_batch_size=init.micro_batch_size,
        module=distribute(model, device, compiled=_compiled(init, device)),  # a copy in each
        processes=processes,
    )
    model_dir = Path(init.model_dir)
    model_dir.mkdir(parents=True, exist_ok=True)
    run = Run(model_dir, step, step, init.logging.log_steps, facts={"device": engine.description})
    callbacks: list[Callback] = [ProgressLogger()] if processes.first else []
    trainer = Trainer(engine, run, Cadence(step, 1), Checkpointing(model_dir), callbacks)
    share = Share(processes.rank, processes.count)
    return trainer, validation_passes(tuple(loaders), init, share)


def _meet(init: InitConfig, device_name: str) -> tuple[Processes, torch.device]:
    """The processes of this run, joined, and this one's device."""
    processes = started_processes()
    if init.backend.enable_distributed and not processes.many:
        raise UserError(
            "trainer.init.backend.enable_distributed: start the processes with "
            "`torchrun --nproc_per_node N run.py ...`"
        )
    device = build_device(device_name, processes.local_rank if processes.many else None)
    join(processes, device)
    return processes, device


def _micro_batch(
    config: TrainerConfig, length: int, device: torch.device, processes: Processes
) -> int | None:
    """What the file says; where it says nothing, what should fit a GPU beside the model."""
    asked = config.init.micro_batch_size
    memory = make_plan(config, length).memory
    if asked is not None or memory is None or config.fit is None or device.type != "cuda":
        return asked
    share = Share(0, processes.count).each(config.fit.train_dataloader.batch_size)
    total = torch.cuda.get_device_properties(device).total_memory
    return fitting_micro_batch(memory, share, int(USED_MEMORY * total))


def _compiled(init: InitConfig, device: torch.device) -> bool:
    asked = init.backend.compile
    return device.type == "cuda" if asked is None else asked


def versions() -> dict[str, str]:
    """What the run was made with."""
    return {
        "modelzoo-mediswift": importlib.metadata.version("modelzoo-mediswift"),
        "torch": torch.__version__,
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in ("numpy", "h5py", "safetensors")},
    }


def start_path(config: TrainerConfig, model_dir: Path, resume: bool) -> Path | None:
    """The checkpoint that training starts from, if any."""
    assert config.fit is not None
    asked = config.fit.ckpt_path
    newest = newest_checkpoint(model_dir)
    if asked is NEWEST or (resume and newest):
        automatic = resume or config.init.checkpoint.autoload_last_checkpoint
        return newest if automatic else None
    if newest and not (isinstance(asked, str) and Path(asked).parent == model_dir):
        raise UserError(
            f"{model_dir}: holds {newest.name} of an earlier run; add --resume to continue it, "
            "or choose another --model_dir"
        )
    return Path(asked) if isinstance(asked, str) else None


def load_states_of(init: InitConfig) -> str:
    callback = init.callback(LoadCheckpointStates)
    return callback.load_checkpoint_states if callback else "all"


def load_weights(
    init: InitConfig, model: GPT3, checkpoint: Checkpoint, path: Path, seed: int
) -> Revival:
    """Take the weights of another run's checkpoint; returns what was revived.

    Without DensifyOnLoad the checkpoint's masks are taken too and stay. A soft prompt that it does
    not have keeps its initial values.
    """
    densify = init.callback(DensifyOnLoad)
    if densify:
        given = seed if densify.seed is None else densify.seed
        where = RevivalInit(densify.init, densify.scale, given)
        return load_dense(model, checkpoint.model, path, where)
    strict = not init.checkpoint.disable_strict_checkpoint_loading
    load_tensors(model, with_prompt(model, checkpoint.model), strict)
    return Revival()


def revived_places(model: GPT3, revival: Revival, path: Path | None) -> dict[str, Tensor]:
    """What this run revived, or the run that it continues or takes its weights from."""
    if revival.revived or path is None:
        return revival.revived
    return load_places(model, path.parent)


def early_stopping(init: InitConfig, model_dir: Path, start: int) -> EarlyStopping | None:
    """What watches the validation set, with what it knows up to step `start`."""
    asked = init.callback(EarlyStoppingConfig)
    if asked is None:
        return None
    stopping = EarlyStopping(model_dir, asked.monitor, asked.patience, asked.min_delta)
    stopping.take_up(start)
    return stopping


def check_tokenizer(checkpoint: Checkpoint, source: SequenceSource, path: Path) -> None:
    """Weights mean nothing with token ids of another vocabulary."""
    trained = checkpoint.data.get("tokenizer_sha256")
    now = (source.params or {}).get("tokenizer_sha256")
    if trained and now and trained != now:
        raise UserError(
            f"{source.files[0].path.parent}: made with another tokenizer than the data of {path} "
            f"(SHA-256 {now[:12]}..., there {trained[:12]}...)"
        )


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


def _autocast(init: InitConfig, device: torch.device) -> torch.dtype | None:
    if init.precision is None:
        return None
    return autocast_dtype(device, init.precision.enabled, init.precision.fp16_type)


def total_steps(init: InitConfig, start: int, n_samples: int, batch_size: int) -> int:
    """The step at which training ends."""
    loop = init.loop
    limits = []
    if loop.num_steps is not None:
        return start + loop.num_steps
    if loop.max_steps is not None:
        limits.append(loop.max_steps)
    if loop.num_epochs is not None:
        per_epoch = loop.steps_per_epoch or n_samples // batch_size // loop.grad_accum_steps
        if per_epoch == 0:
            raise UserError(
                f"the training data has {n_samples} sequences, fewer than one step takes "
                f"({batch_size} x {loop.grad_accum_steps})"
            )
        limits.append(loop.num_epochs * per_epoch)
    return min(limits)


def cadence(init: InitConfig, start: int, total: int) -> Cadence:
    frequency = init.loop.eval_frequency
    if isinstance(frequency, float):
        frequency = max(1, math.ceil(frequency * (total - start)))  # up, as Model Zoo rounds
    return Cadence(
        total,
        init.logging.log_steps,
        evaluate_every=frequency or 0,
        checkpoint_every=init.checkpoint.steps or 0,
        checkpoint_first=init.checkpoint.save_initial_checkpoint,
    )


def make_callbacks(init: InitConfig, sparsity: Masking | None) -> list[Callback]:
    callbacks: list[Callback] = []
    changing = None
    if sparsity is not None:
        every = levels(sparsity.parameters)
        each = init.callback(LogSparsity) is not None
        if each and sparsity.dynamic:
            changing = partial(levels, sparsity.parameters)
        callbacks.append(SparsityTable(every if each else levels_by_kind(every)))
    if init.show_progress:
        callbacks.append(ProgressLogger())
    callbacks.append(JsonLog(changing))
    if init.tensorboard is not None:
        from modelzoo_mediswift.trainer.callbacks.tensorboard_log import TensorBoardLogger

        directory = init.tensorboard.summary_dir
        callbacks.append(TensorBoardLogger(Path(directory) if directory else None, changing))
    return callbacks

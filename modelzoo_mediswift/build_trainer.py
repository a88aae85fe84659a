"""From a configuration to the trainer around an engine: what is the same on every device."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import secrets
import sys
from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch

from modelzoo_mediswift.build_length import make_cadence, total_steps
from modelzoo_mediswift.build_start import Start
from modelzoo_mediswift.checkpoint.directory import is_of
from modelzoo_mediswift.checkpoint.revival import Revival
from modelzoo_mediswift.checkpoint.unfinished import clear_unfinished
from modelzoo_mediswift.config.callbacks import KeepNCheckpoints, LogSparsity
from modelzoo_mediswift.config.dump import to_yaml
from modelzoo_mediswift.config.fine_tuning import EarlyStopping as EarlyStoppingConfig
from modelzoo_mediswift.config.trainer import FitConfig, InitConfig, TrainerConfig
from modelzoo_mediswift.data.batch import Validation
from modelzoo_mediswift.data.batch_loader import named_dead_worker
from modelzoo_mediswift.data.hdf5 import SequenceSource
from modelzoo_mediswift.engine.base import Engine
from modelzoo_mediswift.engine.peaks import peak_flops
from modelzoo_mediswift.engine.processes import ALONE, Processes
from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.plan.plan import make_plan
from modelzoo_mediswift.report.log import read_log
from modelzoo_mediswift.report.run import RECORD_FILE
from modelzoo_mediswift.sparsity.levels import levels, levels_by_kind, masks_sha256
from modelzoo_mediswift.sparsity.masking import Masking
from modelzoo_mediswift.trainer.callbacks.base import Callback, Run
from modelzoo_mediswift.trainer.callbacks.jsonl_log import JsonLog
from modelzoo_mediswift.trainer.callbacks.progress import ProgressLogger
from modelzoo_mediswift.trainer.callbacks.sparsity_table import SparsityTable
from modelzoo_mediswift.trainer.checkpointing import Checkpointing
from modelzoo_mediswift.trainer.early_stopping import FILE as STOPPING
from modelzoo_mediswift.trainer.early_stopping import EarlyStopping
from modelzoo_mediswift.trainer.one_run import holding
from modelzoo_mediswift.trainer.stop_request import StopRequest
from modelzoo_mediswift.trainer.trainer import Cadence, Loader, Trainer


@dataclass(frozen=True)
class FitJob:
    """Everything `trainer.fit` needs; `finished` when there is no step left to run."""

    trainer: Trainer
    loader: Loader
    validation: Validation
    finished: bool

    def run(self) -> None:
        """Train; of several processes the one that writes holds the run's folder."""
        writes = self.trainer.checkpointing.writes
        held = holding(self.trainer.run.model_dir) if writes else nullcontext()
        with named_dead_worker(), held:
            if writes:
                clear_unfinished(self.trainer.run.model_dir, (RECORD_FILE, STOPPING))
            self.trainer.fit(self.loader, self.validation)


@dataclass(frozen=True)
class Parts:
    """What each device has its own way of making for a training run."""

    engine: Engine
    loader: Loader
    validation: Validation
    callbacks: Sequence[Callback]
    sparsity: Masking | None = None  # None on a system, which has the masks itself
    processes: Processes = ALONE
    other_versions: Mapping[str, str] = field(default_factory=dict)  # for the run's record


def fit_section(config: TrainerConfig) -> FitConfig:
    """`trainer.fit`. Raises UserError where the file has none."""
    if config.fit is None:
        raise UserError("the configuration has no trainer.fit section, which training needs")
    return config.fit


def run_seed(init: InitConfig) -> int:
    """The file's, or one drawn now, which the run's record keeps."""
    return secrets.randbits(32) if init.seed is None else init.seed


def make_fit_job(
    config: TrainerConfig, source: SequenceSource, start: Start, seed: int, parts: Parts
) -> FitJob:
    """Put the parts together; `start` is restored by now."""
    init, fit = config.init, fit_section(config)
    model_dir, processes, step = Path(init.model_dir), parts.processes, start.step
    total = total_steps(init.loop, fit.train_dataloader, len(source), step)
    run = _make_run(config, source, start, seed, parts, total)
    model_dir.mkdir(parents=True, exist_ok=True)
    if processes.first:
        Revival(start.revived).save(model_dir)
    stopping = _early_stopping(init, model_dir, step, processes)
    cadence = make_cadence(init, total)
    mine = _owed(start, model_dir, parts.validation, cadence) if processes.first else ()
    owed = [name for name in parts.validation if processes.any(name in mine)]
    trainer = Trainer(
        parts.engine,
        run,
        cadence,
        _make_checkpointing(config, source, writes=processes.first),
        parts.callbacks if processes.first else [],
        stopping,
        agree=processes.any,
        stop=StopRequest(os.getppid() if processes.many else None),
        owed=owed,
    )
    done = step >= total or (stopping is not None and stopping.exhausted)
    if processes.first and not done and init.schedule_steps and init.schedule_steps < total:
        print(
            f"trainer.init.schedulers: end at step {init.schedule_steps} of {total}; from there on "
            "the learning rate stays as it is",
            file=sys.stderr,
        )
    return FitJob(trainer, parts.loader, parts.validation, finished=done and not owed)


def make_validate_trainer(
    init: InitConfig, engine: Engine, step: int, processes: Processes = ALONE
) -> Trainer:
    """A trainer that evaluates the weights of `step`."""
    model_dir = Path(init.model_dir)
    model_dir.mkdir(parents=True, exist_ok=True)
    run = Run(model_dir, step, step, init.logging.log_steps, facts={"device": engine.description})
    callbacks = [ProgressLogger()] if processes.first else []
    return Trainer(engine, run, Cadence(step, 1), Checkpointing(model_dir), callbacks)


def make_callbacks(init: InitConfig, sparsity: Masking | None) -> list[Callback]:
    """What the file asks for, once `sparsity` has the masks to start with.

    Every process makes them, since some ask for whole masks; the first one uses them.
    """
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


def _make_run(
    config: TrainerConfig,
    source: SequenceSource,
    start: Start,
    seed: int,
    parts: Parts,
    total: int,
) -> Run:
    """What the log says about the run."""
    plan = make_plan(config, source.max_sequence_length)
    model_dir = Path(config.init.model_dir)
    peak = peak_flops(parts.engine.description)
    masks = parts.sparsity.parameters if parts.sparsity else ()
    return Run(
        model_dir=model_dir,
        start_step=start.step,
        total_steps=total,
        log_every=config.init.logging.log_steps,
        flops_per_token=plan.flops_per_token.total,
        dense_flops_per_token=plan.dense_flops_per_token.total,
        palm_flops_per_token=plan.palm_flops_per_token,
        peak_flops=peak * parts.processes.count if peak else None,
        facts={
            "name": model_dir.name,
            "device": parts.engine.description,
            "seed": seed,
            "versions": _versions() | dict(parts.other_versions),
            "config": to_yaml(config),
            "plan": plan.to_dict(),
            "data": source.params or {},
            "data_fingerprint": source.fingerprint,
            "masks_sha256": masks_sha256(masks) if parts.sparsity else None,
            **start.facts(),
            "sparsity": [
                {"name": level.name, "kept": level.kept, "total": level.total}
                for level in levels(masks)
            ],
        },
    )


def _owed(
    start: Start, model_dir: Path, validation: Validation, cadence: Cadence
) -> Collection[str]:
    """The validation sets to evaluate before the next step.

    All where the run begins: theirs is the score to improve on, and bad data shows up now, not in
    hours. Where it goes on, those whose score its log lacks since it was stopped.
    """
    all_or_none = () if start.step else validation.keys()
    if start.path is None or not start.continues or not is_of(model_dir, start.path):
        return all_or_none
    if start.step and not cadence.evaluate_at(start.step):
        return ()
    try:
        points = read_log(model_dir).evaluations
    except UserError:  # no log, no debts
        return all_or_none
    return validation.keys() - {point.name for point in points if point.step == start.step}


def _versions() -> dict[str, str]:
    """What the run was made with."""
    return {
        "modelzoo-mediswift": importlib.metadata.version("modelzoo-mediswift"),
        "torch": torch.__version__,
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in ("numpy", "h5py", "safetensors")},
    }


def _make_checkpointing(
    config: TrainerConfig, source: SequenceSource, *, writes: bool
) -> Checkpointing:
    keep = config.init.callback(KeepNCheckpoints)
    return Checkpointing(
        Path(config.init.model_dir),
        config=to_yaml(config),
        data=source.params or {},
        versions=_versions(),
        keep=keep.n if keep else None,
        writes=writes,
    )


def _early_stopping(
    init: InitConfig, model_dir: Path, step: int, processes: Processes
) -> EarlyStopping | None:
    """What watches the validation set, with what it knows up to `step`."""
    asked = init.callback(EarlyStoppingConfig)
    if asked is None:
        return None
    stopping = EarlyStopping(
        model_dir, asked.monitor, asked.patience, asked.min_delta, processes.first
    )
    stopping.take_up(step)
    return stopping

"""From a configuration to objects for CSX: what `build.py` is for the other devices."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from modelzoo_mediswift import build, build_data, build_model
from modelzoo_mediswift.checkpoint.densify import load_dense
from modelzoo_mediswift.checkpoint.directory import load_checkpoint
from modelzoo_mediswift.checkpoint.revival import Revival
from modelzoo_mediswift.config.data import DataLoaderConfig
from modelzoo_mediswift.config.model import ModelConfig
from modelzoo_mediswift.config.trainer import InitConfig, TrainerConfig
from modelzoo_mediswift.data.hdf5 import SequenceSource
from modelzoo_mediswift.data.loader import Batch, EvalLoader, TrainLoader
from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.sparsity.masking import initial_masks
from modelzoo_mediswift.trainer.callbacks.base import Run
from modelzoo_mediswift.trainer.callbacks.progress import ProgressLogger
from modelzoo_mediswift.trainer.callbacks.run_record import RunRecord
from modelzoo_mediswift.trainer.checkpointing import Checkpointing, engine_state
from modelzoo_mediswift.trainer.trainer import Cadence, Trainer

if TYPE_CHECKING:
    from modelzoo_mediswift.cerebras.assemble import Compiled
    from modelzoo_mediswift.cerebras.input import WorkerBatches

LOGS = "cerebras_logs"


@dataclass(frozen=True)
class CsxFitJob:
    """Everything `trainer.fit` needs; `finished` when there is no step left to run."""

    trainer: Trainer
    loader: WorkerBatches
    validation: build_data.Validation
    finished: bool

    def run(self) -> None:
        self.trainer.fit(self.loader, self.validation)


def compile_for_csx(config: TrainerConfig, mode: str) -> Sequence[Compiled]:
    """Compile or validate, as the configuration's backend says, the programs that `mode` runs."""
    from modelzoo_mediswift.cerebras import assemble
    from modelzoo_mediswift.cerebras.program import UninitializedGPT3

    assemble.check_for_csx(config)
    trains = not mode.startswith("eval")
    if trains and config.fit is None:
        raise UserError("the configuration has no trainer.fit section, which training needs")
    names = ["train"] if trains else []
    if any("train_dataloader" not in path for path in config.dataloaders()):
        names.append("eval")
    elif not trains:
        raise UserError("the configuration names no validation data (trainer.validate)")
    backend = assemble.csx_backend(config.init, Path(config.init.model_dir) / LOGS)
    with backend.device:
        model = UninitializedGPT3(**build_model.model_arguments(config.init.model, 0))
    build_model.train_only(config.init, model)
    engine = assemble.make_engine(config, backend, model, trains)
    return assemble.compile_programs(config, engine, names)


def build_fit(
    config: TrainerConfig,
    *,
    resume: bool = False,
    load_states: str | None = None,
    make_backend: Callable[[InitConfig, Path], Any] | None = None,
) -> CsxFitJob:
    """`build.build_fit` for CSX. `make_backend` can put another of the library's backends in
    the place of a system."""
    from modelzoo_mediswift.cerebras import assemble
    from modelzoo_mediswift.cerebras.program import TracedGPT3

    init, fit = config.init, config.fit
    if fit is None:
        raise UserError("the configuration has no trainer.fit section, which training needs")
    assemble.check_for_csx(config)
    model_dir = Path(init.model_dir)
    seed = secrets.randbits(32) if init.seed is None else init.seed
    torch.manual_seed(seed)  # what the library draws: dropout, SET's new connections

    build_data.refuse_shared_examples(fit)
    source = build_data.open_data(fit.train_dataloader, init.model)
    loader = _train_batches(fit.train_dataloader, source, init.model)
    validation = _validation(fit.val_dataloader, init)
    path = build.start_path(config, model_dir, resume)
    checkpoint = load_checkpoint(path) if path else None
    states = load_states or build.load_states_of(init)
    weights_only = states == "model" and path is not None and path.parent != model_dir

    model = TracedGPT3(**build_model.model_arguments(init.model, seed))
    revival = Revival()
    if checkpoint is not None and path is not None:
        build.check_tokenizer(checkpoint, source, path)
        if weights_only:
            revival = build.load_weights(init, model, checkpoint, path, seed)
    build_model.train_only(init, model)
    rules = [build_model.build_sparsity_rule(block) for block in init.sparsity]
    fresh = checkpoint is None or weights_only
    masks = initial_masks(model, rules, seed) if fresh else {}
    backend = (make_backend or assemble.csx_backend)(init, model_dir / LOGS)
    engine = assemble.make_engine(config, backend, model, True)
    if masks:
        engine.begin_with_masks(masks)
    start = 0
    if checkpoint is not None and not weights_only:
        engine.load_state(engine_state(checkpoint))
        loader.load_state_dict(checkpoint.loader)
        start = checkpoint.step
    total = build.total_steps(init, start, len(source), fit.train_dataloader.batch_size)
    run = build.make_run(
        config,
        source,
        engine,
        start=start,
        total=total,
        seed=seed,
        path=path,
        checkpoint=checkpoint,
        revival=revival,
        sparsity=None,  # the masks are on the system
        other_versions={"cerebras-pytorch": assemble.RELEASE},
    )
    model_dir.mkdir(parents=True, exist_ok=True)
    revival.save(model_dir)
    stopping = build.early_stopping(init, model_dir, start)
    trainer = Trainer(
        engine,
        run,
        build.cadence(init, start, total),
        build.make_checkpointing(config, source),
        [*build.make_callbacks(init, None), RunRecord()],
        stopping,
    )
    done = start >= total or (stopping is not None and stopping.exhausted)
    return CsxFitJob(trainer, loader, validation, finished=done)


def build_validate(
    config: TrainerConfig,
    path: Path | None,
    make_backend: Callable[[InitConfig, Path], Any] | None = None,
) -> tuple[Trainer, build_data.Validation]:
    """`build.build_validate` for CSX."""
    from modelzoo_mediswift.cerebras import assemble
    from modelzoo_mediswift.cerebras.program import TracedGPT3

    init = config.init
    loaders = build_data.validation_loaders(config)
    assemble.check_for_csx(config)
    model = TracedGPT3(**build_model.model_arguments(init.model, init.seed or 0))
    step = 0
    if path is not None:
        checkpoint = load_checkpoint(path)
        load_dense(model, checkpoint.model, path)  # zeros need no mask to be evaluated
        step = checkpoint.step
    model_dir = Path(init.model_dir)
    backend = (make_backend or assemble.csx_backend)(init, model_dir / LOGS)
    engine = assemble.make_engine(config, backend, model, False)
    model_dir.mkdir(parents=True, exist_ok=True)
    run = Run(model_dir, step, step, init.logging.log_steps, facts={"device": engine.description})
    trainer = Trainer(engine, run, Cadence(step, 1), Checkpointing(model_dir), [ProgressLogger()])
    return trainer, _validation(tuple(loaders), init)


def _train_batches(
    config: DataLoaderConfig, source: SequenceSource, model: ModelConfig
) -> WorkerBatches:
    return _worker_batches(config, build_data.train_loader(config, source, model), model)


def _validation(configs: tuple[DataLoaderConfig, ...], init: InitConfig) -> build_data.Validation:
    """As in `build.py`, each pass read by workers."""
    passes: dict[str, Callable[[], Iterable[Batch]]] = {}
    for name, (config, loader) in build_data.eval_loaders(configs, init).items():
        batches = _worker_batches(config, loader, init.model)
        passes[name] = batches.__iter__
    return passes


def _worker_batches(
    config: DataLoaderConfig, local: TrainLoader | EvalLoader, model: ModelConfig
) -> WorkerBatches:
    from modelzoo_mediswift.cerebras.input import Recipe, WorkerBatches

    trains = isinstance(local, TrainLoader)
    recipe = Recipe(
        data_dir=tuple(str(Path(folder).resolve()) for folder in config.data_dir),
        max_sequence_length=config.max_sequence_length,
        batch_size=config.batch_size,
        vocab_size=model.vocab_size,
        num_virtual_tokens=model.num_virtual_tokens,
        shuffle=config.shuffle and trains,
        shuffle_seed=config.shuffle_seed,
        num_samples=config.num_samples if trains else None,
        num_workers=config.num_workers,
        prefetch_factor=config.prefetch_factor,
    )
    return WorkerBatches(recipe, local)

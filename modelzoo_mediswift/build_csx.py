"""From a configuration to objects for CSX: what `build.py` is for the other devices."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from modelzoo_mediswift import build_data, build_model
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
from modelzoo_mediswift.config.data import DataLoaderConfig
from modelzoo_mediswift.config.model import ModelConfig
from modelzoo_mediswift.config.trainer import InitConfig, TrainerConfig
from modelzoo_mediswift.data.batch import Batch, Validation
from modelzoo_mediswift.data.hdf5 import SequenceSource
from modelzoo_mediswift.data.loader import EvalLoader, TrainLoader
from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.trainer.callbacks.run_record import RunRecord
from modelzoo_mediswift.trainer.trainer import Trainer

if TYPE_CHECKING:
    from modelzoo_mediswift.cerebras.assemble import Compiled
    from modelzoo_mediswift.cerebras.input import WorkerBatches

LOGS = "cerebras_logs"

MakeBackend = Callable[[InitConfig, Path], Any]
"""From the settings and the folder for the library's logs to one of its backends."""


def compile_for_csx(config: TrainerConfig, mode: str) -> Sequence[Compiled]:
    """Compile or validate, as the configuration's backend says, the programs that `mode` runs."""
    from modelzoo_mediswift.cerebras import assemble
    from modelzoo_mediswift.cerebras.program import UninitializedGPT3

    assemble.check_for_csx(config)
    trains = not mode.startswith("eval")
    if trains:
        fit_section(config)
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
    make_backend: MakeBackend | None = None,
) -> FitJob:
    """`build.build_fit` for CSX. `make_backend` can put another of the library's backends in
    the place of a system."""
    from modelzoo_mediswift.cerebras import assemble
    from modelzoo_mediswift.cerebras.program import TracedGPT3

    init, fit = config.init, fit_section(config)
    assemble.check_for_csx(config)
    seed = run_seed(init)
    torch.manual_seed(seed)  # what the library draws: dropout, SET's new connections

    build_data.refuse_shared_examples(fit)
    source = build_data.open_data(fit.train_dataloader, init.model)
    loader = _train_batches(fit.train_dataloader, source, init.model)
    validation = _validation(fit.val_dataloader, init)
    start = find_start(config, source, resume=resume, load_states=load_states)
    model = TracedGPT3(**build_model.model_arguments(init.model, seed))
    masking = build_model.build_masking(init, model, seed)
    start.load_weights(init, model, seed)
    masks = masking.take_out() if masking else {}
    build_model.train_only(init, model)
    backend = (make_backend or assemble.csx_backend)(init, Path(init.model_dir) / LOGS)
    engine = assemble.make_engine(config, backend, model, True)
    if masks:
        engine.begin_with_masks(masks)
    start.restore(engine, loader)
    parts = Parts(
        engine,
        loader,
        validation,
        [*make_callbacks(init, None), RunRecord()],
        other_versions={"cerebras-pytorch": assemble.RELEASE},
    )
    return make_fit_job(config, source, start, seed, parts)


def build_validate(
    config: TrainerConfig,
    path: Path | None,
    mode: str = "eval",
    make_backend: MakeBackend | None = None,
) -> tuple[Trainer, Validation]:
    """`build.build_validate` for CSX."""
    from modelzoo_mediswift.cerebras import assemble
    from modelzoo_mediswift.cerebras.program import TracedGPT3

    init = config.init
    loaders = build_data.validation_loaders(config, mode)
    assemble.check_for_csx(config)
    model = TracedGPT3(**build_model.model_arguments(init.model, init.seed or 0))
    step = load_for_evaluation(model, path)
    backend = (make_backend or assemble.csx_backend)(init, Path(init.model_dir) / LOGS)
    engine = assemble.make_engine(config, backend, model, False)
    return make_validate_trainer(init, engine, step), _validation(loaders, init)


def _train_batches(
    config: DataLoaderConfig, source: SequenceSource, model: ModelConfig
) -> WorkerBatches:
    return _worker_batches(config, build_data.train_loader(config, source, model), model)


def _validation(configs: tuple[DataLoaderConfig, ...], init: InitConfig) -> Validation:
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

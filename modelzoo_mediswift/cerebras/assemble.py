"""From a configuration to the library's backend, a model on it and an engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cerebras.pytorch as cstorch

from modelzoo_mediswift.cerebras.engine import CstorchEngine
from modelzoo_mediswift.cerebras.input import blank_batches
from modelzoo_mediswift.cerebras.program import TracedGPT3
from modelzoo_mediswift.cerebras.update import Update, use_precision
from modelzoo_mediswift.config.callbacks import ScopedTrainFlags
from modelzoo_mediswift.config.dump import to_dict
from modelzoo_mediswift.config.execution import ClusterConfig, PrecisionConfig
from modelzoo_mediswift.config.trainer import InitConfig, TrainerConfig
from modelzoo_mediswift.errors import UserError

RELEASE: str = cstorch.__version__


def csx_backend(init: InitConfig, artifact_dir: Path) -> Any:
    """The process's backend. Raises UserError for cluster settings that the library refuses."""
    backend = init.backend
    try:
        csx = cstorch.backend(
            "CSX",
            artifact_dir=str(artifact_dir),
            compile_dir=backend.compile_dir,
            compile_only=backend.compile_only,
            validate_only=backend.validate_only,
            cluster_config=_cluster(backend.cluster_config),
        )
    except (TypeError, ValueError) as error:
        raise UserError(f"trainer.init.backend: {error}") from error
    flags = init.callback(ScopedTrainFlags)
    if flags is not None:
        size = flags.micro_batch_size
        cstorch.backends.csx.performance.micro_batch_size = (
            size if isinstance(size, int | str) else {"explore": size.explore.model_dump()}
        )
    return csx


def check_for_csx(config: TrainerConfig) -> None:
    """Raises UserError for settings that mean something on CPU and GPU alone."""
    systems = config.init.backend.cluster_config.num_csx
    if config.init.loop.grad_accum_steps > 1:
        raise UserError(
            "trainer.init.loop.grad_accum_steps: on CSX the compiler divides the batch; "
            f"expected 1, got {config.init.loop.grad_accum_steps}"
        )
    if config.init.fp8:
        raise UserError("trainer.init.precision.fp8: is for a GPU, not for CSX; leave the key out")
    for path, loader in config.dataloaders().items():
        where = ".".join(map(str, ("trainer", *path)))
        if loader.batch_size < systems:
            raise UserError(
                f"{where}.batch_size: expected at least num_csx = {systems}, "
                f"got {loader.batch_size}"
            )
        if "train_dataloader" in path and not loader.drop_last:
            raise UserError(f"{where}.drop_last: CSX needs batches of one size; expected true")


def make_engine(
    config: TrainerConfig, backend: Any, model: TracedGPT3, train: bool
) -> CstorchEngine:
    """An engine for `model`; with optimizer, sparsity and schedule if it is to `train`."""
    precision = config.init.precision or PrecisionConfig()
    csx = backend.backend_type.is_csx
    use_precision(precision, csx)
    systems = config.init.backend.cluster_config.num_csx
    where = (
        f"CSX, {systems} system{'s' * (systems > 1)}" if csx else "Cerebras library's CPU backend"
    )
    half = precision.fp16_type if csx or precision.enabled else "fp32"
    return CstorchEngine(
        backend,
        model,
        update_maker(config) if train else None,
        autocast=precision.enabled and not csx,
        description=f"{where}, {half}",
    )


def update_maker(config: TrainerConfig) -> Callable[[TracedGPT3], Update]:
    """What makes the update once the model is on its device."""
    init = config.init
    assert init.optimizer is not None
    optimizer = init.optimizer
    return lambda model: Update(
        model,
        optimizer,
        init.scheduler,
        init.precision or PrecisionConfig(),
        sparsity_blocks(config),
    )


def sparsity_blocks(config: TrainerConfig) -> Sequence[dict[str, Any]]:
    """The YAML's blocks as the library takes them."""
    trainer: Any = to_dict(config)["trainer"]
    blocks: list[dict[str, Any]] = trainer["init"].get("sparsity", [])
    return blocks


@dataclass(frozen=True)
class Compiled:
    """A program that the compiler took."""

    name: str
    batch_size: int
    length: int
    cirh: Path | None


def compile_programs(
    config: TrainerConfig, engine: CstorchEngine, names: Sequence[str]
) -> list[Compiled]:
    """Trace and lower the programs `names` ("train", "eval"), on batches of zeros."""
    done = []
    for name in names:
        batch_size, length = _shape(config, name)
        loader = blank_batches(batch_size, length)
        if name == "train":
            engine.run_training(loader, 0, 1, 1, lambda result: True)
        else:
            engine.run_evaluation(loader, 1)
        path = Path(engine.backend.artifact_dir) / "executors" / "latest" / "cirh.mlir"
        done.append(Compiled(name, batch_size, length, path.resolve() if path.exists() else None))
    return done


def _shape(config: TrainerConfig, name: str) -> tuple[int, int]:
    """(batch size, sequence length); the model's longest sequence where the file has no other."""
    loaders = config.dataloaders().items()
    loader = next(
        loader for path, loader in loaders if ("train_dataloader" in path) == (name == "train")
    )
    longest = config.init.model.max_position_embeddings
    return loader.batch_size, loader.max_sequence_length or longest


def _cluster(config: ClusterConfig) -> Any:
    settings = {name: getattr(config, name) for name in type(config).model_fields}
    lists = {k: list(v) for k, v in settings.items() if isinstance(v, tuple)}
    return cstorch.distributed.ClusterConfig(**(settings | lists))

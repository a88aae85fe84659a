"""The whole configuration: ``trainer.init``, ``fit``, ``validate`` and ``validate_all``."""

from collections.abc import Mapping
from enum import Enum
from typing import Annotated, ClassVar, Final, Self, TypeVar

from pydantic import BeforeValidator, Field, PlainValidator, model_validator

from modelzoo_mediswift.config import modelzoo_keys
from modelzoo_mediswift.config.callbacks import (
    Callbacks,
    Loggers,
    Removed,
    ScopedTrainFlags,
    SparseKernels,
    TensorBoardLogger,
)
from modelzoo_mediswift.config.data import DataLoaderConfig, DataLoaders
from modelzoo_mediswift.config.execution import (
    BackendConfig,
    CheckpointConfig,
    Device,
    LoggingConfig,
    LoopConfig,
    PrecisionConfig,
)
from modelzoo_mediswift.config.fine_tuning import DensifyOnLoad, EarlyStopping
from modelzoo_mediswift.config.model import ModelConfig
from modelzoo_mediswift.config.modelzoo_keys import Refused
from modelzoo_mediswift.config.optimizer import (
    LinearLR,
    Optimizer,
    Scheduler,
    Schedulers,
    SequentialLR,
)
from modelzoo_mediswift.config.section import (
    Named,
    PathText,
    Problem,
    Section,
    Seed,
    problem,
    raise_problems,
    show,
)
from modelzoo_mediswift.config.sparsity import Sparsity

_N = TypeVar("_N", bound=Named)


class Newest(Enum):
    """The one value of a ``ckpt_path`` that the file does not give."""

    NEWEST = "newest"


NEWEST: Final = Newest.NEWEST
"""The newest checkpoint in model_dir, if there is one and autoload_last_checkpoint is true."""


def _checkpoint(value: object) -> str | Newest | None:
    if value is None or value is NEWEST or (isinstance(value, str) and value):
        return value
    raise problem(f"expected a path, or null to start from scratch, got {show(value)}")


def _checkpoints(value: object) -> tuple[str, ...] | Newest | None:
    if value is None or value is NEWEST:
        return value
    paths = tuple(value) if isinstance(value, list | tuple) else (value,)
    if not paths or not all(isinstance(path, str) and path for path in paths):
        raise problem(f"expected a path, a glob or a list of them, got {show(value)}")
    return paths


CheckpointPath = Annotated[str | Newest | None, PlainValidator(_checkpoint)]
CheckpointPaths = Annotated[tuple[str, ...] | Newest | None, PlainValidator(_checkpoints)]


def _null_is_default(value: object) -> object:
    return {} if value is None else value


class InitConfig(Section):
    """``trainer.init``: everything that fit and validate share."""

    refused: ClassVar[Mapping[str, Refused]] = modelzoo_keys.INIT

    model: ModelConfig
    """The network."""
    device: Device | None = None
    """Short for backend.backend_type, which has precedence."""
    backend: Annotated[BackendConfig, BeforeValidator(_null_is_default)] = BackendConfig()
    """Where it runs."""
    model_dir: PathText = "./model_dir"
    """Directory of checkpoints and logs, relative to the working directory."""
    optimizer: Optimizer | None = None
    """None only where nothing is trained."""
    schedulers: Schedulers = ()
    """The schedule of the learning rate; empty for the optimizer's own."""
    precision: PrecisionConfig | None = None
    """None for float32 throughout, without clipping."""
    sparsity: Sparsity = ()
    """Blocks of masked weights; empty for a dense model."""
    loop: Annotated[
        LoopConfig, BeforeValidator(lambda v: {"num_epochs": 1} if v is None else v)
    ] = LoopConfig(num_epochs=1)
    """Length of training."""
    checkpoint: Annotated[CheckpointConfig, BeforeValidator(_null_is_default)] = CheckpointConfig()
    """Saving and loading."""
    logging: Annotated[
        LoggingConfig, BeforeValidator(lambda v: {"log_steps": 1} if v is None else v)
    ] = LoggingConfig(log_steps=1)
    """The log."""
    callbacks: Callbacks = ()
    """What happens beside training."""
    loggers: Loggers = ()
    """Where scalars go; those that Model Zoo adds by itself need not be written."""
    seed: Seed | None = None
    """Seed of initial weights, masks and dropout; None for an arbitrary one."""

    @model_validator(mode="after")
    def _dense_or_sparse(self) -> Self:
        if self.sparsity and self.callback(DensifyOnLoad):
            raise_problems(
                "init",
                [Problem(("sparsity",), "DensifyOnLoad makes the model dense; leave this key out")],
            )
        return self

    @model_validator(mode="after")
    def _fp8_or_sparse_kernels(self) -> Self:
        if self.fp8 and self.callback(SparseKernels):
            text = "SparseKernels computes the same matrices, on a CPU; leave one of them out"
            raise_problems("init", [Problem(("precision", "fp8"), text)])
        return self

    @property
    def backend_type(self) -> str | None:
        """The device that the file asks for."""
        return self.backend.backend_type or self.device

    @property
    def fp8(self) -> str | None:
        """How FP8 is scaled; None where the file does not ask for it."""
        return self.precision.fp8 if self.precision else None

    @property
    def scheduler(self) -> Scheduler | None:
        """The schedule of the learning rate."""
        return self.schedulers[0] if self.schedulers else None

    @property
    def schedule_steps(self) -> int | None:
        """Length of the schedule in optimizer steps, where it has one."""
        return self.scheduler.total_iters if self.scheduler else None

    @property
    def warmup_steps(self) -> int:
        """Steps for which the learning rate rises at the start."""
        first = self.scheduler
        if isinstance(first, SequentialLR):
            first = first.schedulers[0]
        if isinstance(first, LinearLR) and first.initial_learning_rate < first.end_learning_rate:
            return first.total_iters
        return 0

    @property
    def micro_batch_size(self) -> int | None:
        """Sequences per forward and backward pass, where the file gives a number."""
        flags = self.callback(ScopedTrainFlags)
        size = flags.micro_batch_size if flags else None
        return size if isinstance(size, int) else None

    @property
    def show_progress(self) -> bool:
        """Whether progress goes to the terminal."""
        return not self._removed("ProgressLogger")

    @property
    def tensorboard(self) -> TensorBoardLogger | None:
        """TensorBoard's settings; None where the file switches it off."""
        for logger in self.loggers:
            if isinstance(logger, TensorBoardLogger):
                return logger
        return None if self._removed("TensorBoardLogger") else TensorBoardLogger()

    def callback(self, kind: type[_N]) -> _N | None:
        """The callback of one class, where the file has it."""
        for callback in self.callbacks:
            if isinstance(callback, kind):
                return callback
        return None

    def _removed(self, name: str) -> bool:
        return any(isinstance(entry, Removed) and entry.name == name for entry in self.loggers)


class FitConfig(Section):
    """``trainer.fit``: training, with evaluation along the way."""

    train_dataloader: DataLoaderConfig
    """Training data."""
    val_dataloader: DataLoaders = ()
    """Validation data; none for no evaluation."""
    ckpt_path: CheckpointPath = NEWEST
    """Checkpoint to start from; None for a fresh start."""


class ValidateConfig(Section):
    """``trainer.validate``: evaluation of one checkpoint."""

    val_dataloader: DataLoaderConfig
    """Validation data."""
    ckpt_path: CheckpointPath = NEWEST
    """Checkpoint to evaluate; None for the initial weights."""


class ValidateAllConfig(Section):
    """``trainer.validate_all``: evaluation of several checkpoints on several data sets."""

    val_dataloaders: DataLoaders = ()
    """Validation data."""
    ckpt_paths: CheckpointPaths = NEWEST
    """Paths or globs of the checkpoints to evaluate; None for the initial weights."""


class TrainerConfig(Section):
    """The mapping under ``trainer``."""

    init: InitConfig
    """What is trained, and how."""
    fit: FitConfig | None = None
    """Training."""
    validate_: ValidateConfig | None = Field(default=None, alias="validate")
    """Evaluation of one checkpoint."""
    validate_all: ValidateAllConfig | None = None
    """Evaluation of several."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problems = list(self._length_problems())
        if self.fit is not None:
            init = self.init
            if init.optimizer is None:
                problems.append(Problem(("init", "optimizer"), "missing; trainer.fit needs it"))
            elif init.optimizer.learning_rate is None and not init.schedulers:
                at = ("init", "optimizer", "AdamW", "lr")
                problems.append(Problem(at, "missing; needed where there are no schedulers"))
            loop = init.loop
            if loop.max_steps is None and loop.num_steps is None and loop.num_epochs is None:
                text = "expected max_steps, num_steps or num_epochs"
                problems.append(Problem(("init", "loop"), text))
            if init.callback(EarlyStopping) and not self.fit.val_dataloader:
                text = "missing; EarlyStopping watches a validation set"
                problems.append(Problem(("fit", "val_dataloader"), text))
            if init.callback(EarlyStopping) and not loop.eval_frequency:
                text = "expected steps or a share of the run, for EarlyStopping to watch"
                problems.append(Problem(("init", "loop", "eval_frequency"), text))
        if problems:
            raise_problems("trainer", problems)
        return self

    def dataloaders(self) -> dict[tuple[str | int, ...], DataLoaderConfig]:
        """Every dataloader with its path below ``trainer``."""
        found: dict[tuple[str | int, ...], DataLoaderConfig] = {}
        if self.fit is not None:
            found["fit", "train_dataloader"] = self.fit.train_dataloader
            for i, loader in enumerate(self.fit.val_dataloader):
                found["fit", "val_dataloader", i] = loader
        if self.validate_ is not None:
            found["validate", "val_dataloader"] = self.validate_.val_dataloader
        if self.validate_all is not None:
            for i, loader in enumerate(self.validate_all.val_dataloaders):
                found["validate_all", "val_dataloaders", i] = loader
        return found

    def _length_problems(self) -> list[Problem]:
        limit = self.init.model.max_position_embeddings
        return [
            Problem(
                (*path, "max_sequence_length"),
                f"expected at most max_position_embeddings = {limit}, "
                f"got {loader.max_sequence_length}",
            )
            for path, loader in self.dataloaders().items()
            if loader.max_sequence_length is not None and loader.max_sequence_length > limit
        ]

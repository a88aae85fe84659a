"""``trainer.init.callbacks`` and ``trainer.init.loggers``: lists of ``{Name: {...}}``."""

from collections.abc import Callable, Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator

from modelzoo_mediswift.config import modelzoo_keys
from modelzoo_mediswift.config.fine_tuning import (
    DensifyOnLoad,
    EarlyStopping,
    PseudoLabels,
    TrainOnly,
)
from modelzoo_mediswift.config.section import (
    ListOnly,
    Named,
    PathText,
    PositiveInt,
    Section,
    expected,
    named,
    only,
    problem,
    show,
    show_keys,
    unpack,
)


class KeepNCheckpoints(Named):
    """Delete the oldest of this run's checkpoints once there are more than n."""

    n: PositiveInt | None = None
    """How many to keep; None for all."""


def _states(value: object) -> object:
    states = value[0] if isinstance(value, list) and len(value) == 1 else value
    if isinstance(states, str) and states.lower() in ("all", "model"):
        return states.lower()
    raise problem(f"expected all or model (no other part of a checkpoint), got {show(value)}")


class LoadCheckpointStates(Named):
    """What is taken from the checkpoint that training starts from."""

    load_checkpoint_states: Annotated[Literal["all", "model"], BeforeValidator(_states)] = "all"
    """`all` continues a run; `model` takes the weights and starts everything else afresh."""


class GroupByLength(Named):
    """Let sequences of about the same length share a batch, on devices that take batches of any
    length; a Cerebras system keeps its static shapes and the order as drawn."""

    window: PositiveInt = 32
    """Batches among whose sequences those of like length are found."""


class LogSparsity(Named):
    """Log the sparsity of every masked parameter: before the first step and, where masks
    change, as aimed at and as it is at every logging step."""


class SparseKernels(Named):
    """Compute masked layers on a CPU at their non-zeros alone, in compressed form; on other
    devices, and where the kernels are not compiled, a message says that training is masked-dense.
    """

    layers: Annotated[Literal["fastest", "all"], expected("fastest or all")] = "fastest"
    """`fastest` measures at the start whether dense or sparse is faster for each shape."""


class ExploreRange(Section):
    """Bounds within which the Cerebras compiler looks for a micro-batch size."""

    min: PositiveInt | None = None
    """Smallest, in sequences."""
    max: PositiveInt | None = None
    """Largest, in sequences."""


class Explore(Section):
    """Ask the Cerebras compiler to find the fastest micro-batch size."""

    explore: ExploreRange
    """Where to look."""


class ScopedTrainFlags(Named):
    """Flags of the Cerebras backend while training."""

    micro_batch_size: Annotated[
        Annotated[int, Field(ge=1, lt=2**31)] | Literal["auto", "explore"] | Explore,
        expected("auto, explore, an integer >= 1 or {explore: {min, max}}"),
        Field(alias="csx.performance.micro_batch_size"),
    ] = "auto"
    """Sequences per forward and backward pass. An integer counts on every device; the other
    values are instructions to the Cerebras compiler."""


class ModelZooDefault(Named):
    """A callback or logger that Model Zoo adds by itself, and that asks for what we do anyway."""

    name: str
    """Its name in Model Zoo."""

    @property
    def key(self) -> str:
        return self.name

    @property
    def default(self) -> Mapping[str, object]:
        """The arguments that Model Zoo gives it."""
        return _DEFAULT_ARGUMENTS.get(self.name, {})


class Removed(Named):
    """One of Model Zoo's defaults, switched off by ``Name: null``."""

    name: str
    """Its name in Model Zoo."""

    @property
    def key(self) -> str:
        return self.name


class TensorBoardLogger(Named):
    """Write scalars as TensorBoard event files."""

    summary_dir: PathText | None = None
    """Where to; inside model_dir where absent."""
    legacy_event_dirs: Annotated[
        Literal[False],
        BeforeValidator(
            only(False, "the old layout of the event directories is not supported here", {})
        ),
    ] = False
    """One directory for all events."""


_CALLBACK_DEFAULTS = (
    "CheckLoss",
    "LogOptimizerParamGroup",
    "ComputeNorm",
    "ModelEvalMetrics",
    "RateProfiler",
    "DurationProfiler",
    "FlopUtilization",
    "SavePerformanceData",
    "DumpAvailableTensorNames",
    "ModelZooParamsMetadata",
    "SamplesStreamedInfo",
)
_LOGGER_DEFAULTS = ("ProgressLogger", "TensorBoardLogger", "TelemetryLogger")

_DEFAULT_ARGUMENTS: Mapping[str, Mapping[str, object]] = {"LogOptimizerParamGroup": {"keys": "lr"}}
_ALWAYS: Mapping[str, str] = {
    "CheckLoss": "a loss that is not finite always stops the run here",
}


def _with_defaults(
    supported: Callable[[object], Named], defaults: tuple[str, ...], what: str
) -> Callable[[object], Named]:
    """A validator for the supported classes, Model Zoo's defaults, and their removal."""
    by_lower = {name.lower(): name for name in defaults}

    def validate(value: object) -> Named:
        if isinstance(value, Named):
            return value
        key, arguments = unpack(value, what)
        name = by_lower.get(key.lower())
        if name is None:
            return supported(value)
        if arguments is None:
            if name in _ALWAYS:
                raise problem(f"{name} cannot be removed: {_ALWAYS[name]}")
            return Removed(name=name)
        if name == "TensorBoardLogger":
            return supported(value)
        entry = ModelZooDefault(name=name)
        if arguments not in (entry.default, _with_lists(entry.default)):
            written = ", ".join(f"{key}: {value}" for key, value in entry.default.items())
            raise problem(
                f"{name} is supported only with {{{written}}}, got {show_keys(arguments)}"
            )
        return entry

    return validate


def _with_lists(arguments: Mapping[str, object]) -> dict[str, object]:
    """The other way to write the same: `keys: [lr]` for `keys: lr`."""
    return {key: [value] for key, value in arguments.items()}


def _each_once(entries: tuple[Named, ...]) -> tuple[Named, ...]:
    seen: set[str] = set()
    for entry in entries:
        if entry.key in seen:
            raise problem(f"{entry.key} is in the list twice")
        seen.add(entry.key)
    return entries


_supported_callback = named(
    (
        KeepNCheckpoints,
        LoadCheckpointStates,
        DensifyOnLoad,
        GroupByLength,
        TrainOnly,
        EarlyStopping,
        PseudoLabels,
        LogSparsity,
        SparseKernels,
        ScopedTrainFlags,
    ),
    "callback",
    modelzoo_keys.CALLBACKS,
    also_known=_CALLBACK_DEFAULTS,
)
_supported_logger = named(
    (TensorBoardLogger,),
    "logger",
    modelzoo_keys.LOGGERS,
    also_known=("ProgressLogger", "TelemetryLogger"),
)

Callbacks = Annotated[
    tuple[
        Annotated[
            Named,
            PlainValidator(_with_defaults(_supported_callback, _CALLBACK_DEFAULTS, "callback")),
        ],
        ...,
    ],
    ListOnly,
    AfterValidator(_each_once),
]
Loggers = Annotated[
    tuple[
        Annotated[
            Named, PlainValidator(_with_defaults(_supported_logger, _LOGGER_DEFAULTS, "logger"))
        ],
        ...,
    ],
    ListOnly,
    AfterValidator(_each_once),
]

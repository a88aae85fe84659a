"""How a run is executed: backend, precision, loop, checkpoints, logging."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator

from modelzoo_mediswift.config import modelzoo_keys
from modelzoo_mediswift.config.modelzoo_keys import Refused
from modelzoo_mediswift.config.section import (
    ListOnly,
    NonNegativeInt,
    PathText,
    PositiveFloat,
    PositiveInt,
    Section,
    Text,
    expected,
    problem,
    show,
)


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


Device = Annotated[
    Literal["CSX", "CPU", "GPU"], BeforeValidator(_upper), expected("CSX, CPU or GPU")
]


def _label(value: str) -> str:
    key, _, rest = value.partition("=")
    if not key or not rest or "=" in rest:
        raise problem(f"expected key=value, got {show(value)}")
    return value


Label = Annotated[Text, AfterValidator(_label)]


class ClusterConfig(Section):
    """A Wafer-Scale Cluster; used on CSX only."""

    mgmt_address: Text | None = None
    """Management node as host:port."""
    mgmt_namespace: Text | None = None
    """Namespace of the jobs."""
    credentials_path: PathText | None = None
    """TLS certificate of the management node."""
    num_csx: PositiveInt = 1
    """Cerebras systems; the batch is divided among them."""
    max_wgt_servers: NonNegativeInt = 0
    """Weight servers at most; 0 leaves it to the cluster."""
    max_act_per_csx: NonNegativeInt = 0
    """Activation servers per system at most; 0 leaves it to the cluster."""
    num_workers_per_csx: NonNegativeInt = 1
    """Data-loading workers per system."""
    cbcore_image: Text | None = None
    """Container image of the Cerebras software."""
    job_labels: Annotated[tuple[Label, ...], ListOnly] = ()
    """Labels as key=value."""
    job_priority: Annotated[Literal["p1", "p2", "p3"], expected("p1, p2 or p3")] = "p2"
    """Priority in the queue; p1 is the highest."""
    job_time_sec: PositiveInt | None = None
    """Time limit of a job, in seconds."""
    mount_dirs: Annotated[tuple[PathText, ...], ListOnly] = ()
    """Directories that the workers see."""
    python_paths: Annotated[tuple[PathText, ...], ListOnly] = ()
    """Directories that the workers import from."""
    automount: bool = True
    """Mount packages that are installed in editable mode."""
    mount_all: bool = True
    """Mount every directory that the cluster allows."""
    disable_mount_check: bool = True
    """Only warn where a directory cannot be mounted."""
    disable_version_check: bool = False
    """Do not compare the client's release with the cluster's."""
    workflow_id: Text | None = None
    """Id under which the jobs are grouped."""
    notifications: Annotated[tuple[Text, ...], ListOnly] = ()
    """Addresses told when a job ends."""


class BackendConfig(Section):
    """Where the program runs; the command line's device has precedence."""

    refused: ClassVar[Mapping[str, Refused]] = modelzoo_keys.BACKEND

    backend_type: Device | None = None
    """Device."""
    compile_dir: PathText | None = None
    """Where the cluster keeps compiled programs, relative to its own root (CSX)."""
    compile_only: bool = False
    """Stop after compiling (CSX)."""
    validate_only: bool = False
    """Stop after checking that the program compiles (CSX)."""
    cluster_config: ClusterConfig = ClusterConfig()
    """The cluster (CSX)."""
    enable_distributed: bool = False
    """Insist on several processes, as torchrun starts them (GPU and CPU). They are used wherever
    torchrun is; with this key a run without it is refused."""
    shard_parameters: bool = False
    """Whether each process holds a share of weights, gradients and moments (FSDP2) rather than
    all of them (DDP). Not Model Zoo's."""
    compile: bool | None = None
    """Whether torch.compile makes one program of forward and backward pass; None: on a GPU, where
    it works. Not Model Zoo's."""

    @field_validator("validate_only")
    @classmethod
    def _one_of_two(cls, validate_only: bool, info: ValidationInfo) -> bool:
        if validate_only and info.data.get("compile_only"):
            raise problem("compile_only and validate_only exclude each other")
        return validate_only


class PrecisionConfig(Section):
    """Mixed precision, loss scaling and clipping."""

    enabled: bool = True
    """Whether matrices are multiplied in half precision; weights are always float32."""
    fp16_type: Annotated[
        Literal["bfloat16", "float16", "cbfloat16"], expected("bfloat16, float16 or cbfloat16")
    ] = "bfloat16"
    """Half precision type; cbfloat16 is the Cerebras system's and becomes bfloat16 elsewhere."""
    fp8: (
        Annotated[
            Literal["tensorwise", "rowwise", "rowwise_with_gw_hp"],
            expected("tensorwise, rowwise or rowwise_with_gw_hp"),
        ]
        | None
    ) = None
    """Scaling with which the decoder's matrices are multiplied in 8 bits (GPU; torchao's recipes):
    a factor for each tensor, the fastest; for each row; or for each row, with the weights'
    gradients in bfloat16, the most precise. None for no FP8. Not Model Zoo's."""
    precision_opt_level: Annotated[Literal[0, 1, 2], expected("0, 1 or 2")] | None = None
    """Speed against precision, for the Cerebras compiler."""
    loss_scaling_factor: Annotated[
        Annotated[float, Field(gt=0)] | Literal["dynamic"], expected("a number > 0, or dynamic")
    ] = 1.0
    """Factor of the loss before the backward pass; gradients are divided by it."""
    initial_loss_scale: PositiveFloat | None = None
    """First factor where it is dynamic; None for the device's default."""
    steps_per_increase: PositiveInt = 2000
    """Steps without overflow after which a dynamic factor doubles."""
    min_loss_scale: PositiveFloat | None = None
    """Lower bound of a dynamic factor."""
    max_loss_scale: PositiveFloat | None = None
    """Upper bound of a dynamic factor."""
    max_gradient_norm: PositiveFloat | None = None
    """Gradients with a larger global L2 norm are scaled down to it."""
    max_gradient_value: PositiveFloat | None = None
    """Each element of the gradients is clamped to plus or minus this."""
    log_loss_scale: bool | None = None
    """Whether to log a dynamic factor (CSX); where absent, it is."""

    @field_validator("fp8")
    @classmethod
    def _fp8_is_mixed_with_bfloat16(cls, recipe: str | None, info: ValidationInfo) -> str | None:
        enabled, half = info.data.get("enabled"), info.data.get("fp16_type")
        if recipe is not None and (enabled is False or half == "float16"):
            raise problem("needs enabled: true and fp16_type: bfloat16 for what is not in FP8")
        return recipe

    @field_validator("loss_scaling_factor")
    @classmethod
    def _cbfloat16_is_dynamic(
        cls, factor: float | Literal["dynamic"], info: ValidationInfo
    ) -> float | Literal["dynamic"]:
        wants = info.data.get("enabled") and info.data.get("fp16_type") == "cbfloat16"
        if wants and factor != "dynamic":
            raise problem(f"expected dynamic, which fp16_type: cbfloat16 needs, got {show(factor)}")
        return factor

    @field_validator("max_loss_scale")
    @classmethod
    def _not_below_min(cls, upper: float | None, info: ValidationInfo) -> float | None:
        lower = info.data.get("min_loss_scale")
        if upper is not None and lower is not None and upper < lower:
            raise problem(f"expected a number >= min_loss_scale = {lower}, got {upper}")
        return upper

    @field_validator("max_gradient_value")
    @classmethod
    def _norm_or_value(cls, value: float | None, info: ValidationInfo) -> float | None:
        if value is not None and info.data.get("max_gradient_norm") is not None:
            raise problem("gradients are clipped by max_gradient_norm or by this, not by both")
        return value

    @field_validator("log_loss_scale", mode="before")
    @classmethod
    def _log_if_dynamic(cls, value: object, info: ValidationInfo) -> object:
        return info.data.get("loss_scaling_factor") == "dynamic" if value is None else value


def _eval_frequency(value: object) -> object:
    """An integer counts steps; a float is a share of the run, so that 1 and 1.0 differ."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        good = value is None
    elif isinstance(value, int):
        good = 0 <= value < 2**31
    else:
        good = 0.0 <= value <= 1.0
    if not good:
        raise problem(
            f"expected steps (an integer >= 1), a share of the run (a number in (0.0, 1.0]), "
            f"or null for no evaluation, got {show(value)}"
        )
    return value or None


class LoopConfig(Section):
    """How long to train, and when to evaluate. Steps are optimizer steps."""

    num_steps: PositiveInt | None = None
    """Steps of this run, whatever the checkpoint's step."""
    max_steps: PositiveInt | None = None
    """Step at which training ends, counted over resumed runs."""
    num_epochs: PositiveInt | None = None
    """Passes over the training data."""
    steps_per_epoch: PositiveInt | None = None
    """Length of an epoch in batches; None for the whole data set."""
    eval_frequency: Annotated[int | float | None, BeforeValidator(_eval_frequency)] = 1.0
    """Steps between evaluations (int), or that as a share of the run (float); None for never."""
    eval_steps: PositiveInt | None = None
    """Batches per evaluation; None for the whole validation data."""
    grad_accum_steps: PositiveInt = 1
    """Batches whose gradients are summed before a step (CPU and GPU)."""

    @field_validator("num_epochs")
    @classmethod
    def _steps_or_epochs(cls, epochs: int | None, info: ValidationInfo) -> int | None:
        if epochs is not None and info.data.get("num_steps") is not None:
            raise problem("num_steps and num_epochs exclude each other")
        return epochs


class CheckpointConfig(Section):
    """When to save, and how to load."""

    refused: ClassVar[Mapping[str, Refused]] = modelzoo_keys.CHECKPOINT

    steps: NonNegativeInt | None = None
    """Steps between checkpoints; None or 0 for none."""
    autoload_last_checkpoint: bool = True
    """Whether a run without ckpt_path continues from the newest checkpoint in model_dir."""
    disable_strict_checkpoint_loading: bool = False
    """Whether missing and unexpected weights in a checkpoint are tolerated."""
    save_initial_checkpoint: bool = False
    """Whether to save before the first step too."""


class LoggingConfig(Section):
    """What goes to the log."""

    refused: ClassVar[Mapping[str, Refused]] = modelzoo_keys.LOGGING

    log_steps: PositiveInt
    """Steps between entries."""
    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"],
        BeforeValidator(_upper),
        expected("DEBUG, INFO, WARNING, ERROR or CRITICAL"),
    ] = "INFO"
    """Least important messages of the Cerebras client that are shown (CSX)."""

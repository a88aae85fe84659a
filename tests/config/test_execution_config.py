from collections.abc import Callable

import pytest

from modelzoo_mediswift.config.execution import LoopConfig
from modelzoo_mediswift.config.trainer import TrainerConfig

Load = Callable[..., TrainerConfig]
Complaint = Callable[..., str]


def section(text: str) -> tuple[str, str]:
    """Change to the small file: a section of trainer.init added, whose key is line 10."""
    return ("    loop:", f"    {text}\n    loop:")


def loop(text: str) -> tuple[str, str]:
    return ("max_steps: 10", text)


def test_defaults_are_model_zoos(load: Load) -> None:
    init = load(("    loop:\n      max_steps: 10\n", "")).init
    assert init.loop == LoopConfig(num_epochs=1, eval_frequency=1.0, grad_accum_steps=1)
    assert init.logging.log_steps == 1
    assert init.logging.log_level == "INFO"
    assert init.checkpoint.steps is None
    assert init.checkpoint.autoload_last_checkpoint is True
    assert init.precision is None
    assert init.backend_type is None
    assert init.model_dir == "./model_dir"
    assert init.seed is None


@pytest.mark.parametrize("key", ["loop", "logging", "checkpoint", "backend", "precision"])
def test_null_is_the_default(load: Load, key: str) -> None:
    without = load(("    loop:\n      max_steps: 10\n", ""))
    assert load(("    loop:\n      max_steps: 10\n", f"    {key}: null\n")) == without


def test_precision_defaults(load: Load) -> None:
    precision = load(section("precision: {}")).init.precision
    assert precision is not None
    assert precision.enabled is True
    assert precision.fp16_type == "bfloat16"
    assert precision.loss_scaling_factor == 1.0
    assert precision.steps_per_increase == 2000
    assert precision.max_gradient_norm is None
    assert precision.log_loss_scale is False


def test_a_dynamic_loss_scale_is_logged(load: Load) -> None:
    precision = load(section("precision: {loss_scaling_factor: dynamic}")).init.precision
    assert precision is not None
    assert precision.log_loss_scale is True


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "{fp16_type: cbfloat16}",
            "loss_scaling_factor: expected dynamic, which fp16_type: cbfloat16 needs, got 1.0",
        ),
        (
            "{fp8: blockwise}",
            'fp8: expected tensorwise, rowwise or rowwise_with_gw_hp, got "blockwise"',
        ),
        (
            "{enabled: false, fp8: rowwise}",
            "fp8: needs enabled: true and fp16_type: bfloat16 for what is not in FP8",
        ),
        (
            "{fp8: rowwise, fp16_type: float16}",
            "fp8: needs enabled: true and fp16_type: bfloat16 for what is not in FP8",
        ),
        ("{fp16_type: fp8}", 'fp16_type: expected bfloat16, float16 or cbfloat16, got "fp8"'),
        (
            "{loss_scaling_factor: dynamc}",
            'loss_scaling_factor: expected a number > 0, or dynamic, got "dynamc"',
        ),
        (
            "{loss_scaling_factor: 0}",
            "loss_scaling_factor: expected a number > 0, or dynamic, got 0",
        ),
        ("{precision_opt_level: 3}", "precision_opt_level: expected 0, 1 or 2, got 3"),
        (
            "{max_gradient_norm: 1.0, max_gradient_value: 1.0}",
            "max_gradient_value: gradients are clipped by max_gradient_norm or by this, "
            "not by both",
        ),
        (
            "{min_loss_scale: 2.0, max_loss_scale: 1.0}",
            "max_loss_scale: expected a number >= min_loss_scale = 2.0, got 1.0",
        ),
        ("{enabled: 1}", "enabled: expected true or false, got 1"),
    ],
)
def test_faulty_precision(complaint: Complaint, text: str, message: str) -> None:
    assert complaint(section(f"precision: {text}")) == f"10: trainer.init.precision.{message}"


def test_fp8_is_off_by_default(load: Load) -> None:
    assert load(section("precision: {}")).init.fp8 is None
    assert load().init.fp8 is None
    assert load(section("precision: {fp8: rowwise}")).init.fp8 == "rowwise"


def test_fp8_and_sparse_kernels_exclude_each_other(complaint: Complaint) -> None:
    both = "precision: {fp8: rowwise}\n    callbacks: [SparseKernels: {}]"
    assert complaint(section(both)) == (
        "10: trainer.init.precision.fp8: SparseKernels computes the same matrices, on a CPU; "
        "leave one of them out"
    )


def test_cbfloat16_that_is_switched_off_needs_no_dynamic_scale(load: Load) -> None:
    assert load(section("precision: {enabled: false, fp16_type: cbfloat16}")).init.precision


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("100", 100),
        ("0.5", 0.5),
        ("1", 1),
        ("1.0", 1.0),
        ("null", None),
        ("0", None),
        ("0.0", None),
    ],
)
def test_eval_frequency_in_steps_or_as_a_share(
    load: Load, written: str, read: int | float | None
) -> None:
    value = load(loop(f"max_steps: 10\n      eval_frequency: {written}")).init.loop.eval_frequency
    assert value == read
    assert type(value) is type(read), "1 is every step, 1.0 once at the end"


@pytest.mark.parametrize("value", ["-1", "1.5", "-0.5", "yes", "often", ".nan"])
def test_faulty_eval_frequency(complaint: Complaint, value: str) -> None:
    text = complaint(loop(f"max_steps: 10\n      eval_frequency: {value}"))
    assert text.startswith(
        "12: trainer.init.loop.eval_frequency: expected steps (an integer >= 1), "
        "a share of the run (a number in (0.0, 1.0]), or null for no evaluation, got "
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "num_steps: 1\n      num_epochs: 1",
            "12: trainer.init.loop.num_epochs: num_steps and num_epochs exclude each other",
        ),
        (
            "eval_steps: 1",
            "10: trainer.init.loop: expected max_steps, num_steps or num_epochs",
        ),
        ("max_steps: 0", "11: trainer.init.loop.max_steps: expected an integer >= 1, got 0"),
        (
            f"max_steps: {2**31}",
            "11: trainer.init.loop.max_steps: expected an integer < 2147483648, got 2147483648",
        ),
        (
            "max_steps: 1\n      grad_accum_steps: 0",
            "12: trainer.init.loop.grad_accum_steps: expected an integer >= 1, got 0",
        ),
    ],
)
def test_faulty_loops(complaint: Complaint, text: str, message: str) -> None:
    assert complaint(loop(text)) == message


def test_device_is_a_default_for_backend(load: Load) -> None:
    assert load(section("device: gpu")).init.backend_type == "GPU"
    assert load(section("backend: {backend_type: csx}")).init.backend_type == "CSX"
    both = load(section("device: CPU\n    backend: {backend_type: GPU}"))
    assert both.init.backend_type == "GPU", "as in Model Zoo, device is only a default"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("device: TPU", 'device: expected CSX, CPU or GPU, got "TPU"'),
        ("backend: {backend_type: 1}", "backend.backend_type: expected CSX, CPU or GPU, got 1"),
        (
            "backend: {compile_only: true, validate_only: true}",
            "backend.validate_only: compile_only and validate_only exclude each other",
        ),
        (
            "backend: {cluster_config: {num_csx: 0}}",
            "backend.cluster_config.num_csx: expected an integer >= 1, got 0",
        ),
        (
            "backend: {cluster_config: {job_priority: p4}}",
            'backend.cluster_config.job_priority: expected p1, p2 or p3, got "p4"',
        ),
        ("logging: {log_steps: 0}", "logging.log_steps: expected an integer >= 1, got 0"),
        ("logging: {}", "logging.log_steps: missing; this key is required"),
        (
            "logging: {log_steps: 1, log_level: LOUD}",
            'logging.log_level: expected DEBUG, INFO, WARNING, ERROR or CRITICAL, got "LOUD"',
        ),
        ("checkpoint: {steps: -1}", "checkpoint.steps: expected an integer >= 0, got -1"),
        ("seed: -1", "seed: expected an integer >= 0, got -1"),
        ("seed: 1.0", "seed: expected an integer >= 0, got 1.0"),
        ("model_dir: 3", "model_dir: expected a path, got 3"),
        ("model_dir: ''", 'model_dir: expected a path, got ""'),
    ],
)
def test_faulty_settings(complaint: Complaint, text: str, message: str) -> None:
    assert complaint(section(text)) == f"10: trainer.init.{message}"


def test_the_settings_of_a_cluster_are_read(load: Load) -> None:
    text = "backend: {cluster_config: {num_csx: 2, mount_dirs: [/a, /b], job_labels: [k=v]}}"
    cluster = load(section(text)).init.backend.cluster_config
    assert cluster.num_csx == 2
    assert cluster.mount_dirs == ("/a", "/b")
    assert cluster.job_labels == ("k=v",)
    assert cluster.automount is True

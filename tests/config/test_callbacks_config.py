from collections.abc import Callable

import pytest

from modelzoo_mediswift.config.callbacks import (
    DensifyOnLoad,
    KeepNCheckpoints,
    LoadCheckpointStates,
    LogSparsity,
    ModelZooDefault,
    Removed,
    ScopedTrainFlags,
    TensorBoardLogger,
)
from modelzoo_mediswift.config.trainer import TrainerConfig

Load = Callable[..., TrainerConfig]
Complaint = Callable[..., str]


def callbacks(*entries: str) -> tuple[str, str]:
    """Change to the small file: callbacks in line 11 and following."""
    lines = "".join(f"    - {entry}\n" for entry in entries)
    return ("    loop:", f"    callbacks:\n{lines}    loop:")


def loggers(*entries: str) -> tuple[str, str]:
    lines = "".join(f"    - {entry}\n" for entry in entries)
    return ("    loop:", f"    loggers:\n{lines}    loop:")


def test_each_of_our_callbacks_is_read(load: Load) -> None:
    init = load(
        callbacks(
            "KeepNCheckpoints: {n: 3}",
            "loadcheckpointstates: {load_checkpoint_states: model}",
            "DensifyOnLoad: {}",
            "LogSparsity: {}",
        )
    ).init
    assert init.callback(KeepNCheckpoints) == KeepNCheckpoints(n=3)
    states = init.callback(LoadCheckpointStates)
    assert states is not None
    assert states.load_checkpoint_states == "model"
    assert init.callback(DensifyOnLoad) == DensifyOnLoad()
    assert init.callback(LogSparsity) == LogSparsity()
    assert init.callback(ScopedTrainFlags) is None


@pytest.mark.parametrize(
    ("written", "read"), [("{}", "all"), ("{load_checkpoint_states: ALL}", "all"),
                          ("{load_checkpoint_states: [model]}", "model")],
)  # fmt: skip
def test_states_to_load_are_named_in_many_ways(load: Load, written: str, read: str) -> None:
    states = load(callbacks(f"LoadCheckpointStates: {written}")).init.callback(LoadCheckpointStates)
    assert states is not None
    assert states.load_checkpoint_states == read


@pytest.mark.parametrize(
    ("written", "micro_batch"),
    [("4", 4), ("auto", None), ("explore", None), ("{explore: {min: 2, max: 8}}", None)],
)
def test_micro_batch_size(load: Load, written: str, micro_batch: int | None) -> None:
    change = callbacks(f"ScopedTrainFlags: {{csx.performance.micro_batch_size: {written}}}")
    assert load(change).init.micro_batch_size == micro_batch


def test_model_zoos_own_may_be_written_out(load: Load) -> None:
    names = ["CheckLoss", "ComputeNorm", "ModelEvalMetrics", "RateProfiler", "DurationProfiler",
             "FlopUtilization", "SavePerformanceData", "DumpAvailableTensorNames",
             "ModelZooParamsMetadata", "SamplesStreamedInfo"]  # fmt: skip
    entries = [f"{name}: {{}}" for name in names] + ["LogOptimizerParamGroup: {keys: [lr]}"]
    assert load(callbacks(*entries)).init.callbacks == tuple(
        ModelZooDefault(name=name) for name in [*names, "LogOptimizerParamGroup"]
    )


def test_model_zoos_own_may_be_removed(load: Load) -> None:
    assert load(callbacks("ComputeNorm: null")).init.callbacks == (Removed(name="ComputeNorm"),)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            "CheckLoss: null",
            "CheckLoss cannot be removed: a loss that is not finite always stops the run here",
        ),
        ("ComputeNorm: {every: 3}", "ComputeNorm is supported only with {}, got the keys every"),
        (
            "LogOptimizerParamGroup: {keys: weight_decay}",
            "LogOptimizerParamGroup is supported only with {keys: lr}, got the keys keys",
        ),
        (
            "Chekloss: {}",
            'unknown callback "Chekloss"; did you mean "CheckLoss"? (known: CheckLoss, ',
        ),
        (
            "{A: {}, B: {}}",
            "expected one callback written as `Name: {...}`, got the keys A, B",
        ),
        ("LogSparsity", 'expected one callback written as `Name: {...}`, got "LogSparsity"'),
    ],
)
def test_faulty_entries(complaint: Complaint, entry: str, message: str) -> None:
    assert complaint(callbacks(entry)).startswith(f"11: trainer.init.callbacks.0: {message}")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("KeepNCheckpoints: {n: 0}", "KeepNCheckpoints.n: expected an integer >= 1, got 0"),
        ("DensifyOnLoad: null", "DensifyOnLoad: expected {} or a mapping, got null"),
        ("DensifyOnLoad: {a: 1}", 'DensifyOnLoad.a: unknown key "a" (known: init, scale, seed)'),
        (
            "LoadCheckpointStates: {load_checkpoint_states: 'model,optimizer'}",
            "LoadCheckpointStates.load_checkpoint_states: expected all or model "
            '(no other part of a checkpoint), got "model,optimizer"',
        ),
        (
            "ScopedTrainFlags: {csx.performance.micro_batch_size: 0}",
            "ScopedTrainFlags.csx.performance.micro_batch_size: expected auto, explore, "
            "an integer >= 1 or {explore: {min, max}}, got 0",
        ),
        (
            "ScopedTrainFlags: {csx.debug.retrace_every_iteration: true}",
            'ScopedTrainFlags.csx.debug.retrace_every_iteration: unknown key "csx.debug.'
            'retrace_every_iteration" (known: csx.performance.micro_batch_size)',
        ),
    ],
)
def test_faulty_arguments(complaint: Complaint, entry: str, message: str) -> None:
    assert complaint(callbacks(entry)) == f"11: trainer.init.callbacks.0.{message}"


def test_a_callback_may_not_be_listed_twice(complaint: Complaint) -> None:
    assert complaint(callbacks("LogSparsity: {}", "logsparsity: {}")) == (
        "10: trainer.init.callbacks: LogSparsity is in the list twice"
    )
    assert complaint(callbacks("ComputeNorm: {}", "ComputeNorm: null")) == (
        "10: trainer.init.callbacks: ComputeNorm is in the list twice"
    )


def test_a_mapping_in_place_of_the_list(complaint: Complaint) -> None:
    assert complaint(("    loop:", "    callbacks: {LogSparsity: {}}\n    loop:")) == (
        "10: trainer.init.callbacks: expected a list, got a mapping"
    )


def test_loggers_that_model_zoo_adds(load: Load) -> None:
    init = load().init
    assert init.show_progress is True
    assert init.tensorboard == TensorBoardLogger(summary_dir=None)


def test_loggers_by_name(load: Load) -> None:
    init = load(loggers("ProgressLogger: {}", "TensorBoardLogger: {summary_dir: ./tb}")).init
    assert init.show_progress is True
    assert init.tensorboard == TensorBoardLogger(summary_dir="./tb")


def test_loggers_switched_off(load: Load) -> None:
    change = loggers("ProgressLogger: null", "TensorBoardLogger: null", "TelemetryLogger: null")
    init = load(change).init
    assert init.show_progress is False
    assert init.tensorboard is None


def test_faulty_loggers(complaint: Complaint) -> None:
    assert complaint(loggers("TensorBoardLogger: {legacy_event_dirs: true}")) == (
        "11: trainer.init.loggers.0.TensorBoardLogger.legacy_event_dirs: the old layout of the "
        "event directories is not supported here; supported: false (got true)"
    )
    assert complaint(loggers("TensorBordLogger: {}")) == (
        '11: trainer.init.loggers.0: unknown logger "TensorBordLogger"; did you mean '
        '"TensorBoardLogger"? (known: ProgressLogger, TelemetryLogger, TensorBoardLogger)'
    )

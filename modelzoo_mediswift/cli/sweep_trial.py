"""One run of a sweep: train a point of the grid, and score what validation likes best of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelzoo_mediswift.build import build_fit
from modelzoo_mediswift.build_data import open_data
from modelzoo_mediswift.build_length import steps_per_epoch
from modelzoo_mediswift.checkpoint.directory import list_checkpoints
from modelzoo_mediswift.cli import recipe
from modelzoo_mediswift.cli.evaluate import (
    Asked,
    check_output,
    evaluate,
    write_result,
)
from modelzoo_mediswift.config.fine_tuning import EarlyStopping
from modelzoo_mediswift.config.load import load_config, load_stages
from modelzoo_mediswift.config.sweep import SweepConfig, chosen_stage
from modelzoo_mediswift.config.trainer import TrainerConfig
from modelzoo_mediswift.engine.base import EvalResult, NonFiniteLoss
from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.report.evaluations import EVALUATIONS_DIR
from modelzoo_mediswift.sweep.grid import Point
from modelzoo_mediswift.tasks.registry import TASKS, make_task
from modelzoo_mediswift.trainer.callbacks.base import Callback
from modelzoo_mediswift.trainer.early_stopping import best_checkpoint, read
from modelzoo_mediswift.whole_files import file_sha256

START = "trainer.fit.ckpt_path"

Report = Callable[[int, float], bool]
"""Takes an epoch and its monitored value, the larger the better; says whether to go on."""


class Hopeless(Exception):
    """The run was given up; the text says why."""


@dataclass(frozen=True)
class Trained:
    checkpoint: Path
    """The best."""
    watched: float
    """Its monitored value, the larger the better."""


class _Watch(Callback):
    """Reports each evaluation of the validation set `name`."""

    def __init__(self, name: str, monitor: str, steps_per_epoch: int, report: Report) -> None:
        self.name, self.monitor = name, monitor
        self.steps_per_epoch, self.report = steps_per_epoch, report

    def on_evaluate(self, step: int, name: str, result: EvalResult) -> None:
        if step == 0 or name != self.name:
            return
        value = -result.loss if self.monitor == "loss" else result.accuracy
        epoch = -(-step // self.steps_per_epoch)
        if not self.report(epoch, value):
            raise Hopeless(f"pruned after {epoch}")


def base_config(sweep: SweepConfig) -> TrainerConfig:
    """The file that the sweep varies; raises UserError if it lacks what a sweep needs."""
    config = _load(sweep, {})
    if config.fit is None or config.init.callback(EarlyStopping) is None:
        raise UserError(f"{sweep.params}: a sweep needs trainer.fit and the callback EarlyStopping")
    if config.init.loop.num_epochs is None or config.init.loop.max_steps is not None:
        raise UserError(f"{sweep.params}: a sweep needs loop.num_epochs, and no max_steps")
    return config


def point_config(sweep: SweepConfig, point: Point) -> tuple[TrainerConfig, int]:
    """The run of a point, and its steps per epoch.

    The schedule follows from the batch size: linear warm-up, then a cosine (paper, appendix A.2).
    """
    base = base_config(sweep)
    assert base.fit is not None
    assert base.init.loop.num_epochs is not None
    size, peak = point.configuration
    data = base.fit.train_dataloader.model_copy(update={"batch_size": size})
    per_epoch = steps_per_epoch(base.init.loop, data, len(open_data(data, base.init.model)))
    total = per_epoch * base.init.loop.num_epochs
    warmup = max(1, round(sweep.warmup * total))
    rise = {"initial_learning_rate": 0.0, "end_learning_rate": peak, "total_iters": warmup}
    fall = {
        "initial_learning_rate": peak,
        "end_learning_rate": peak * sweep.final_rate,
        "total_iters": max(1, total - warmup),
    }
    schedule = {"schedulers": [{"LinearLR": rise}, {"CosineDecayLR": fall}]}
    overrides: dict[str, object] = {
        "trainer.init.seed": point.seed,
        "trainer.init.model_dir": str(run_folder(sweep, point)),
        "trainer.init.schedulers": [{"SequentialLR": schedule}],
        "trainer.init.loop.eval_frequency": per_epoch,
        "trainer.init.checkpoint.steps": per_epoch,
        "trainer.fit.train_dataloader.batch_size": size,
        "trainer.fit.train_dataloader.shuffle_seed": point.seed,
    }
    return _load(sweep, overrides), per_epoch


def _load(sweep: SweepConfig, overrides: dict[str, object]) -> TrainerConfig:
    """The swept file, or the stage of a recipe, which starts where the one before ended."""
    path, start = Path(sweep.params), sweep.checkpoint_path
    if sweep.stage is None:
        given = {} if start is None else {START: start}
        return load_config(path, {**overrides, **given})
    stages = recipe.make_stages(load_stages(path), path)
    chosen = chosen_stage(sweep, [stage.config for stage in stages])
    if start is None:
        before = recipe.stages_before(stages, sweep.stage)
        config = recipe.start_from(chosen, before)
        found = config.fit.ckpt_path if config.fit else None
        if not isinstance(found, str):
            raise UserError(
                f"{path}: the stages before stage {sweep.stage} are not done; run them "
                f"(run.py CPU or GPU --params {path} --stage 1 ...), or give --checkpoint_path"
            )
        start = found
    return load_stages(path, {**overrides, START: start})[sweep.stage - 1]


def run_folder(sweep: SweepConfig, point: Point) -> Path:
    return Path(sweep.folder) / "runs" / point.name


def train_point(sweep: SweepConfig, point: Point, device: str, report: Report) -> Trained:
    """Train, or go on training. Raises Hopeless if `report` says so or the loss is not finite."""
    config, per_epoch = point_config(sweep, point)
    folder = run_folder(sweep, point)
    stopping = config.init.callback(EarlyStopping)
    assert stopping is not None
    sign = -1.0 if stopping.monitor == "loss" else 1.0
    job = build_fit(config, device, resume=True)
    start = job.trainer.run.start_step
    for step, value in read(folder).get("history", []):
        if step <= start:  # seen by an earlier worker, and not pruned then
            report(-(-step // per_epoch), sign * value)
    job.trainer.callbacks = [
        *job.trainer.callbacks,
        _Watch(next(iter(job.validation)), stopping.monitor, per_epoch, report),
    ]
    try:
        if not job.finished:
            job.run()
    except NonFiniteLoss as error:
        raise Hopeless("diverged") from error
    best = best_checkpoint(folder)
    assert best is not None, "the run has evaluated after every epoch"
    for path in list_checkpoints(folder):
        if path != best:
            shutil.rmtree(path)
    return Trained(best, sign * float(read(folder)["best"]["value"]))


def forget_checkpoints(sweep: SweepConfig, point: Point) -> None:
    """Free the disk of a run that was given up."""
    for path in list_checkpoints(run_folder(sweep, point)):
        shutil.rmtree(path)


def score(sweep: SweepConfig, checkpoint: Path, split: str, device: str) -> float:
    """The sweep's metric as `mediswift evaluate` has it, whose files are written beside the run."""
    output = checkpoint.parent / EVALUATIONS_DIR / f"{sweep.task}-{split}.json"
    check_output(output)
    asked = Asked(
        checkpoint,
        sweep.task,
        Path(sweep.data),
        Path(sweep.tokenizer),
        split=split,
        device=device,
        fold=sweep.fold,
    )
    found = evaluate(asked)
    write_result(output, found.record, found.scores)
    scores = found.scores.get("likelihood") or found.scores["generation"]
    return _metric(sweep, scores.as_dict())


def check_scoring(sweep: SweepConfig) -> None:
    """Raises UserError for what would otherwise be found after the first training alone: the
    task's files, the metric, the tokenizer."""
    if sweep.task not in TASKS:
        raise UserError(f"sweep.task: no task {sweep.task!r}, expected {', '.join(TASKS)}")
    base = base_config(sweep)
    assert base.fit is not None
    task = make_task(sweep.task, fold=sweep.fold)
    for split in ("validation", "test"):
        gold = {one.id: one.label for one in task.read(Path(sweep.data), split)}
        _metric(sweep, task.score(gold, gold).as_dict())
    made_with = open_data(base.fit.train_dataloader, base.init.model).params or {}
    tokenizer = Path(sweep.tokenizer)
    if not tokenizer.is_file():
        raise UserError(f"sweep.tokenizer: {tokenizer}: no such file")
    if made_with.get("tokenizer_sha256") not in (None, file_sha256(tokenizer)):
        folder = base.fit.train_dataloader.data_dir[0]
        raise UserError(f"sweep.tokenizer: {tokenizer}: not the one that made {folder}")


def _metric(sweep: SweepConfig, scores: Mapping[str, Any]) -> float:
    value = scores.get(sweep.metric)
    if not isinstance(value, int | float):
        known = ", ".join(k for k, v in scores.items() if isinstance(v, float))
        raise UserError(f"sweep.metric: {sweep.task} has no {sweep.metric}; it has {known}")
    return float(value)

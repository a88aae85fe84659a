"""`mediswift sweep FILE`: the paper's grids, resumable, on any number of workers."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from modelzoo_mediswift.cli.errors import INTERRUPTED
from modelzoo_mediswift.cli.flags import add_device_flag
from modelzoo_mediswift.config.sweep import SweepConfig, load_sweep
from modelzoo_mediswift.errors import UserError, missing_package
from modelzoo_mediswift.help_format import path_text
from modelzoo_mediswift.sweep.grid import Grid, Point

if TYPE_CHECKING:
    import optuna

    from modelzoo_mediswift.sweep.storage import Storage

POLL = 1.0  # seconds between looks at what other workers do


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "sweep",
        help="fine-tune over a grid of batch size, learning rate and seed",
        description="Train every point of a grid, choose the configuration with the best mean "
        "validation score, and report its test score over the seeds. Stop it at any moment, also "
        "by force: the same command goes on. Start it in several terminals, or with --workers, "
        "to share the work.",
        epilog="example: mediswift sweep params/sweeps/pubmedqa_tiny.yaml --workers 2",
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="YAML with the key `sweep`")
    parser.add_argument(
        "--checkpoint_path",
        type=path_text,
        metavar="PATH",
        help="start every run here, whatever FILE says",
    )
    parser.add_argument(
        "--folder", type=path_text, metavar="DIR", help="put the sweep here, whatever FILE says"
    )
    add_device_flag(parser)
    parser.add_argument("--workers", type=int, default=1, help="processes (default: 1)")
    parser.add_argument("--status", action="store_true", help="print the grid so far, and stop")
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    if arguments.workers < 1:
        raise UserError(f"--workers: expected an integer >= 1, got {arguments.workers}")
    sweep = load_sweep(
        arguments.file, checkpoint_path=arguments.checkpoint_path, folder=arguments.folder
    )
    storage = open_storage(sweep)
    if arguments.status:
        from modelzoo_mediswift.sweep.result import markdown

        print(markdown(storage.grid, storage.outcomes(), None), end="")
        return 0
    others = [_start_worker(arguments, number) for number in range(1, arguments.workers)]
    try:
        code = work(sweep, storage, arguments.device)
    finally:
        codes = [other.wait() for other in others]
    return code or next((c for c in codes if c), 0)


def _start_worker(arguments: argparse.Namespace, number: int) -> subprocess.Popen:
    door = "import sys; from modelzoo_mediswift.cli.main import main; sys.exit(main())"
    command = [sys.executable, "-c", door, "sweep", str(arguments.file)]
    command += ["--device", arguments.device]
    for flag in ("checkpoint_path", "folder"):
        given = getattr(arguments, flag)
        command += [f"--{flag}", given] if given else []
    own_gpu = {}
    if arguments.device == "GPU":
        from modelzoo_mediswift.engine.devices import gpu_of_worker

        own_gpu = gpu_of_worker(number)
    return subprocess.Popen(command, env=os.environ | own_gpu)


def open_storage(sweep: SweepConfig) -> Storage:
    """The sweep's study; UserError where Optuna is missing or the study is another sweep's."""
    try:
        import optuna
    except ModuleNotFoundError:
        raise missing_package("sweep", "optuna", "sweep") from None
    from modelzoo_mediswift.cli.sweep_trial import base_config, check_scoring
    from modelzoo_mediswift.config.dump import to_yaml
    from modelzoo_mediswift.sweep.storage import Storage

    check_scoring(sweep)
    settings = sweep.model_dump(mode="json", exclude={"folder", "params"})
    settings["params"] = to_yaml(base_config(sweep))
    pruner: optuna.pruners.BasePruner = optuna.pruners.NopPruner()
    if sweep.pruning is not None:
        pruner = optuna.pruners.MedianPruner(
            n_startup_trials=sweep.pruning.startup, n_warmup_steps=sweep.pruning.after_epochs
        )
    grid = Grid(sweep.batch_size, sweep.learning_rate, sweep.seeds)
    return Storage(Path(sweep.folder), grid, settings, pruner)


def work(sweep: SweepConfig, storage: Storage, device: str) -> int:
    """Run points until none is left, then report; what others run is waited for."""
    from modelzoo_mediswift.trainer.trainer import Interrupted

    while not storage.grid.finished(storage.outcomes()):
        claimed = storage.claim()
        if claimed is None:
            if storage.grid.finished(storage.outcomes()):
                break
            time.sleep(POLL)
            continue
        point, trial, lock = claimed
        try:
            _run_point(sweep, storage, point, trial, device)
        except Interrupted:
            print(f"{point.name}: interrupted; the same command continues", file=sys.stderr)
            return INTERRUPTED
        finally:
            lock.close()
    with storage.alone():
        report(sweep, storage, device)
    return 0


def _run_point(
    sweep: SweepConfig, storage: Storage, point: Point, trial: optuna.Trial, device: str
) -> None:
    from optuna.trial import TrialState

    from modelzoo_mediswift.cli.sweep_trial import Hopeless, forget_checkpoints, score, train_point

    first_seed = point.seed == storage.grid.seeds[0]

    def go_on(epoch: int, value: float) -> bool:
        trial.report(value, epoch)
        return not (first_seed and trial.should_prune())

    left = len(storage.grid.left(storage.outcomes()))
    print(f"{point.name}: {left} runs to be started after it", file=sys.stderr)
    try:
        trained = train_point(sweep, point, device, go_on)
    except Hopeless as reason:
        print(f"{point.name}: {reason}", file=sys.stderr)
        trial.set_user_attr("reason", str(reason))
        forget_checkpoints(sweep, point)
        storage.study.tell(trial, state=TrialState.PRUNED)
        return
    value = score(sweep, trained.checkpoint, "validation", device)
    trial.set_user_attr("watched", trained.watched)
    storage.study.tell(trial, value)
    print(f"{point.name}: validation {sweep.metric} {value:.4f}", file=sys.stderr)


def report(sweep: SweepConfig, storage: Storage, device: str) -> None:
    """Score the chosen configuration on the test set, the only one that ever is, and write."""
    from modelzoo_mediswift.cli.sweep_trial import run_folder, score
    from modelzoo_mediswift.sweep.result import RESULT_FILE, result_record, write_result
    from modelzoo_mediswift.trainer.early_stopping import best_checkpoint

    folder, outcomes = Path(sweep.folder), storage.outcomes()
    if (folder / RESULT_FILE).is_file():
        print((folder / "grid.md").read_text(encoding="utf-8"), end="")
        return
    chosen = storage.grid.best(outcomes)
    if chosen is None:
        raise UserError(f"{folder}: no configuration has finished with all seeds")
    test = {}
    for seed in storage.grid.seeds:
        checkpoint = best_checkpoint(run_folder(sweep, Point(chosen, seed)))
        assert checkpoint is not None
        test[seed] = score(sweep, checkpoint, "test", device)
    record = result_record(storage.grid, outcomes, sweep.metric, test)
    write_result(folder, storage.grid, outcomes, record)
    print((folder / "grid.md").read_text(encoding="utf-8"), end="")
    print(f"written: {folder}/{{{RESULT_FILE},grid.md,grid.csv,heat_map.png,heat_map.svg}}")

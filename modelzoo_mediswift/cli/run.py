"""`run.py {CSX,CPU,GPU} --params FILE`: Model Zoo's flags, on this project's engines."""

from __future__ import annotations

import argparse
import glob
import os
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelzoo_mediswift.cerebras.reach import cluster_failures
from modelzoo_mediswift.cli import csx, recipe
from modelzoo_mediswift.cli.errors import INTERRUPTED, guarded
from modelzoo_mediswift.config.fine_tuning import PseudoLabels
from modelzoo_mediswift.config.load import Displacing, load_stages
from modelzoo_mediswift.config.trainer import NEWEST, TrainerConfig
from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.help_format import CommandParser, path_text

if TYPE_CHECKING:
    from modelzoo_mediswift.engine.base import EvalResult

# Threads of GNU OpenMP spin this many times before they sleep. Its default is so long that two
# programs on the same cores slow each other down several times; this is long enough between two
# operations of a step. It must be set before torch is imported.
SPIN_COUNT = "20000"

# Flag -> the key it sets before the file is checked.
OVERRIDES = {
    "model_dir": "trainer.init.model_dir",
    "max_steps": "trainer.init.loop.max_steps",
    "num_steps": "trainer.init.loop.num_steps",
    "num_epochs": "trainer.init.loop.num_epochs",
    "eval_steps": "trainer.init.loop.eval_steps",
    "checkpoint_path": "trainer.fit.ckpt_path",
    "logging": "trainer.init.logging.log_level",
}
# Flag -> the file's keys beside which its key would be refused or of no effect.
DISPLACED = {
    "num_steps": ("num_epochs",),
    "num_epochs": ("num_steps",),
    "max_steps": ("num_steps",),
}


def make_parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="run.py",
        description="Train or evaluate a MediSwift model as a Model Zoo trainer YAML describes it.",
        epilog="example: python run.py CPU --params params/tiny_s75.yaml",
    )
    parser.add_argument("device", choices=("CSX", "CPU", "GPU"), help="where to run")
    parser.add_argument("-p", "--params", type=Path, required=True, help="trainer YAML")
    parser.add_argument(
        "-m",
        "--mode",
        choices=("train", "eval", "train_and_eval", "eval_all"),
        default="train",
        help="train evaluates along the way if the file has validation data (default: train)",
    )
    parser.add_argument("-o", "--model_dir", type=path_text, help="folder of checkpoints and logs")
    parser.add_argument(
        "--checkpoint_path",
        type=path_text,
        help="checkpoint to start from or to evaluate (a folder or a .mdl)",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="continue from the newest checkpoint in model_dir even if the file names another",
    )
    parser.add_argument(
        "--load_checkpoint_states",
        choices=("all", "model"),
        help="model: take the weights alone and start the rest afresh",
    )
    parser.add_argument(
        "--disable_strict_checkpoint_loading",
        action="store_true",
        help="tolerate missing and unexpected weights",
    )
    steps = "number of optimizer steps"
    parser.add_argument("--max_steps", type=int, help=f"{steps}, counted over resumed runs")
    parser.add_argument("--num_steps", type=int, help=f"{steps} of this run; replaces num_epochs")
    parser.add_argument(
        "--num_epochs", type=int, help="passes over the training data; replaces num_steps"
    )
    parser.add_argument("--eval_steps", type=int, help="batches per evaluation")
    parser.add_argument(
        "--logging",
        metavar="LEVEL",
        help="what the Cerebras client tells on CSX: DEBUG, INFO, WARNING or ERROR",
    )
    recipe.add_flags(parser)
    csx.add_flags(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    given = sys.argv[1:] if argv is None else list(argv)
    arguments = make_parser().parse_args(given)
    os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)
    if "WORLD_SIZE" not in os.environ:
        return guarded(lambda: _run(arguments, given))
    from modelzoo_mediswift.cli.launched import run_launched

    return run_launched(lambda: _run(arguments, given))


def _run(arguments: argparse.Namespace, given: Sequence[str]) -> int:
    configs = load_stages(arguments.params, _overrides(arguments))
    if len(configs) > 1:
        return _run_stages(arguments, given, configs)
    if arguments.stage not in (None, 1) or arguments.skip_stage:
        raise UserError(f"{arguments.params}: has a single stage; leave out --stage, --skip_stage")
    if configs[0].init.callback(PseudoLabels) and arguments.mode.startswith("train"):
        raise UserError(
            f"{arguments.params}: PseudoLabels is for a later stage of a recipe; label with "
            "`mediswift label`, and leave the callback out"
        )
    return _run_one(arguments, configs[0])


def _run_one(
    arguments: argparse.Namespace, config: TrainerConfig, facts: dict[str, Any] | None = None
) -> int:
    if arguments.device == "CSX":
        csx.prepare(config, csx.debug(arguments))
        with cluster_failures():
            if config.init.backend.validate_only or config.init.backend.compile_only:
                return csx.compile_alone(config, arguments.mode)
            return _by_mode(arguments, config, facts)
    return _by_mode(arguments, config, facts)


def _run_stages(
    arguments: argparse.Namespace, given: Sequence[str], configs: Sequence[TrainerConfig]
) -> int:
    """All stages of a recipe, or the one that --stage names."""
    if arguments.model_dir is not None:
        raise UserError("--model_dir is for one trainer; a recipe names a folder for each stage")
    if arguments.checkpoint_path is not None and arguments.stage is None:
        raise UserError("--checkpoint_path is for one trainer; choose a stage (--stage)")
    stages = recipe.make_stages(configs, arguments.params)
    if arguments.stage is not None:
        if not 1 <= arguments.stage <= len(stages):
            raise UserError(f"--stage {arguments.stage}: the recipe has {len(stages)} stages")
        return _run_alone(arguments, stages)
    if arguments.mode != "train":
        raise UserError(f"--mode {arguments.mode} is for one stage of a recipe (--stage)")
    _, processes = recipe.processes_now()
    if processes > 1:
        raise UserError(
            f"torchrun started {processes} processes, but a recipe runs in one, which labels and "
            "chooses between its stages; run it without torchrun, or one stage (--stage)"
        )
    backend = stages[0].config.init.backend
    if arguments.device == "CSX" and (backend.validate_only or backend.compile_only):
        chosen = [stage.number for stage in stages if stage.name not in arguments.skip_stage]
        return next((code for n in chosen if (code := _in_its_process(given, n))), 0)
    arguments.resume = True  # each stage's folder is the recipe's own

    def train(config: TrainerConfig, facts: dict[str, Any]) -> int:
        if arguments.device != "CSX":
            return _run_one(arguments, config, facts)
        stage = facts["stages"][-1]
        start = ["--checkpoint_path", stage["started_from"]] if stage["started_from"] else []
        return _in_its_process([*given, "--resume", *start], stage["number"])

    return recipe.run_recipe(stages, arguments.skip_stage, train, arguments.device)


def _run_alone(arguments: argparse.Namespace, stages: Sequence[recipe.Stage]) -> int:
    """The stage that --stage names; what is trained here, the whole recipe does not train again."""
    if arguments.device == "CSX" or arguments.mode.startswith("eval"):
        before = recipe.stages_before(stages, arguments.stage)
        return _run_one(arguments, recipe.start_from(stages[arguments.stage - 1].config, before))
    arguments.resume = True

    def train(config: TrainerConfig, facts: dict[str, Any]) -> int:
        return _run_one(arguments, config, facts)

    return recipe.run_alone(stages, arguments.stage, train, arguments.device)


def _in_its_process(given: Sequence[str], stage: int) -> int:
    """One stage on CSX: the Cerebras library has one backend per process."""
    print(f"stage {stage}", file=sys.stderr)
    door = "import sys; from modelzoo_mediswift.cli.run import main; sys.exit(main())"
    command = [sys.executable, "-c", door, *given, "--stage", str(stage)]
    return subprocess.run(command, check=False).returncode


def _by_mode(
    arguments: argparse.Namespace, config: TrainerConfig, facts: dict[str, Any] | None = None
) -> int:
    if arguments.mode.startswith("eval"):
        return _evaluate(arguments, config)
    code = _train(arguments, config, facts)
    if code == 0 and arguments.mode == "train_and_eval":
        return _evaluate(arguments, config)
    return code


def _overrides(arguments: argparse.Namespace) -> dict[str, object]:
    overrides: dict[str, object] = {
        key: getattr(arguments, flag)
        for flag, key in OVERRIDES.items()
        if getattr(arguments, flag) is not None
    }
    for flag, keys in DISPLACED.items():
        if (name := OVERRIDES[flag]) in overrides:
            others = tuple(key for key in keys if OVERRIDES[key] not in overrides)
            say_once = cache(_say)  # each stage of a recipe may have the same value to displace
            overrides[name] = Displacing(overrides[name], others, say_once)
    if arguments.mode.startswith("eval"):
        overrides.pop("trainer.fit.ckpt_path", None)  # names what to evaluate, not where to start
    if arguments.disable_strict_checkpoint_loading:
        overrides["trainer.init.checkpoint.disable_strict_checkpoint_loading"] = True
    return overrides | csx.overrides(arguments)


def _train(
    arguments: argparse.Namespace, config: TrainerConfig, facts: dict[str, Any] | None = None
) -> int:
    from modelzoo_mediswift import build, build_csx
    from modelzoo_mediswift.trainer.trainer import Interrupted

    start = {"resume": arguments.resume, "load_states": arguments.load_checkpoint_states}
    if arguments.device == "CSX":
        job = build_csx.build_fit(config, **start)
    else:
        job = build.build_fit(config, arguments.device, **start)
    run = job.trainer.run
    if facts is not None:
        run.facts["recipe"] = facts
    if job.finished:
        _say(f"{run.model_dir}: already at step {run.start_step}; nothing to do")
        return 0
    _say(f"{run.facts['device']}; model_dir {run.model_dir}")
    if run.facts["started_from"]:
        _say(f"starting from {run.facts['started_from']}")
    try:
        job.run()
    except Interrupted as stop:
        how = "the same command continues" + _with_resume(config, arguments.resume)
        _say(f"interrupted after step {stop.step}; saved, and {how}")
        return INTERRUPTED
    return 0


def _with_resume(config: TrainerConfig, given: bool) -> str:
    """What must be added to a command so that it continues its run instead of starting another."""
    assert config.fit is not None
    by_itself = config.fit.ckpt_path is NEWEST and config.init.checkpoint.autoload_last_checkpoint
    return "" if given or by_itself else " with --resume added"


def _evaluate(arguments: argparse.Namespace, config: TrainerConfig) -> int:
    from modelzoo_mediswift import build, build_csx
    from modelzoo_mediswift.data.batch_loader import named_dead_worker

    for path in _checkpoints(arguments, config):
        if arguments.device == "CSX":
            trainer, validation = build_csx.build_validate(config, path, arguments.mode)
        else:
            trainer, validation = build.build_validate(
                config, arguments.device, path, arguments.mode
            )
        _say(f"evaluating {path or 'the initial weights'}")
        with named_dead_worker():
            results = trainer.validate(validation)
        for name, result in results.items():
            if _speaks():
                _print_result(path, name, result)
    return 0


def _speaks() -> bool:
    """Of the processes that torchrun starts, the first one talks to the user."""
    return os.environ.get("RANK", "0") == "0"


def _say(text: str) -> None:
    if _speaks():
        print(text, file=sys.stderr)


def _print_result(path: Path | None, name: str, result: EvalResult) -> None:
    print(
        f"{path or 'initial weights'} {name}: loss {result.loss:.4f} "
        f"accuracy {result.accuracy:.4f} tokens {result.n_tokens}"
    )


def _checkpoints(arguments: argparse.Namespace, config: TrainerConfig) -> list[Path | None]:
    """What to evaluate: --checkpoint_path, else what the file says, else the newest."""
    from modelzoo_mediswift.checkpoint.directory import list_checkpoints, newest_checkpoint

    model_dir = Path(config.init.model_dir)
    if arguments.checkpoint_path:
        return [Path(arguments.checkpoint_path)]
    if arguments.mode == "eval_all":
        asked = config.validate_all.ckpt_paths if config.validate_all else NEWEST
        if asked is None:
            return [None]
        if asked is NEWEST:
            found = list_checkpoints(model_dir)
        else:
            found = [Path(p) for pattern in asked for p in sorted(glob.glob(pattern))]  # noqa: PTH207
        if not found:
            raise UserError(f"{model_dir}: no checkpoint to evaluate")
        return list(found)
    asked_one = config.validate_.ckpt_path if config.validate_ else NEWEST
    if asked_one is not NEWEST:
        return [Path(asked_one) if isinstance(asked_one, str) else None]
    newest = newest_checkpoint(model_dir)
    if newest is None:
        raise UserError(f"{model_dir}: no checkpoint to evaluate (--checkpoint_path)")
    return [newest]

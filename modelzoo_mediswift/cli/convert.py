"""`mediswift convert SRC DST`: checkpoints of Model Zoo (`.mdl`) from and to this project's."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from modelzoo_mediswift.errors import UserError


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "convert",
        help="convert a checkpoint between Model Zoo's .mdl and a folder of this project",
        description="Convert a checkpoint of Cerebras Model Zoo 2.10 (.mdl) to a folder, or a "
        "folder to .mdl: weights, masks, optimizer, step and schedule, without Cerebras software. "
        "What neither can hold for the other is said.",
        epilog="example: mediswift convert model_dir/checkpoint_20000.mdl runs/xl_s75",
    )
    parser.add_argument("source", type=Path, metavar="SRC", help="a .mdl, or a checkpoint folder")
    parser.add_argument(
        "target",
        type=Path,
        metavar="DST",
        help="the .mdl or checkpoint_<step> to make, or a folder to make it in",
    )
    parser.add_argument(
        "--params", type=Path, help="the run's YAML, if a .mdl does not hold it or holds another"
    )
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    source: Path = arguments.source
    if source.suffix == ".mdl":
        target = _to_folder(source, arguments.target, arguments.params)
    else:
        if arguments.params:
            raise UserError("--params: a checkpoint folder holds its configuration")
        target = _to_mdl(source, arguments.target)
    print(f"written: {target}")
    return 0


def _to_folder(source: Path, target: Path, params: Path | None) -> Path:
    from modelzoo_mediswift.checkpoint.directory import save_checkpoint, step_of, step_path
    from modelzoo_mediswift.checkpoint.mdl import read_mdl

    try:
        text = params.read_text(encoding="utf-8") if params else None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{params}: cannot be read ({error})") from error
    checkpoint = read_mdl(source, text)
    model_dir = target if step_of(target) < 0 else target.parent
    final = step_path(model_dir, checkpoint.step)
    if step_of(target) not in (-1, checkpoint.step):
        raise UserError(f"{target}: {source} is of step {checkpoint.step}: name {final}")
    if final.exists():
        raise UserError(f"{final}: exists already")
    if not checkpoint.training:
        _note("no optimizer state: start from it with `--load_checkpoint_states model`")
    _note("random generators are not in a .mdl: dropout will draw other numbers")
    if "data_fingerprint" not in checkpoint.loader:
        consumed = checkpoint.loader.get("samples_consumed", "unknown")
        _note(f"position in the data: {consumed} samples, by step and batch size")
    return save_checkpoint(checkpoint, model_dir)


def _to_mdl(source: Path, target: Path) -> Path:
    from modelzoo_mediswift.build_model import build_schedule
    from modelzoo_mediswift.checkpoint.directory import load_checkpoint
    from modelzoo_mediswift.checkpoint.mdl import SCHEDULE, to_mdl
    from modelzoo_mediswift.cli.loading import config_of

    checkpoint = load_checkpoint(source)
    final = target if target.suffix == ".mdl" else target / f"checkpoint_{checkpoint.step}.mdl"
    if final.exists():
        raise UserError(f"{final}: exists already")
    init = config_of(checkpoint, source).init
    rate = 0.0
    if init.optimizer is not None:
        rate = build_schedule(init)(int(checkpoint.training.get(SCHEDULE, checkpoint.step)))
    final.parent.mkdir(parents=True, exist_ok=True)
    to_mdl(checkpoint, final, rate)
    _note("random generators stay behind; Model Zoo restarts its data, this project continues it")
    return final


def _note(text: str) -> None:
    print(f"note: {text}", file=sys.stderr)

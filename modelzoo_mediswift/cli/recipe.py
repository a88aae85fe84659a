"""`run.py` on a recipe: stages one after the other, each from the best weights of the one before.

A recipe is Model Zoo's list of trainers. `recipe.json` in a stage's model_dir is written when the
stage is done, and tells of all stages so far; a stage that has it is not run again.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelzoo_mediswift.cli.label import LABELS_FILE, label_questions, warn_of_one_class
from modelzoo_mediswift.config.dump import to_yaml
from modelzoo_mediswift.config.fine_tuning import PseudoLabels
from modelzoo_mediswift.config.trainer import NEWEST, TrainerConfig
from modelzoo_mediswift.data.overlap import refuse_overlap, tests_beside
from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.tasks.pubmedqa_files import LABELLING_FILE
from modelzoo_mediswift.whole_files import read_json, write_json

RECIPE_FILE = "recipe.json"
Train = Callable[[TrainerConfig, dict[str, Any]], int]


@dataclass(frozen=True)
class Stage:
    """One trainer of a recipe."""

    number: int
    """From 1 on."""
    config: TrainerConfig

    @property
    def model_dir(self) -> Path:
        return Path(self.config.init.model_dir)

    @property
    def name(self) -> str:
        return self.model_dir.name


def processes_now() -> tuple[int, int]:
    """This process's number and how many there are, as torchrun says."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def make_stages(configs: Sequence[TrainerConfig], source: Path) -> list[Stage]:
    """Raises UserError for stages that cannot follow each other."""
    stages = [Stage(i, config) for i, config in enumerate(configs, start=1)]
    seen: dict[str, int] = {}
    for stage in stages:
        where = f"{source}: trainer.{stage.number - 1}.trainer"
        if stage.config.fit is None:
            raise UserError(f"{where}.fit: missing; every stage of a recipe trains")
        if stage.name in seen:
            raise UserError(
                f"{where}.init.model_dir: {stage.name} is stage {seen[stage.name]}'s name too"
            )
        seen[stage.name] = stage.number
    return stages


def run_recipe(stages: Sequence[Stage], skip: Sequence[str], train: Train, device: str) -> int:
    """Run what is not done yet; returns the exit code of the first stage that does not end."""
    unknown = sorted(set(skip) - {stage.name for stage in stages})
    if unknown:
        names = ", ".join(stage.name for stage in stages)
        raise UserError(f"--skip_stage {unknown[0]}: no such stage (they are {names})")
    chosen = [stage for stage in stages if stage.name not in skip]
    _check_data(chosen)
    told: list[dict[str, Any]] = []
    for stage in stages:
        if stage.name in skip:
            told.append({"stage": stage.name, "skipped": True})
            _say(stage, "skipped")
            continue
        record, code = _run_stage(stage, told, train, device)
        if code:
            return code
        told.append(record)
    return 0


def run_alone(stages: Sequence[Stage], number: int, train: Train, device: str) -> int:
    """Run one stage, which goes on from the nearest one before it that is done.

    With several processes all of them train, and the first keeps the record.
    """
    stage = stages[number - 1]
    before = stages_before(stages, number)
    assert stage.config.fit is not None
    if number > 1 and not before and stage.config.fit.ckpt_path is NEWEST:
        raise UserError(
            f"--stage {number}: starts from the stage before it, and none is done; run --stage "
            f"{number - 1} first, or name where to start (--checkpoint_path)"
        )
    _check_data(stages[:number])
    return _run_stage(stage, before, train, device)[1]


def _run_stage(
    stage: Stage, before: list[dict[str, Any]], train: Train, device: str
) -> tuple[dict[str, Any], int]:
    from modelzoo_mediswift.checkpoint.directory import newest_checkpoint
    from modelzoo_mediswift.trainer.early_stopping import best_checkpoint, read

    config = start_from(stage.config, before)
    start = config.fit.ckpt_path if config.fit else None
    record: dict[str, Any] = {
        "stage": stage.name,
        "number": stage.number,
        "model_dir": str(stage.model_dir),
        "started_from": start if isinstance(start, str) else None,
        "config_sha256": hashlib.sha256(to_yaml(config).encode()).hexdigest(),
    }
    rank, processes = processes_now()
    _say(stage, f"from {record['started_from']}")
    done = _finished(stage, record)
    if done is not None:
        _say(stage, "done before")
        return done, 0
    asked = config.init.callback(PseudoLabels)
    if asked is not None:
        record["pseudo_labels"] = (
            _label(asked, config, device) if processes == 1 else _labelled(asked, rank)
        )
    code = train(config, {"stages": [*before, record]})
    if code or rank:
        return record, code
    checkpoint = best_checkpoint(stage.model_dir) or newest_checkpoint(stage.model_dir)
    if checkpoint is None or not checkpoint.is_dir():
        raise UserError(f"{stage.model_dir}: no checkpoint (trainer.init.checkpoint.steps)")
    watched = read(stage.model_dir)
    record |= {
        "checkpoint": str(checkpoint),
        "validation": {k: watched[k] for k in ("monitor", "best", "stopped") if k in watched},
    }
    write_json(stage.model_dir / RECIPE_FILE, {"stages": [*before, record]})
    _say(stage, f"took {checkpoint}")
    return record, 0


def _say(stage: Stage, text: str) -> None:
    """Of the processes that torchrun starts, the first one talks to the user."""
    if processes_now()[0] == 0:
        print(f"stage {stage.number}, {stage.name}: {text}", file=sys.stderr)


def start_from(config: TrainerConfig, before: Sequence[dict[str, Any]]) -> TrainerConfig:
    """The stage, from the checkpoint that the one before took, unless the file names another."""
    assert config.fit is not None
    previous = [record["checkpoint"] for record in before if "checkpoint" in record]
    if config.fit.ckpt_path is not NEWEST or not previous:
        return config
    fit = config.fit.model_copy(update={"ckpt_path": previous[-1]})
    return config.model_copy(update={"fit": fit})


def stages_before(stages: Sequence[Stage], number: int) -> list[dict[str, Any]]:
    """The records of the stages before `number`, as far as they are done."""
    told = (_told(stage) for stage in reversed(stages[: number - 1]))
    return next(filter(None, told), [])


def _told(stage: Stage) -> list[dict[str, Any]]:
    """The records that a stage left when it was done, its own the last; empty if it is not."""
    path = stage.model_dir / RECIPE_FILE
    if not path.is_file():
        return []
    told = read_json(path).get("stages")
    if not isinstance(told, list) or not told or not all(isinstance(one, dict) for one in told):
        raise UserError(f"{path}: damaged; without it the stage is run again")
    return told


def _finished(stage: Stage, record: dict[str, Any]) -> dict[str, Any] | None:
    """What the folder says of this stage; UserError if it was made otherwise."""
    told = _told(stage)
    if not told:
        return None
    done = told[-1]
    for key, what in (("started_from", "another start"), ("config_sha256", "other settings")):
        if done.get(key) != record[key]:
            raise UserError(
                f"{stage.model_dir}: this stage was run with {what}; remove the folder to run it "
                "again, or choose another model_dir"
            )
    return done


def _check_data(stages: Sequence[Stage]) -> None:
    """Nothing that any stage holds out, nor the test set beside it, may be trained on."""
    trained, held_out = [], []
    for stage in stages:
        fit = stage.config.fit
        assert fit is not None
        trained += list(fit.train_dataloader.data_dir)
        for loader in fit.val_dataloader:
            held_out += list(loader.data_dir)
            held_out += tests_beside(loader.data_dir)
    refuse_overlap(trained, dict.fromkeys(held_out))


def _labelled(asked: PseudoLabels, rank: int) -> dict[str, Any]:
    """What one process has labelled before several train."""
    path = Path(asked.output) / LABELLING_FILE
    note = read_json(path) if path.is_file() else {}
    if "kept" not in note:
        raise UserError(f"{asked.output}: not labelled yet; start this stage without torchrun once")
    if rank == 0:
        warn_of_one_class(note, Path(asked.output))
    return note


def _label(asked: PseudoLabels, config: TrainerConfig, device: str) -> dict[str, Any]:
    """Let the stage's start checkpoint label, and make training data of it."""
    assert config.fit is not None
    folder = Path(config.fit.train_dataloader.data_dir[0])
    if folder.name != "train":
        raise UserError(f"PseudoLabels: the training data_dir must end in /train, got {folder}")
    if not isinstance(config.fit.ckpt_path, str):
        raise UserError("PseudoLabels: the first stage has no model that could label")
    note = label_questions(
        Path(config.fit.ckpt_path),
        Path(asked.unlabelled),
        Path(asked.tokenizer),
        Path(asked.output),
        asked.min_confidence,
        "GPU" if device == "GPU" else "CPU",
    )
    model = config.init.model
    options = {
        "max_sequence_length": model.max_position_embeddings,
        "num_virtual_tokens": model.num_virtual_tokens,
        "vocab_size": model.vocab_size,
    }
    command = [sys.executable, "-m", "data_preprocessing", "finetune", "pubmedqa", asked.unlabelled]
    command += ["--subset", "pqau", "--labels_file", str(Path(asked.output) / LABELS_FILE)]
    command += ["-t", asked.tokenizer, "-o", str(folder.parent)]
    command += [text for key, value in options.items() for text in (f"--{key}", str(value))]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    print(done.stdout, end="", file=sys.stderr)
    if done.returncode:
        raise UserError(f"PseudoLabels: {folder.parent} could not be written (see above)")
    held_out = [d for loader in config.fit.val_dataloader for d in loader.data_dir]
    refuse_overlap([str(folder)], held_out + tests_beside(held_out))
    return note


def add_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("recipes (a list of trainers)")
    group.add_argument("--stage", type=int, help="run this stage alone, counted from 1")
    group.add_argument(
        "--skip_stage",
        action="append",
        default=[],
        metavar="NAME",
        help="leave out the stage whose model_dir has this name; can be given again",
    )

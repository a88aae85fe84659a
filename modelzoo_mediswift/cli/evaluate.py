"""`mediswift evaluate CHECKPOINT --task pubmedqa ...`: a checkpoint's score on a task."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelzoo_mediswift.cli.flags import add_device_flag, add_tokenizer_flag, default_batch_size
from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.report.evaluations import EVALUATIONS_DIR
from modelzoo_mediswift.tasks.base import SPLITS, TaskScores
from modelzoo_mediswift.tasks.calibration import Calibration, calibration
from modelzoo_mediswift.tasks.hoc import HocDocuments
from modelzoo_mediswift.tasks.layout import POSITIONS, PromptPosition
from modelzoo_mediswift.tasks.official import blue_table, predictions_json
from modelzoo_mediswift.tasks.registry import TASKS, make_task
from modelzoo_mediswift.whole_files import write_json, write_whole

if TYPE_CHECKING:
    from modelzoo_mediswift.evaluation.predict import Answer

SHOWN_FAILURES = 3
MOST_BEAMS = 100
"""So many copies of a batch's cache are held at once."""


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "evaluate",
        help="score a checkpoint on a task",
        description="Score a checkpoint on a task, by the likelihood of each label's full target "
        "and by generation and parsing. An example of hoc has several labels, which no likelihood "
        "of single labels ranks: there answers are generated freely, and held to the sets of "
        "labels. Writes scores and predictions as JSON.",
        epilog="example: mediswift evaluate build/demo/finetune/checkpoint_400 --task pubmedqa "
        "--data build/demo/sample/pubmedqa --tokenizer build/demo/tokenizer.json",
    )
    parser.add_argument("checkpoint", type=Path, help="checkpoint folder, or a .mdl")
    parser.add_argument("--task", choices=sorted(TASKS), required=True, help="what to score it on")
    parser.add_argument("--data", type=Path, required=True, help="the task's files")
    add_tokenizer_flag(parser)
    parser.add_argument("--split", choices=SPLITS, default="test", help="default: test")
    add_device_flag(parser)
    parser.add_argument(
        "--batch_size", type=int, help="default: 4 on a CPU, whose caches are small, 32 on a GPU"
    )
    parser.add_argument("--beams", type=int, default=1, help="of generation; 1 is greedy (default)")
    parser.add_argument("--fold", type=int, help="of PubMedQA's cross-validation, 0 (default) to 9")
    parser.add_argument(
        "--precision",
        choices=("float32", "bfloat16"),
        default="float32",
        help="of weights and arithmetic; bfloat16 is faster where the processor has it, and may "
        "turn answers that are nearly tied (default: float32)",
    )
    parser.add_argument(
        "--prompt_position",
        choices=POSITIONS,
        help="of the soft prompt (default: as in the checkpoint's training data)",
    )
    parser.add_argument(
        "--include_long_answer",
        action=argparse.BooleanOptionalAction,
        help="PubMedQA's long answer is part of the target (default: as in the training data)",
    )
    parser.add_argument(
        "-o", "--output", type=Path, help=f"JSON file (default: in {EVALUATIONS_DIR} of the run)"
    )
    parser.set_defaults(command=run)


@dataclass(frozen=True)
class Asked:
    """What to score, and how."""

    checkpoint: Path
    task: str
    data: Path
    tokenizer: Path
    split: str = "test"
    device: str = "CPU"
    batch_size: int | None = None
    """None for the device's default."""
    beams: int = 1
    fold: int | None = None
    precision: str = "float32"
    prompt_position: PromptPosition | None = None
    """None, and the next too: as in the checkpoint's training data."""
    include_long_answer: bool | None = None


@dataclass(frozen=True)
class Found:
    """What an evaluation found."""

    record: dict[str, Any]
    """All of it, ready for JSON."""
    scores: dict[str, TaskScores]
    """By the way of answering; the first is the best that the task has."""
    calibration: Calibration | None
    """Where answers have likelihoods."""


def run(arguments: argparse.Namespace) -> int:
    from modelzoo_mediswift.cli.score_table import render_scores

    asked = Asked(**{field.name: getattr(arguments, field.name) for field in fields(Asked)})
    for name in ("batch_size", "beams"):
        value = getattr(asked, name)
        if value is not None and value < 1:
            raise UserError(f"--{name}: expected an integer >= 1, got {value}")
    if asked.beams > MOST_BEAMS:
        raise UserError(f"--beams: expected at most {MOST_BEAMS}, got {asked.beams}")
    output = arguments.output or default_output(asked)
    check_output(output)
    found = evaluate(asked)
    record = found.record
    unparsed = record["parse_failures"][:SHOWN_FAILURES]
    print(render_scores(found.scores, asked.task, asked.split, found.calibration, unparsed))
    if record["sources_cut"]:
        cut = f"{record['sources_cut']} sources were cut ({record['tokens_cut']:,} tokens)"
        print(f"{cut}, so that there is room for every answer")
    write_result(output, record, found.scores)  # after the scores are shown: a disk may be full
    print(f"written: {output}")
    return 0


def evaluate(asked: Asked) -> Found:
    """Have the checkpoint answer the task's examples, and score the answers.

    Raises UserError for files that do not fit each other.
    """
    from tqdm import tqdm

    from modelzoo_mediswift.cli.loading import load_model, read_tokenizer, trained_layout
    from modelzoo_mediswift.evaluation.predict import answer

    model, checkpoint = load_model(asked.checkpoint, asked.device, asked.precision)
    trained = trained_layout(checkpoint, asked.checkpoint)
    asked = laid_out(asked, trained, checkpoint.data.get("sources"))
    assert asked.prompt_position is not None
    # None where it is off: a task without long answers has no such option.
    long_answer = asked.include_long_answer or None
    task = make_task(asked.task, fold=asked.fold, include_long_answer=long_answer)
    examples = task.read(asked.data, asked.split)
    answering = answer(
        model,
        task,
        examples,
        read_tokenizer(asked.tokenizer, checkpoint, asked.checkpoint),
        asked.batch_size or default_batch_size(asked.device),
        asked.beams,
        asked.prompt_position,
    )
    answers = list(tqdm(answering, total=len(examples), unit="example", disable=None))
    gold = {example.id: example.label for example in examples}
    scores: dict[str, TaskScores] = {}
    calibrated = None
    if task.exclusive:
        scores["likelihood"] = task.score({a.id: a.most_likely for a in answers}, gold)
        calibrated = calibration([a.log_likelihoods for a in answers], [a.gold for a in answers])
    elif task.answers():
        scores["constrained"] = task.score({a.id: a.constrained for a in answers}, gold)
    scores["generation"] = task.score({a.id: a.parsed for a in answers}, gold)
    return Found(result_record(asked, answers, scores, calibrated), scores, calibrated)


def laid_out(asked: Asked, trained: Mapping[str, Any], sources: object) -> Asked:
    """With examples laid out as in the checkpoint's training data, unless asked otherwise.

    `sources` tell what those data were made of.
    """
    position, long_answer = asked.prompt_position, asked.include_long_answer
    if position is None:
        position = trained.get("prompt_position", POSITIONS[0])
    if long_answer is None:
        same_task = isinstance(sources, Mapping) and sources.get("task") == asked.task
        long_answer = same_task and trained.get("include_long_answer", False)
    return replace(asked, prompt_position=position, include_long_answer=long_answer)


def check_output(output: Path) -> None:
    """Raises UserError where nothing could be written, before hours of scoring."""
    if output.is_dir():
        raise UserError(f"{output}: is a folder, expected a JSON file to write")
    if output.exists() and not output.is_file():
        raise UserError(f"{output}: expected a JSON file to write, found something else")
    there = next(folder for folder in output.absolute().parents if folder.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise UserError(f"{output}: cannot be written in {there}")


def default_output(asked: Asked) -> Path:
    """A file in the folder of the checkpoint's run."""
    beams = f"-beam{asked.beams}" if asked.beams > 1 else ""
    fold = f"-fold{asked.fold}" if asked.fold else ""
    name = f"{asked.task}{fold}-{asked.split}-{asked.checkpoint.name}{beams}.json"
    return asked.checkpoint.parent / EVALUATIONS_DIR / name


def result_record(
    asked: Asked,
    answers: list[Answer],
    scores: dict[str, TaskScores],
    calibrated: Calibration | None,
) -> dict[str, Any]:
    """Everything that an evaluation found, ready for JSON."""
    return {
        "task": asked.task,
        "split": asked.split,
        "checkpoint": str(asked.checkpoint),
        "beams": asked.beams,
        "precision": asked.precision,
        "prompt_position": asked.prompt_position,
        "include_long_answer": asked.include_long_answer,
        "scores": {how: score.as_dict() for how, score in scores.items()},
        **({"calibration": calibrated.as_dict()} if calibrated else {}),
        "parse_failures": [a.generated for a in answers if a.parsed is None][:10],
        "sources_cut": sum(a.tokens_cut > 0 for a in answers),
        "tokens_cut": sum(a.tokens_cut for a in answers),
        "predictions": {
            a.id: {
                "gold": a.gold,
                **({"likelihood": a.most_likely} if a.log_likelihoods else {}),
                **({"constrained": a.constrained} if a.constrained else {}),
                "generation": a.parsed,
                **({"log_likelihoods": a.log_likelihoods} if a.log_likelihoods else {}),
            }
            for a in sorted(answers, key=lambda a: a.id)
        },
    }


def write_result(output: Path, result: Mapping[str, Any], hows: Iterable[str]) -> None:
    """The record; beside it each prediction alone, in the official script's form."""
    output.parent.mkdir(parents=True, exist_ok=True)
    write_json(output, result)
    said = result["predictions"]
    for how in hows:
        labels = {key: value[how] for key, value in said.items()}
        write_whole(output.with_suffix(f".{how}.predictions.json"), predictions_json(labels))
        if result["task"] == HocDocuments.name:
            write_whole(output.with_suffix(f".{how}.predictions.tsv"), blue_table(labels))
    if result["task"] == HocDocuments.name:
        gold = {key: value["gold"] for key, value in said.items()}
        write_whole(output.with_suffix(".gold.tsv"), blue_table(gold))

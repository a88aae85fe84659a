"""`mediswift evaluate CHECKPOINT --task pubmedqa ...`: a checkpoint's score on a task."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.tasks.base import SPLITS
from modelzoo_mediswift.tasks.registry import TASKS
from modelzoo_mediswift.tasks.scoring import Scores

if TYPE_CHECKING:
    from modelzoo_mediswift.evaluation.predict import Answer

EVALUATIONS_DIR = "evaluations"
HOW = ("likelihood", "generation")


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "evaluate",
        help="score a checkpoint on a task",
        description="Score a checkpoint on a task, by the likelihood of each label's full target "
        "and by greedy generation and parsing. Writes scores and predictions as JSON.",
        epilog="example: mediswift evaluate build/demo/finetune/checkpoint_200 --task pubmedqa "
        "--data build/demo/sample/pubmedqa --tokenizer build/demo/tokenizer.json",
    )
    parser.add_argument("checkpoint", type=Path, help="checkpoint folder")
    parser.add_argument("--task", choices=sorted(TASKS), required=True)
    parser.add_argument("--data", type=Path, required=True, help="the task's files")
    parser.add_argument("--tokenizer", type=Path, required=True, help="tokenizer.json")
    parser.add_argument("--split", choices=SPLITS, default="test", help="default: test")
    parser.add_argument("--device", choices=("CPU", "GPU"), default="CPU")
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument(
        "-o", "--output", type=Path, help=f"JSON file (default: in {EVALUATIONS_DIR} of the run)"
    )
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    from tqdm import tqdm

    from modelzoo_mediswift.cli.loading import load_model, read_tokenizer
    from modelzoo_mediswift.evaluation.predict import answer

    if arguments.batch_size < 1:
        raise UserError(f"--batch_size: expected an integer >= 1, got {arguments.batch_size}")
    task = TASKS[arguments.task]()
    examples = task.read(arguments.data, arguments.split)
    model, checkpoint = load_model(arguments.checkpoint, arguments.device)
    text = read_tokenizer(arguments.tokenizer, checkpoint, arguments.checkpoint)

    found = answer(model, task, examples, text, arguments.batch_size)
    answers = list(tqdm(found, total=len(examples), unit="question", disable=None))
    gold = {example.id: example.label for example in examples}
    scores = {
        "likelihood": task.score({a.id: a.most_likely for a in answers}, gold),
        "generation": task.score({a.id: a.parsed for a in answers}, gold),
    }
    output = arguments.output or default_output(arguments)
    write_result(output, arguments, answers, scores)
    print(render(scores, arguments.task, arguments.split))
    print(f"written: {output}")
    return 0


def default_output(arguments: argparse.Namespace) -> Path:
    name = f"{arguments.task}-{arguments.split}-{arguments.checkpoint.name}.json"
    return arguments.checkpoint.parent / EVALUATIONS_DIR / name


def write_result(
    output: Path, arguments: argparse.Namespace, answers: list[Answer], scores: dict[str, Scores]
) -> None:
    """Scores and predictions; beside them each prediction alone, in the official script's form."""
    result: dict[str, Any] = {
        "task": arguments.task,
        "split": arguments.split,
        "checkpoint": str(arguments.checkpoint),
        "scores": {how: score.as_dict() for how, score in scores.items()},
        "parse_failures": [a.generated for a in answers if a.parsed is None][:10],
        "predictions": {
            a.id: {
                "gold": a.gold,
                "likelihood": a.most_likely,
                "generation": a.parsed,
                "log_likelihoods": a.log_likelihoods,
            }
            for a in sorted(answers, key=lambda a: a.id)
        },
    }
    output.parent.mkdir(parents=True, exist_ok=True)
    _write_json(output, result)
    for how in HOW:
        official = {key: value[how] for key, value in result["predictions"].items()}
        _write_json(output.with_suffix(f".{how}.predictions.json"), official)


def _write_json(path: Path, content: object) -> None:
    temporary = path.with_name(f".{path.name}.writing")
    temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")
    temporary.replace(path)


def render(scores: dict[str, Scores], task: str, split: str) -> str:
    """A small table for the terminal."""
    some = next(iter(scores.values()))
    lines = [f"{task}, {split}: {some.num_examples} examples"]
    for how, score in scores.items():
        low, high = score.accuracy_interval
        lines.append(
            f"  {how:<11} accuracy {score.accuracy:6.1%} (95 % interval {low:.1%} to {high:.1%}), "
            f"macro-F1 {score.macro_f1:.1%}, parse failures {score.parse_failures}"
        )
    lines.append(
        f"  {'majority':<11} accuracy {some.majority_accuracy:6.1%} "
        f'(always "{some.majority_label}"), macro-F1 {some.majority_macro_f1:.1%}'
    )
    return "\n".join(lines)

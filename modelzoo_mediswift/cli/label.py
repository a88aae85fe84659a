"""`mediswift label CHECKPOINT --data ori_pqau.json`: a model's labels for PubMedQA's PQA-U."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelzoo_mediswift.cli.flags import add_device_flag, add_tokenizer_flag, default_batch_size
from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.tasks.layout import POSITIONS, PromptPosition
from modelzoo_mediswift.tasks.pubmedqa import PubMedQA
from modelzoo_mediswift.tasks.pubmedqa_files import (
    LABELLING_FILE,
    Record,
    load_records,
    with_context,
)
from modelzoo_mediswift.trainer.one_run import holding
from modelzoo_mediswift.whole_files import read_json, write_json, write_whole

if TYPE_CHECKING:
    from modelzoo_mediswift.evaluation.predict import Text
    from modelzoo_mediswift.model.gpt3 import GPT3

ANSWERS_FILE = "answers.jsonl"
LABELS_FILE = "pqau_labels.json"
PART = 1024
"""Questions that are done as a whole or again: in the same batches the same bits come out."""


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "label",
        help="label PubMedQA's unlabelled questions with a checkpoint",
        description="Give each question the label whose target is most likely, with its share "
        "among the labels as confidence. Can be stopped and run again. pqau_labels.json is "
        "then the --labels_file of `python -m data_preprocessing finetune pubmedqa --subset pqau`.",
        epilog="example: mediswift label runs/pqaa/checkpoint_99 --data pubmedqa/ori_pqau.json "
        "--tokenizer data/tokenizer.json -o data/pqau_labelled --min_confidence 0.9",
    )
    parser.add_argument("checkpoint", type=Path, help="checkpoint folder, or a .mdl")
    parser.add_argument("--data", type=Path, required=True, help="questions, as in ori_pqau.json")
    add_tokenizer_flag(parser)
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for the labels")
    parser.add_argument(
        "--min_confidence", type=float, default=0.0, help="leave out what is below (default: 0)"
    )
    add_device_flag(parser)
    parser.add_argument("--batch_size", type=int, help="default: 4 on a CPU, 32 on a GPU")
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    if not 0 <= arguments.min_confidence < 1:
        raise UserError(
            f"--min_confidence: expected a number in [0, 1), got {arguments.min_confidence}"
        )
    if arguments.batch_size is not None and arguments.batch_size < 1:
        raise UserError(f"--batch_size: expected an integer >= 1, got {arguments.batch_size}")
    label_questions(
        arguments.checkpoint,
        arguments.data,
        arguments.tokenizer,
        arguments.output,
        arguments.min_confidence,
        arguments.device,
        arguments.batch_size,
    )
    return 0


def label_questions(
    checkpoint_path: Path,
    data: Path,
    tokenizer: Path,
    output: Path,
    min_confidence: float,
    device: str,
    batch_size: int | None = None,
) -> dict[str, Any]:
    """Label, or go on labelling, and write the labelled questions; returns labelling.json."""
    from modelzoo_mediswift.cli.loading import load_model, read_tokenizer, trained_layout
    from modelzoo_mediswift.whole_files import file_sha256

    records = with_context(load_records(data, labelled=False))
    if not records:
        raise UserError(f"{data}: no question has a text to answer it by")
    model, checkpoint = load_model(checkpoint_path, device)
    text = read_tokenizer(tokenizer, checkpoint, checkpoint_path)
    facts = {
        "checkpoint": str(checkpoint_path),
        "checkpoint_sha256": checkpoint.sha256 or file_sha256(checkpoint_path),  # of a .mdl
        "data": data.name,
        "data_sha256": file_sha256(data),
    }
    layout = trained_layout(checkpoint, checkpoint_path)
    position = layout.get("prompt_position", POSITIONS[0])
    size = batch_size or default_batch_size(device)
    output.mkdir(parents=True, exist_ok=True)
    with holding(output, "-o"):
        answers = _take_up(output, facts)
        _answer_open(model, records, text, output / ANSWERS_FILE, answers, size, position)
        return _write_labels(output, facts, list(records), answers, min_confidence)


def _answer_open(
    model: GPT3,
    records: dict[str, Record],
    text: Text,
    path: Path,
    answers: dict[str, tuple[str, float]],
    batch_size: int,
    position: PromptPosition,
) -> None:
    """Add the answers that are missing, and write them as they come."""
    from tqdm import tqdm

    from modelzoo_mediswift.evaluation.pseudo_labels import pseudo_labels

    task = PubMedQA()
    # An example needs some label, but it only enters the target, which is not read here.
    examples = [
        task.example(pmid, {**record, "final_decision": task.labels[0]})
        for pmid, record in records.items()
    ]
    parts = [examples[start : start + PART] for start in range(0, len(examples), PART)]
    open_parts = [part for part in parts if any(e.id not in answers for e in part)]
    for part in open_parts:
        for example in part:
            answers.pop(example.id, None)
    lines = [_line(pmid, *answer) for pmid, answer in answers.items()]
    write_whole(path, "".join(lines))
    count = sum(map(len, open_parts))
    with (
        path.open("a", encoding="utf-8") as file,
        tqdm(None, "label", count, unit="question", disable=None) as progress,
    ):
        for part in open_parts:
            for answer in pseudo_labels(model, task, part, text, batch_size, position):
                answers[answer.id] = answer.label, answer.confidence
                file.write(_line(answer.id, answer.label, answer.confidence))
                file.flush()
                progress.update()


def _line(pmid: str, label: str, confidence: float) -> str:
    return json.dumps([pmid, label, confidence]) + "\n"


def _take_up(output: Path, facts: dict[str, Any]) -> dict[str, tuple[str, float]]:
    """The answers that an earlier run of the same labelling gave."""
    path, answers_path = output / LABELLING_FILE, output / ANSWERS_FILE
    if not path.is_file():
        if answers_path.exists():
            raise UserError(f"{answers_path}: without {LABELLING_FILE}; remove it, or another -o")
        write_json(path, facts)
        return {}
    before = read_json(path)
    for key, value in facts.items():
        if key != "checkpoint" and before.get(key) != value:
            raise UserError(
                f"{output}: labelled with another {key.removesuffix('_sha256')}; remove the "
                "folder or choose another"
            )
    answers: dict[str, tuple[str, float]] = {}
    if answers_path.is_file():
        whole, _, _ = answers_path.read_bytes().rpartition(b"\n")  # a kill may cut a line short
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                pmid, label, confidence = json.loads(line)
                answers[pmid] = str(label), float(confidence)
            except (ValueError, TypeError):
                raise UserError(f"{answers_path}:{number}: damaged; remove the line") from None
    return answers


def _write_labels(
    output: Path,
    facts: dict[str, Any],
    pmids: list[str],
    answers: dict[str, tuple[str, float]],
    min_confidence: float,
) -> dict[str, Any]:
    """The labels that are certain enough, in the order of the input, and the note beside them."""
    kept = {
        pmid: {"label": answers[pmid][0], "confidence": answers[pmid][1]}
        for pmid in pmids
        if answers[pmid][1] >= min_confidence
    }
    if not kept:
        highest = max(confidence for _, confidence in answers.values())
        raise UserError(
            f"{output}: no label has a confidence of {min_confidence} or more; the highest is "
            f"{highest:.4f}"
        )
    note = {
        **facts,
        "min_confidence": min_confidence,
        "questions": len(pmids),
        "kept": len(kept),
        "labels": _counts(answers[pmid][0] for pmid in kept),
        "labels_of_all": _counts(answers[pmid][0] for pmid in pmids),
    }
    for name, content in ((LABELS_FILE, kept), (LABELLING_FILE, note)):
        write_json(output / name, content)
    print(
        f"{output}: {len(kept):,} of {len(pmids):,} questions labelled with confidence >= "
        f"{min_confidence} ({_listed(note['labels'])})",
        file=sys.stderr,
    )
    warn_of_one_class(note, output)
    return note


def _counts(labels: Iterable[str]) -> dict[str, int]:
    """By label; those that none has, too."""
    found = Counter(labels)
    return {label: found[label] for label in PubMedQA.labels}


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{label} {number:,}" for label, number in counts.items())


def warn_of_one_class(note: Mapping[str, Any], output: Path) -> None:
    """One line if all labels that labelling.json tells of are the same."""
    given = [label for label, number in note["labels"].items() if number]
    if len(given) != 1:
        return
    everything = note.get("labels_of_all", note["labels"])
    if sum(map(bool, everything.values())) > 1:
        advice = f"without min_confidence they would be {_listed(everything)}"
    else:
        advice = "see what the checkpoint has learnt (mediswift evaluate) before training on them"
    print(
        f"warning: {output}: all {note['kept']:,} labels are {given[0]!r}, which teaches a model "
        f"to answer {given[0]!r} whatever the question; {advice}",
        file=sys.stderr,
    )

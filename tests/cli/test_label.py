"""`mediswift label`: how the labels are distributed, and a warning where there is one class."""

import json
from pathlib import Path

import pytest
from question_files import write_questions

from modelzoo_mediswift.cli.main import main

COMMAND = ["label", "run/checkpoint_5", "--data", "qa/ori_pqau.json", "--tokenizer",
           "tokenizer.json", "-o", "labelled"]  # fmt: skip


def answer(labels: list[str], confidence: list[float]) -> None:
    """What an earlier start of the same labelling would have left."""
    pmids = map(str, range(500, 512))
    lines = (json.dumps(line) for line in zip(pmids, labels, confidence, strict=True))
    Path("labelled/answers.jsonl").write_text("\n".join(lines) + "\n")


def test_one_class_is_warned_of(run_files, capsys: pytest.CaptureFixture[str]) -> None:
    write_questions()
    assert main(COMMAND) == 0
    note = json.loads(Path("labelled/labelling.json").read_text())
    assert list(note["labels"]) == ["yes", "no", "maybe"], "those without any, too"
    assert sum(note["labels"].values()) == sum(note["labels_of_all"].values()) == note["kept"] == 12

    answer(["yes"] * 10 + ["no", "maybe"], [0.9] * 12)
    capsys.readouterr()
    assert main(COMMAND) == 0
    said = capsys.readouterr().err
    assert said == (
        "labelled: 12 of 12 questions labelled with confidence >= 0.0 (yes 10, no 1, maybe 1)\n"
    )

    answer(["yes"] * 10 + ["no", "maybe"], [0.9] * 10 + [0.4] * 2)
    assert main([*COMMAND, "--min_confidence", "0.5"]) == 0
    said = capsys.readouterr().err
    assert "10 of 12 questions labelled with confidence >= 0.5 (yes 10, no 0, maybe 0)\n" in said
    assert said.splitlines()[-1] == (
        "warning: labelled: all 10 labels are 'yes', which teaches a model to answer 'yes' "
        "whatever the question; without min_confidence they would be yes 10, no 1, maybe 1"
    )

    answer(["maybe"] * 12, [0.9] * 12)
    assert main(COMMAND) == 0
    assert "all 12 labels are 'maybe'" in (said := capsys.readouterr().err)
    assert said.rstrip().endswith(
        "see what the checkpoint has learnt (mediswift evaluate) before training on them"
    )
    assert main([*COMMAND, "--min_confidence", "0.95"]) == 2
    assert "no label has a confidence of 0.95 or more; the highest is 0.9000\n" in (
        capsys.readouterr().err
    )


def test_questions_without_a_text(run_files, capsys: pytest.CaptureFixture[str]) -> None:
    write_questions()
    path = Path("qa/ori_pqau.json")
    questions = json.loads(path.read_text())
    for question in questions.values():
        question["CONTEXTS"] = [" "]
    path.write_text(json.dumps(questions))
    capsys.readouterr()
    assert main(COMMAND) == 2
    assert capsys.readouterr().err == (
        "error: qa/ori_pqau.json: no question has a text to answer it by\n"
    )
    assert not Path("labelled").exists()

"""Folders of runs as training and evaluation leave them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from run_records import Line, finetune_start, score, start, whole_run


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """Write a log of these lines; strings and bytes go in as they are."""

    def write(*lines: Line | str | bytes, name: str = "pretrain") -> Path:
        folder = tmp_path / name
        folder.mkdir(parents=True)
        parts = []
        for line in lines:
            if isinstance(line, dict):
                line = json.dumps(line) + "\n"
            parts.append(line.encode() if isinstance(line, str) else line)
        (folder / "log.jsonl").write_bytes(b"".join(parts))
        return folder

    return write


@pytest.fixture
def write_scores() -> Callable[..., Path]:
    """Write what `mediswift evaluate` does for one checkpoint."""

    def write(run: Path, checkpoint: str, task: str = "pubmedqa", **scores: Any) -> Path:
        folder = run / "evaluations"
        folder.mkdir(exist_ok=True)
        path = folder / f"{task}-test-{checkpoint}.json"
        content = {
            "task": task,
            "split": "test",
            "checkpoint": f"build/demo/{run.name}/{checkpoint}",
            "scores": scores,
            "predictions": {},
        }
        path.write_text(json.dumps(content))
        path.with_suffix(".likelihood.predictions.json").write_text('{"1": "yes"}')
        return path

    return write


@pytest.fixture
def demo(make_run: Callable[..., Path], write_scores: Callable[..., Path]) -> list[Path]:
    """A sparse pre-training run and the dense fine-tuning that began with its last checkpoint."""
    pretrain = make_run(*whole_run(start(), 300, 8.25, 3.5))
    write_scores(
        pretrain,
        "checkpoint_300",
        likelihood=score(0.53),
        generation=score(0.0, parse_failures=200, macro_f1=0.0),
    )
    finetune = make_run(*whole_run(finetune_start(), 200, 2.0, 0.25), name="finetune")
    write_scores(
        finetune, "checkpoint_200", likelihood=score(0.81), generation=score(0.805, macro_f1=0.75)
    )
    (pretrain / "events").mkdir()
    (finetune / "events").mkdir()
    return [pretrain, finetune]

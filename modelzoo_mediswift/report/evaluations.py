"""Scores on tasks, from the JSON files that `mediswift evaluate` leaves in a run's folder."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from modelzoo_mediswift.report.json_values import (
    integer,
    number,
    parse_object,
    pick,
    printable,
    text,
)

EVALUATIONS_DIR = "evaluations"
PREDICTIONS_SUFFIX = ".predictions.json"


@dataclass(frozen=True)
class Score:
    """One checkpoint's score on one split, by one way of answering. Fractions lie in [0, 1]."""

    task: str
    split: str
    checkpoint: str
    """The name of its folder."""
    step: int | None
    """Of the checkpoint, where its name says it."""
    how: str
    """likelihood, constrained or generation."""
    num_examples: int | None
    accuracy: float | None
    interval: tuple[float, float] | None
    """95 %."""
    macro_f1: float | None
    parse_failures: int | None
    majority_label: str | None
    majority_accuracy: float | None
    """Of always answering with the most frequent label."""
    micro_f1: float | None = None
    """Where an example may have several labels, over all pairs of example and label."""
    example_based_f1: float | None = None
    """BLUE's."""
    exact_match: float | None = None
    exact_interval: tuple[float, float] | None = None
    """95 %."""
    majority_micro_f1: float | None = None

    @property
    def headline(self) -> float | None:
        """Accuracy, or micro-F1 where an example may have several labels."""
        return self.accuracy if self.micro_f1 is None else self.micro_f1


def read_evaluations(
    folder: Path, elsewhere: Sequence[Path] = ()
) -> tuple[tuple[Score, ...], tuple[str, ...]]:
    """All scores of a run, by checkpoint and task, and notes on unreadable files: those in its
    folder, and those `elsewhere` (files, or folders of them) whose checkpoint lies in it."""
    scores: list[Score] = []
    notes = []
    inside = sorted((folder / EVALUATIONS_DIR).glob("*.json"))
    for path in [*inside, *_about(folder, elsewhere)]:
        if path.name.startswith(".") or path.name.endswith(PREDICTIONS_SUFFIX):
            continue
        try:
            content = parse_object(path.read_bytes())
        except (OSError, ValueError):
            content = {}
        found = _scores(content)
        if not found:
            name = printable(path.name)
            notes.append(f"{EVALUATIONS_DIR}/{name}: holds no scores, and was left out")
        scores += found
    scores.sort(key=lambda s: (s.task, s.split, -1 if s.step is None else s.step, s.checkpoint))
    return tuple(scores), tuple(notes)


def _about(folder: Path, elsewhere: Sequence[Path]) -> list[Path]:
    """The evaluations of checkpoints in `folder`, told by the path that they name."""
    found = []
    for place in elsewhere:
        for path in sorted(place.rglob("*.json")) if place.is_dir() else [place]:
            try:
                content = parse_object(path.read_bytes())
            except (OSError, ValueError):
                continue
            checkpoint = text(pick(content, "checkpoint"))
            inside = path.resolve().parent == (folder / EVALUATIONS_DIR).resolve()
            if checkpoint and not inside and _same(PurePath(checkpoint).parent, folder):
                found.append(path)
    return found


def _same(named: PurePath, folder: Path) -> bool:
    """A path in a record is relative to where it was written, so the folder's end decides."""
    whole = folder.resolve().parts
    parts = [part for part in named.parts if part not in (".", "..")]
    return bool(parts) and whole[-len(parts) :] == tuple(parts)


def _scores(content: dict[str, Any]) -> list[Score]:
    by_how = pick(content, "scores")
    if not isinstance(by_how, dict):
        return []
    checkpoint = PurePath(text(pick(content, "checkpoint")) or "unknown").name
    step = re.fullmatch(r"checkpoint_(\d{1,18})", checkpoint)
    return [
        Score(
            task=text(pick(content, "task")) or "unknown",
            split=text(pick(content, "split")) or "unknown",
            checkpoint=checkpoint,
            step=int(step[1]) if step else None,
            how=printable(how),
            num_examples=integer(pick(score, "num_examples")),
            accuracy=number(pick(score, "accuracy")),
            interval=_interval(pick(score, "accuracy_interval")),
            macro_f1=number(pick(score, "macro_f1")),
            parse_failures=integer(pick(score, "parse_failures")),
            majority_label=text(pick(score, "majority_label")),
            majority_accuracy=number(pick(score, "majority_accuracy")),
            micro_f1=number(pick(score, "micro_f1")),
            example_based_f1=number(pick(score, "example_based_f1")),
            exact_match=number(pick(score, "exact_match")),
            exact_interval=_interval(pick(score, "exact_match_interval")),
            majority_micro_f1=number(pick(score, "majority_micro_f1")),
        )
        for how, score in by_how.items()
    ]


def _interval(value: Any) -> tuple[float, float] | None:
    if not isinstance(value, list) or len(value) != 2:
        return None
    low, high = number(value[0]), number(value[1])
    return None if low is None or high is None else (low, high)

"""A run's `log.jsonl`: what it was, and what happened at which step."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.report.json_values import integer, number, parse_object, text

LOG_FILE = "log.jsonl"
RECORD = b'{"event": "'  # how every line begins
LINES_NAMED = 3  # of those that are damaged


@dataclass(frozen=True)
class TrainPoint:
    """One logged optimizer step; None where the log has no finite number."""

    step: int
    loss: float | None
    """Nats per token."""
    learning_rate: float | None
    tokens_per_second: float | None
    mfu: float | None


@dataclass(frozen=True)
class EvalPoint:
    """One pass over one validation set."""

    step: int
    name: str
    loss: float | None
    perplexity: float | None
    accuracy: float | None
    """Of the next token, a fraction."""


@dataclass(frozen=True)
class Log:
    """A run from its first to its latest step; steps ascend."""

    facts: dict[str, Any]
    """The latest start record."""
    origin: dict[str, Any]
    """The first start record, which knows the other run's checkpoint that this run began with."""
    restarts: int
    """How often the run was taken up again."""
    last_step: int
    """Steps finished, as far as the log knows."""
    train: tuple[TrainPoint, ...]
    evaluations: tuple[EvalPoint, ...]
    notes: tuple[str, ...]
    """What could not be read."""

    @property
    def first_step(self) -> int:
        """Steps finished before this run."""
        return int(self.origin["step"])


def _runs_in(folder: Path) -> str:
    """The runs that a folder of runs has, as far as they fit in a line."""
    found = sorted(
        str(log.parent) for depth in ("*", "*/*") for log in folder.glob(f"{depth}/{LOG_FILE}")
    )
    more = ", ..." if len(found) > 4 else ""
    return f", such as {', '.join(found[:4])}{more}" if found else ""


def read_log(folder: Path) -> Log:
    """Read the log in a run's model_dir.

    A line that is cut short, as a killed run leaves it, is noted and left out. Raises UserError
    if there is no log or no start record in it.
    """
    path = folder / LOG_FILE
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        found = f"has no {LOG_FILE}" if folder.is_dir() else "no such folder"
        raise UserError(
            f"{folder}: {found}; expected a run's model_dir{_runs_in(folder)}"
        ) from None
    except NotADirectoryError:
        raise UserError(f"{folder}: not a folder; expected a run's model_dir") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
    records, broken = _parse(lines)
    log = _collect(records, _notes(broken))
    if log is None:
        raise UserError(f"{path}: holds no start record; expected the log of a training run")
    return log


def _parse(lines: Iterable[bytes]) -> tuple[list[dict[str, Any]], list[int]]:
    """Records, and the numbers of damaged lines."""
    records, broken = [], []
    for i, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        record = _record(line)
        if record is None:
            broken.append(i)
            # A resumed run appends to whatever half a line the killed one left.
            record = _record(line[max(line.rfind(RECORD), 0) :])
        if record is not None:
            records.append(record)
    return records, broken


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        record = parse_object(line)
    except ValueError:
        return None
    step = integer(record.get("step"))
    if step is None or step < 0 or not text(record.get("event")):
        return None
    return {**record, "step": step}


def _collect(records: Iterable[dict[str, Any]], notes: tuple[str, ...]) -> Log | None:
    """Later records replace earlier ones of the same step.

    A start at step n also replaces all that was logged beyond n: those steps were run again.
    """
    starts: list[dict[str, Any]] = []
    train: dict[int, TrainPoint] = {}
    evaluations: dict[tuple[int, str], EvalPoint] = {}
    last_step = 0
    for record in records:
        step: int = record["step"]
        last_step = max(last_step, step)
        if record["event"] == "start":
            last_step = step
            resumed = _resumed(record)
            starts = [s for s in starts if s["step"] < step or (resumed and s["step"] == step)]
            starts.append(record)
            train = {s: point for s, point in train.items() if s <= step}
            evaluations = {k: point for k, point in evaluations.items() if k[0] <= step}
        elif record["event"] == "train":
            train[step] = _train_point(step, record)
        elif record["event"] == "eval":
            point = _eval_point(step, record)
            evaluations[step, point.name] = point
    if not starts:
        return None
    return Log(
        facts=starts[-1],
        origin=starts[0],
        restarts=len(starts) - 1,
        last_step=last_step,
        train=tuple(train[step] for step in sorted(train)),
        evaluations=tuple(evaluations[key] for key in sorted(evaluations)),
        notes=notes,
    )


def _resumed(start: dict[str, Any]) -> bool:
    """Whether a start continues this run: it loads a checkpoint of the run's own folder."""
    checkpoint = text(start.get("started_from"))
    return checkpoint is not None and PurePath(checkpoint).parent.name == start.get("name")


def _train_point(step: int, record: dict[str, Any]) -> TrainPoint:
    return TrainPoint(
        step=step,
        loss=number(record.get("loss")),
        learning_rate=number(record.get("lr")),
        tokens_per_second=number(record.get("tokens_per_second")),
        mfu=number(record.get("mfu")),
    )


def _eval_point(step: int, record: dict[str, Any]) -> EvalPoint:
    return EvalPoint(
        step=step,
        name=text(record.get("name")) or "validation",
        loss=number(record.get("loss")),
        perplexity=number(record.get("perplexity")),
        accuracy=number(record.get("accuracy")),
    )


def _notes(broken: list[int]) -> tuple[str, ...]:
    if not broken:
        return ()
    shown = ", ".join(map(str, broken[:LINES_NAMED]))
    more = f" and {len(broken) - LINES_NAMED} more" if len(broken) > LINES_NAMED else ""
    lines = "line" if len(broken) == 1 else "lines"
    return (f"{LOG_FILE}: {lines} {shown}{more} cut short or damaged, and left out",)

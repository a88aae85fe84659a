"""The report in a few lines, for the terminal."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from modelzoo_mediswift.report.json_values import integer, pick, printable, text
from modelzoo_mediswift.report.log import EvalPoint, TrainPoint
from modelzoo_mediswift.report.provenance import flat
from modelzoo_mediswift.report.quantities import count, decimal, percent, power
from modelzoo_mediswift.report.run import Run, total
from modelzoo_mediswift.report.scores import interval, moment

WIDTH = 100
TITLE_WIDTH = 13
GAP = "  "
MAX_COUNTS = 16  # of the corpus; the page has all
PREFIX, SUFFIX = "model.transformer_decoder.", ".weight"  # of nearly every parameter that is masked

TASK_TITLES = {"pubmedqa": "PubMedQA", "hoc": "HoC"}

Row = tuple[str, ...]


def render(runs: Sequence[Run], corpus: Mapping[str, Any] | None, page: Path) -> str:
    """At most WIDTH columns, unless a path is longer."""
    lines = [
        *_group("Corpus", _corpus_rows(corpus or {}), numbers=(1,)),
        *_group("Tokenizer", dict.fromkeys(map(_tokenizer_row, runs))),
        *_group("Sparsity", _sparsity_rows(runs), numbers=(2, 3)),
        *_group("Loss", (row for run in runs for row in _loss_rows(run)), numbers=(2, 4)),
        *_group("FLOPs", map(_flops_row, runs), numbers=(1, 2, 3)),
        *(line for task in _tasks(runs) for line in _task_lines(task, runs)),
        _line("Report", printable(str(page))),
        *(_line("TensorBoard", f"tensorboard --logdir {path}") for path in _event_folders(runs)),
    ]
    return "\n".join(lines)


def _corpus_rows(corpus: Mapping[str, Any]) -> list[Row]:
    """Counts of the whole, without those of its parts."""
    rows: list[Row] = [
        (": ".join(path), count(integer(value)))
        for path, value in flat(corpus)
        if integer(value) is not None and len(path) <= 2 and path[0] != "options"
    ]
    if len(rows) > MAX_COUNTS:
        rows = [*rows[: MAX_COUNTS - 1], (f"... and {len(rows) - MAX_COUNTS + 1} more", "")]
    return rows


def _tokenizer_row(run: Run) -> Row | None:
    data = pick(run.log.facts, "data")
    words, digest = integer(pick(data, "vocab_size")), text(pick(data, "tokenizer_sha256"))
    if words is None:
        return None
    return (f"{count(words)} words", *([f"SHA-256 {digest[:12]}..."] if digest else []))


def _sparsity_rows(runs: Sequence[Run]) -> Iterator[Row]:
    """A line for each kind of layer; one for all where several runs are each of one level."""
    several = sum(bool(run.levels) for run in runs) > 1
    for run in runs:
        levels = [percent(level.sparsity, 2) for level in run.levels]
        later = "at first, then changing" if run.levels_change else ""
        if several and len(set(levels)) == 1:
            yield run.name, f"each of {len(levels)} kinds of layer", levels[0], later
            continue
        for level in run.levels:
            kind = level.kind.removeprefix(PREFIX).removesuffix(SUFFIX)
            kept = f"{count(level.kept)} of {count(level.total)} kept"
            yield run.name, kind, percent(level.sparsity, 2), later or kept


def _loss_rows(run: Run) -> Iterator[Row]:
    if run.train_losses:
        yield run.name, "training", *_from_to(run.train_losses)
    for name, points in run.validation_losses.items():
        yield run.name, name, *_from_to(points)


def _from_to(points: Sequence[TrainPoint] | Sequence[EvalPoint]) -> Row:
    first, last = points[0], points[-1]
    before, after = (decimal(point.loss) for point in (first, last))
    return before, "->", after, f"(steps {count(first.step)} to {count(last.step)})"


def _flops_row(run: Run) -> Row | None:
    spent, dense = total(run.flops), total(run.dense_flops)
    if spent is None or dense is None or run.flops_ratio is None:
        return None
    if run.flops_ratio == 1:
        return run.name, f"{power(spent)} spent", "dense", ""
    saved = f"{percent(1 - run.flops_ratio)} saved"
    return run.name, f"{power(spent)} spent", f"{power(dense)} if dense", saved


def _tasks(runs: Sequence[Run]) -> list[str]:
    return list(dict.fromkeys(score.task for run in runs for score in run.scores))


def _task_lines(task: str, runs: Sequence[Run]) -> list[str]:
    """Accuracy of each evaluation, with its 95 % interval, beside the majority guess."""
    rows = [
        (
            run.name,
            "before fine-tuning" if (when := moment(run, score)) == "before" else when,
            score.how if score.split == "test" else f"{score.how}, {score.split}",
            percent(score.headline),
            f"({interval(score)})" if score.micro_f1 is None else "micro-F1",
            f"majority {percent(score.majority_accuracy)}"
            if score.micro_f1 is None
            else f"majority {percent(score.majority_micro_f1)}",
        )
        for run in runs
        for score in run.scores
        if score.task == task
    ]
    return _group(TASK_TITLES.get(task, task[: TITLE_WIDTH - 2]), rows, numbers=(3, 4, 5))


def _event_folders(runs: Sequence[Run]) -> list[str]:
    """One folder for TensorBoard to look into, or several where none is above them all."""
    folders = [str(run.events) for run in runs if run.events is not None]
    comparable = len({Path(folder).is_absolute() for folder in folders}) == 1
    above = os.path.commonpath(folders) if comparable else ""
    chosen = folders if above in ("", os.sep) else [above]
    return [shlex.quote(printable(folder)) for folder in chosen]


def _group(title: str, rows: Iterable[Row | None], numbers: Sequence[int] = ()) -> list[str]:
    """Rows under one title with their columns aligned; the given ones to the right."""
    known = [row for row in rows if row is not None]
    n_columns = max((len(row) for row in known), default=0)
    padded = [(*row, *[""] * (n_columns - len(row))) for row in known]
    widths = _fitting([max(map(len, column)) for column in zip(*padded, strict=True)])
    lines = []
    for i, row in enumerate(padded):
        cells = [
            _cut(cell, width).rjust(width) if j in numbers else _cut(cell, width).ljust(width)
            for j, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append(_line("" if i else title, GAP.join(cells)))
    return lines


def _fitting(widths: list[int]) -> list[int]:
    """Take from the widest column until all fit on the line."""
    room = WIDTH - TITLE_WIDTH - len(GAP) * (len(widths) - 1)
    while sum(widths) > room:
        widths[widths.index(max(widths))] -= 1
    return widths


def _cut(cell: str, width: int) -> str:
    """Cut a cell at its beginning, since the end of a name tells more."""
    return cell if len(cell) <= width else f"..{cell[len(cell) - width + 2 :]}"


def _line(title: str, content: str) -> str:
    return f"{title:<{TITLE_WIDTH}}{content}".rstrip()

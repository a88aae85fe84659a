"""The whole report: which sections there are, and the tables about runs as such."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from modelzoo_mediswift.report.beside_paper import beside_section
from modelzoo_mediswift.report.costs import costs_section, paper_section, sparsity_section
from modelzoo_mediswift.report.curves import training_sections
from modelzoo_mediswift.report.differences import differences_section
from modelzoo_mediswift.report.document import Block, Document, Paragraph, Section, Table
from modelzoo_mediswift.report.json_values import integer
from modelzoo_mediswift.report.properties import properties_table
from modelzoo_mediswift.report.provenance import (
    configuration_section,
    corpus_section,
    data_section,
    scalar,
)
from modelzoo_mediswift.report.quantities import (
    MISSING,
    count,
    decimal,
    duration,
    percent,
    power,
    ratio,
)
from modelzoo_mediswift.report.run import FINE_TUNING, Run, total
from modelzoo_mediswift.report.scores import newest_score, scores_section
from modelzoo_mediswift.report.spent import spent_section


def make_document(runs: Sequence[Run], corpus: Mapping[str, Any] | None) -> Document:
    """The report on these runs; `corpus` holds counts of whatever made the training data."""
    sections = [
        _summary(runs),
        *training_sections(runs),
        sparsity_section(runs),
        costs_section(runs),
        spent_section(runs),
        paper_section(runs),
        beside_section(runs),
        scores_section(runs),
        corpus_section(corpus),
        data_section(runs),
        configuration_section(runs),
        differences_section(runs),
        _notes(runs),
    ]
    names = ", ".join(run.name for run in runs)
    return Document(
        title="MediSwift report",
        introduction=f"Made from the logs of {names}. Losses are in nats per token.",
        sections=tuple(section for section in sections if section is not None),
    )


def _summary(runs: Sequence[Run]) -> Section:
    table = Table(
        "Runs at a glance",
        (
            "Run",
            "Stage",
            "Parameters",
            "Sparsity",
            "Tokens",
            "FLOPs",
            "Of dense",
            "Training loss",
            "Validation loss",
            "Task score (majority guess)",
        ),
        tuple(_summary_row(run) for run in runs),
        text_columns=2,
    )
    return Section(
        "Summary",
        (
            table,
            properties_table("What was run", runs, _WHAT),
            Paragraph(
                "Tokens include padding. Training time is the sum over the logged rates, without "
                "evaluation and saving; rates are medians over the log."
            ),
        ),
    )


def _summary_row(run: Run) -> tuple[str, ...]:
    score = newest_score(run)
    accuracy = MISSING
    if score is not None and score.micro_f1 is not None:
        accuracy = f"{percent(score.micro_f1)} micro-F1 ({percent(score.majority_micro_f1)})"
    elif score is not None:
        accuracy = f"{percent(score.accuracy)} ({percent(score.majority_accuracy)})"
    return (
        run.name,
        run.stage,
        count(run.parameters),
        "dense" if run.sparsity is None else percent(run.sparsity),
        count(run.tokens),
        power(total(run.flops)),
        percent(run.flops_ratio),
        decimal(run.train_losses[-1].loss if run.train_losses else None),
        ", ".join(decimal(points[-1].loss) for points in run.validation_losses.values()) or MISSING,
        accuracy,
    )


def _started_from(run: Run) -> str:
    if run.started_from is None:
        return "random weights"
    revived = run.log.origin.get("revived_weights")
    masks = ", masks dropped" if run.stage == FINE_TUNING and revived else ""
    return f"{run.started_from}{masks}"


def _steps(run: Run) -> str:
    done = count(run.log.last_step)
    planned = run.total_steps
    text = done if planned in (None, run.log.last_step) else f"{done} of {count(planned)}"
    return f"{text}, from {count(run.log.first_step)}" if run.log.first_step else text


def _revived(run: Run) -> str:
    revived = integer(run.log.origin.get("revived_weights"))
    return count(revived) if revived else MISSING


def _moved(run: Run) -> str:
    """How many revived weights moved; a run record says so once the run has ended."""
    moved = integer(run.record.get("revived_moved"))
    revived = integer(run.log.origin.get("revived_weights"))
    return MISSING if moved is None else f"{count(moved)} ({percent(ratio(moved, revived))})"


def _revival_check(run: Run) -> str:
    check = run.log.origin.get("revival_check")
    if isinstance(check, dict):
        return ", ".join(f"{key}: {scalar(value)}" for key, value in check.items())
    return scalar(check)


def _restarts(run: Run) -> str:
    times = run.log.restarts
    return (f"{times} times" if times > 1 else "once") if times else MISSING


_WHAT: dict[str, Callable[[Run], str]] = {
    "Stage": lambda run: run.stage,
    "Started from": _started_from,
    "Masked weights revived": _revived,
    "Of these not zero at the end": _moved,
    "Check on reviving": _revival_check,
    "Parameters": lambda run: count(run.parameters),
    "Parameters that no mask holds at zero": lambda run: count(run.nonzero_parameters),
    "Weights of the decoder's matrices": lambda run: count(run.matrix_weights),
    "Sequences per step": lambda run: count(run.batch_size),
    "Tokens per sequence": lambda run: count(run.sequence_length),
    "Steps": _steps,
    "Tokens": lambda run: count(run.tokens),
    "Training time": lambda run: duration(run.seconds),
    "Tokens per second": lambda run: count(run.tokens_per_second),
    "Model-FLOPs utilisation": lambda run: percent(run.mfu),
    "Taken up again": _restarts,
}


def _notes(runs: Sequence[Run]) -> Section | None:
    notes: list[Block] = [Paragraph(f"{run.name}: {note}") for run in runs for note in run.notes]
    return Section("What could not be read", tuple(notes)) if notes else None

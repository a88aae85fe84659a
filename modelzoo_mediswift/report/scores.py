"""Accuracy on tasks, before and after fine-tuning."""

from __future__ import annotations

from collections.abc import Sequence

from modelzoo_mediswift.report.document import Block, Paragraph, Section, Table
from modelzoo_mediswift.report.evaluations import Score
from modelzoo_mediswift.report.quantities import MISSING, count, percent
from modelzoo_mediswift.report.run import FINE_TUNING, Run

EXPLANATION = (
    "Likelihood takes the label whose full answer is most likely; generation reads the label off "
    "the greedily generated answer, and counts what it cannot read as wrong. Intervals are 95 % "
    "Wilson intervals: a difference between scores whose intervals overlap may be chance. The "
    "majority guess always gives the most frequent label."
)

EXPLANATION_SEVERAL = (
    "Micro-F1 is over all pairs of example and label, as in the paper; BLUE's is the harmonic mean "
    "of precision and recall, each averaged over examples. Constrained answers are decoded among "
    "the sets of labels and can always be read."
)


def newest_score(run: Run, task: str | None = None) -> Score | None:
    """The first score of the latest checkpoint that was scored on the test split; where none was,
    of the latest that was scored on another."""
    chosen = [score for score in run.scores if task in (None, score.task)]
    return max(chosen, key=lambda score: (score.split == "test", _step(score)), default=None)


def moment(run: Run, score: Score) -> str:
    """Whether the checkpoint had been fine-tuned."""
    if run.stage != FINE_TUNING or score.step == 0:
        return "before"
    return "after" if score.step is None else f"after {count(score.step)} steps"


def scores_section(runs: Sequence[Run]) -> Section | None:
    rows = [(run, score) for run in runs for score in run.scores]
    if not rows:
        return None
    single = [(run, score) for run, score in rows if score.micro_f1 is None]
    several = [(run, score) for run, score in rows if score.micro_f1 is not None]
    blocks: list[Block] = []
    if single:
        blocks += [_single(single), Paragraph(EXPLANATION)]
    if several:
        blocks += [_several(several), Paragraph(EXPLANATION_SEVERAL)]
    return Section("Task scores", tuple(blocks))


def _single(rows: Sequence[tuple[Run, Score]]) -> Table:
    return Table(
        "Scores",
        (
            "Run",
            "Checkpoint",
            "Fine-tuning",
            "Task",
            "Answer by",
            "Questions",
            "Accuracy",
            "95 % interval",
            "Macro-F1",
            "Parse failures",
            "Majority guess",
        ),
        tuple(_row(run, score) for run, score in rows),
        text_columns=5,
    )


def _several(rows: Sequence[tuple[Run, Score]]) -> Table:
    return Table(
        "Scores where an example may have several labels",
        (
            "Run",
            "Checkpoint",
            "Fine-tuning",
            "Task",
            "Answer by",
            "Examples",
            "Micro-F1",
            "BLUE's example-based F1",
            "Macro-F1",
            "All labels right",
            "95 % interval",
            "Parse failures",
            "Majority guess, micro-F1",
        ),
        tuple(
            (
                run.name,
                score.checkpoint,
                moment(run, score),
                f"{score.task}, {score.split}",
                score.how,
                count(score.num_examples),
                percent(score.micro_f1),
                percent(score.example_based_f1),
                percent(score.macro_f1),
                percent(score.exact_match),
                _between(score.exact_interval),
                count(score.parse_failures),
                percent(score.majority_micro_f1),
            )
            for run, score in rows
        ),
        text_columns=5,
    )


def _row(run: Run, score: Score) -> tuple[str, ...]:
    majority = percent(score.majority_accuracy)
    return (
        run.name,
        score.checkpoint,
        moment(run, score),
        f"{score.task}, {score.split}",
        score.how,
        count(score.num_examples),
        percent(score.accuracy),
        interval(score),
        percent(score.macro_f1),
        count(score.parse_failures),
        f'{majority} ("{score.majority_label}")' if score.majority_label else majority,
    )


def interval(score: Score) -> str:
    """57.1 to 64.9 %"""
    return _between(score.interval)


def _between(bounds: tuple[float, float] | None) -> str:
    if bounds is None:
        return MISSING
    low, high = bounds
    return f"{100 * low:.1f} to {percent(high)}"


def _step(score: Score) -> int:
    return -1 if score.step is None else score.step

"""Scores of an evaluation as text for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from modelzoo_mediswift.tasks.base import TaskScores
from modelzoo_mediswift.tasks.calibration import Calibration
from modelzoo_mediswift.tasks.multilabel import MultiLabelScores
from modelzoo_mediswift.tasks.scoring import ClassScores, Scores

NO_LABEL = "(none)"


def render_scores(
    scores: Mapping[str, TaskScores],
    task: str,
    split: str,
    calibration: Calibration | None = None,
    unparsed: Sequence[str] = (),
) -> str:
    """Headline numbers of each way of answering, then the details of each."""
    some = next(iter(scores.values()))
    lines = [f"{task}, {split}: {some.num_examples} examples"]
    lines += [f"  {how:<11} {_headline(score)}" for how, score in scores.items()]
    lines.append(f"  {'majority':<11} {_majority(some)}")
    if calibration is not None:
        lines.append(
            f"  calibration of likelihood: expected error {calibration.ece:.1%}, "
            f"mean confidence {calibration.mean_confidence:.1%}"
        )
    for how, score in scores.items():
        if isinstance(score, Scores | MultiLabelScores):
            lines += ["", how, *_per_class(score.per_class)]
        if isinstance(score, Scores):
            lines += ["", *_confusion(score)]
    if unparsed:
        lines += ["", "answers that could not be read, the first of them:"]
        lines += [f"  {' '.join(text.split())[:100]!r}" for text in unparsed]
    return "\n".join(lines)


def _headline(score: TaskScores) -> str:
    if isinstance(score, Scores):
        low, high = score.accuracy_interval
        return (
            f"accuracy {score.accuracy:6.1%} (95 % interval {low:.1%} to {high:.1%}), "
            f"macro-F1 {score.macro_f1:.1%}, parse failures {score.parse_failures}"
        )
    assert isinstance(score, MultiLabelScores)
    low, high = score.exact_match_interval
    return (
        f"micro-F1 {score.micro_f1:6.1%} (P {score.micro_precision:.1%}, R "
        f"{score.micro_recall:.1%}), BLUE's example-based F1 {score.example_based_f1:.1%}, "
        f"macro-F1 {score.macro_f1:.1%}, all labels right {score.exact_match:.1%} "
        f"({low:.1%} to {high:.1%}), parse failures {score.parse_failures}"
    )


def _majority(score: TaskScores) -> str:
    if isinstance(score, Scores):
        return (
            f'accuracy {score.majority_accuracy:6.1%} (always "{score.majority_label}"), '
            f"macro-F1 {score.majority_macro_f1:.1%}"
        )
    assert isinstance(score, MultiLabelScores)
    return f'micro-F1 {score.majority_micro_f1:6.1%} (always "{score.majority_label}")'


def _per_class(per_class: Mapping[str, ClassScores]) -> list[str]:
    width = max(map(len, per_class))
    return [
        f"  {'':<{width}}  precision  recall      F1  support",
        *(
            f"  {label:<{width}}  {score.precision:9.1%}  {score.recall:6.1%}  {score.f1:6.1%}  "
            f"{score.support:7}"
            for label, score in per_class.items()
        ),
    ]


def _confusion(score: Scores) -> list[str]:
    columns: list[str | None] = list(score.per_class)
    if score.parse_failures:
        columns.append(None)
    width = max(len(NO_LABEL), *map(len, score.per_class))
    head = "  ".join(f"{label or NO_LABEL:>{width}}" for label in columns)
    return [
        f"  {'gold / answer':<{max(13, width)}}  {head}",
        *(
            f"  {gold:<{max(13, width)}}  "
            + "  ".join(f"{row.get(label, 0):>{width}}" for label in columns)
            for gold, row in score.confusion.items()
        ),
    ]

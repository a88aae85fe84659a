"""Scores of predictions with several labels each, under the names that tell the averages apart."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.tasks.scoring import ClassScores, check_ids, wilson_interval


@dataclass(frozen=True)
class MultiLabelScores:
    """All fractions lie in [0, 1]."""

    num_examples: int
    micro_precision: float
    micro_recall: float
    micro_f1: float
    """Over all pairs of example and label: the paper's and LinkBERT's F1."""
    example_precision: float
    example_recall: float
    example_based_f1: float
    """BLUE's: the harmonic mean of precision and recall, each averaged over examples. An example
    without gold labels counts 1 for a prediction without labels and 0 otherwise."""
    macro_f1: float
    """Mean over all labels."""
    exact_match: float
    exact_match_interval: tuple[float, float]
    """95 % Wilson interval."""
    parse_failures: int
    """Predictions that could not be read; they count as no labels at all."""
    majority_label: str
    majority_micro_f1: float
    """Of always answering with the most frequent label alone."""
    per_class: Mapping[str, ClassScores]

    def as_dict(self) -> dict[str, Any]:
        """The same as plain dicts, lists and numbers, ready for JSON."""
        return {**asdict(self), "exact_match_interval": list(self.exact_match_interval)}


def multilabel_scores(
    predictions: Mapping[str, str | None],
    gold: Mapping[str, str],
    labels: Sequence[str],
    empty: str | None = None,
) -> MultiLabelScores:
    """Compare labels joined by `|`, by example id; a prediction may be None (nothing parsed).

    `empty` stands for no label at all. Raises UserError if the ids are not the same or a label is
    not one of `labels`.
    """
    check_ids(predictions, gold)
    true = {key: _labels("gold", key, value, labels, empty) for key, value in gold.items()}
    said = {key: _labels("predictions", key, predictions[key], labels, empty) for key in gold}
    support = {label: sum(label in t for t in true.values()) for label in labels}
    predicted = {label: sum(label in s for s in said.values()) for label in labels}
    hits = {label: sum(label in true[k] and label in said[k] for k in gold) for label in labels}
    per_class = {
        label: ClassScores(
            precision=_ratio(hits[label], predicted[label]),
            recall=_ratio(hits[label], support[label]),
            f1=_ratio(2 * hits[label], support[label] + predicted[label]),
            support=support[label],
        )
        for label in labels
    }
    total_hits, total_said = sum(hits.values()), sum(predicted.values())
    total_true = sum(support.values())
    precision = sum(_share(true[k] & said[k], said[k], true[k]) for k in gold) / len(gold)
    recall = sum(_share(true[k] & said[k], true[k], said[k]) for k in gold) / len(gold)
    exact = sum(true[key] == said[key] and predictions[key] is not None for key in gold)
    majority = max(labels, key=support.__getitem__)
    return MultiLabelScores(
        num_examples=len(gold),
        micro_precision=_ratio(total_hits, total_said),
        micro_recall=_ratio(total_hits, total_true),
        micro_f1=_ratio(2 * total_hits, total_said + total_true),
        example_precision=precision,
        example_recall=recall,
        example_based_f1=_ratio(2 * precision * recall, precision + recall),
        macro_f1=sum(score.f1 for score in per_class.values()) / len(labels),
        exact_match=exact / len(gold),
        exact_match_interval=wilson_interval(exact, len(gold)),
        parse_failures=sum(predictions[key] is None for key in gold),
        majority_label=majority,
        majority_micro_f1=_ratio(2 * support[majority], len(gold) + total_true),
        per_class=per_class,
    )


def _labels(
    name: str, key: str, value: str | None, labels: Sequence[str], empty: str | None
) -> frozenset[str]:
    if value is None and name == "predictions":
        return frozenset()
    found = frozenset() if value is None or value == empty else frozenset(value.split("|"))
    if value is None or not found <= set(labels):
        raise UserError(f"{name}: {key} has labels {value!r}, expected some of {', '.join(labels)}")
    return found


def _share(common: frozenset[str], whole: frozenset[str], other: frozenset[str]) -> float:
    """The part of `whole` that is common; of nothing, 1 if the other is nothing as well."""
    return len(common) / len(whole) if whole else float(not other)


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator else 0.0

"""Scores of single-label predictions, with the uncertainty of a small test set."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from modelzoo_mediswift.errors import UserError

Z_95 = 1.959963984540054  # the normal distribution's 97.5 % quantile


@dataclass(frozen=True)
class ClassScores:
    """One label against the rest; a ratio with nothing in its denominator is 0."""

    precision: float
    recall: float
    f1: float
    support: int
    """Examples whose gold label this is."""


@dataclass(frozen=True)
class Scores:
    """All fractions lie in [0, 1]."""

    num_examples: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    """95 % Wilson interval."""
    macro_f1: float
    """Mean F1 over the labels that occur in gold or predictions, as scikit-learn and PubMedQA's
    own script have it. Predictions without a label are a class of their own there, with F1 = 0."""
    parse_failures: int
    """Predictions without a label; they count as wrong."""
    majority_label: str
    majority_accuracy: float
    majority_macro_f1: float
    per_class: Mapping[str, ClassScores]
    confusion: Mapping[str, Mapping[str | None, int]]
    """confusion[gold][predicted], None for a parse failure; pairs that never occur are left out."""

    def as_dict(self) -> dict[str, Any]:
        """The same as plain dicts, lists and numbers, ready for JSON."""
        plain = asdict(self)
        plain["accuracy_interval"] = list(self.accuracy_interval)
        plain["confusion"] = {
            gold: {"(none)" if label is None else label: n for label, n in row.items()}
            for gold, row in self.confusion.items()
        }
        return plain


def classification_scores(
    predictions: Mapping[str, str | None], gold: Mapping[str, str], labels: Sequence[str]
) -> Scores:
    """Compare two mappings from example id to label; a prediction may be None (nothing parsed).

    Raises UserError if the ids are not the same or a label is not one of `labels`.
    """
    check_ids(predictions, gold)
    for name, mapping in (("gold", gold), ("predictions", predictions)):
        _check_labels(name, mapping, labels)
    confusion: dict[str, dict[str | None, int]] = {
        g: {
            p: n
            for p in [*labels, None]
            if (n := sum(gold[i] == g and predictions[i] == p for i in gold))
        }
        for g in labels
        if g in gold.values()
    }
    per_class = {label: _class_scores(confusion, label) for label in labels}
    predicted = set(predictions.values())
    occurring = [label for label in labels if per_class[label].support or label in predicted]
    num_classes = len(occurring) + (None in predicted)
    correct = sum(row.get(label, 0) for label, row in confusion.items())
    majority = max(labels, key=lambda label: per_class[label].support)
    share = per_class[majority].support / len(gold)
    return Scores(
        num_examples=len(gold),
        accuracy=correct / len(gold),
        accuracy_interval=wilson_interval(correct, len(gold)),
        macro_f1=sum(per_class[label].f1 for label in occurring) / num_classes,
        parse_failures=sum(label is None for label in predictions.values()),
        majority_label=majority,
        majority_accuracy=share,
        majority_macro_f1=2 * share / (1 + share) / len(confusion),
        per_class=per_class,
        confusion=confusion,
    )


def wilson_interval(successes: int, trials: int, z: float = Z_95) -> tuple[float, float]:
    """Wilson's score interval for a proportion; z = 1.96 for 95 %."""
    share, zz = successes / trials, z * z
    centre = (share + zz / (2 * trials)) / (1 + zz / trials)
    half = z * math.sqrt(share * (1 - share) / trials + zz / (4 * trials**2)) / (1 + zz / trials)
    return max(0.0, centre - half), min(1.0, centre + half)


def _class_scores(confusion: Mapping[str, Mapping[str | None, int]], label: str) -> ClassScores:
    support = sum(confusion.get(label, {}).values())
    predicted = sum(row.get(label, 0) for row in confusion.values())
    hits = confusion.get(label, {}).get(label, 0)
    return ClassScores(
        precision=hits / predicted if predicted else 0.0,
        recall=hits / support if support else 0.0,
        f1=2 * hits / (support + predicted) if hits else 0.0,
        support=support,
    )


def check_ids(predictions: Mapping[str, object], gold: Mapping[str, object]) -> None:
    """Raises UserError unless both have the same ids, and some."""
    if not gold:
        raise UserError("nothing to score: no gold labels")
    missing, extra = gold.keys() - predictions.keys(), predictions.keys() - gold.keys()
    if missing or extra:
        parts = [
            f"{len(ids)} {kind} ({_first_few(ids)})"
            for kind, ids in (("missing", missing), ("not in the test set", extra))
            if ids
        ]
        raise UserError(
            f"predictions must be for exactly the {len(gold)} test ids: {', '.join(parts)}"
        )


def _first_few(ids: Iterable[str], limit: int = 5) -> str:
    ordered = sorted(ids)
    return ", ".join(ordered[:limit]) + (", ..." if len(ordered) > limit else "")


def _check_labels(name: str, mapping: Mapping[str, str | None], labels: Sequence[str]) -> None:
    for key, label in mapping.items():
        if label not in labels and not (label is None and name == "predictions"):
            raise UserError(f"{name}: {key} has label {label!r}, expected {', '.join(labels)}")

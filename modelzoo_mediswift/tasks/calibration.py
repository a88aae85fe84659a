"""How far a model's confidence can be believed: expected calibration error."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

NUM_BINS = 10


@dataclass(frozen=True)
class Bin:
    """The answers whose confidence lies in (low, high]."""

    low: float
    high: float
    count: int
    confidence: float
    """Mean."""
    accuracy: float


@dataclass(frozen=True)
class Calibration:
    """Of answers by likelihood; the confidence is the chosen label's share among the labels."""

    ece: float
    """Mean distance of confidence and accuracy over the bins, weighted by their answers (Guo et
    al. 2017)."""
    mean_confidence: float
    bins: tuple[Bin, ...]
    """Those with answers in them."""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def calibration(
    log_likelihoods: Sequence[Mapping[str, float]], gold: Sequence[str], num_bins: int = NUM_BINS
) -> Calibration:
    """Compare each example's log-likelihoods, by label, with its gold label."""
    answers = []
    for scores, label in zip(log_likelihoods, gold, strict=True):
        best = max(scores, key=scores.__getitem__)
        confidence = 1 / sum(math.exp(score - scores[best]) for score in scores.values())
        answers.append((confidence, best == label))
    by_bin: list[list[tuple[float, bool]]] = [[] for _ in range(num_bins)]
    for confidence, right in answers:
        by_bin[min(max(math.ceil(confidence * num_bins) - 1, 0), num_bins - 1)].append(
            (confidence, right)
        )
    bins = tuple(
        Bin(
            low=i / num_bins,
            high=(i + 1) / num_bins,
            count=len(members),
            confidence=sum(confidence for confidence, _ in members) / len(members),
            accuracy=sum(right for _, right in members) / len(members),
        )
        for i, members in enumerate(by_bin)
        if members
    )
    return Calibration(
        ece=sum(b.count * abs(b.confidence - b.accuracy) for b in bins) / len(answers),
        mean_confidence=sum(confidence for confidence, _ in answers) / len(answers),
        bins=bins,
    )

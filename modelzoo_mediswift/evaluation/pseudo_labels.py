"""Labels that a model gives to examples without one, with its confidence."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from modelzoo_mediswift.evaluation.predict import Text, answer
from modelzoo_mediswift.model.gpt3 import GPT3
from modelzoo_mediswift.tasks.base import Example, Task
from modelzoo_mediswift.tasks.layout import PromptPosition


@dataclass(frozen=True)
class PseudoLabel:
    """The label whose whole target is most likely."""

    id: str
    label: str
    confidence: float
    """Its share among the likelihoods of all labels' targets."""


def pseudo_labels(
    model: GPT3,
    task: Task,
    examples: Sequence[Example],
    text: Text,
    batch_size: int,
    prompt_position: PromptPosition,
) -> Iterator[PseudoLabel]:
    """Label all examples, longest first; their own labels play no part."""
    for found in answer(model, task, examples, text, batch_size, prompt_position=prompt_position):
        label = found.most_likely
        assert label is not None, "labels are ranked by likelihood"
        best = found.log_likelihoods[label]
        shares = sum(math.exp(value - best) for value in found.log_likelihoods.values())
        yield PseudoLabel(found.id, label, 1 / shares)

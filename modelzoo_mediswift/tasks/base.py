"""What a downstream task is: examples to read, a target to learn, an answer to parse and score."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from modelzoo_mediswift.tasks.scoring import Scores

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Example:
    """One question to the model; [source][prompt][target] is learnt, the loss is on the target."""

    id: str
    source: str
    target: str
    label: str


class Task(Protocol):
    """A downstream task with one label per example."""

    name: str
    labels: tuple[str, ...]
    num_virtual_tokens: int
    """Length of the soft prompt that the task's authors use."""

    def read(self, path: Path, split: str) -> list[Example]:
        """The examples of one of `SPLITS`, in a fixed order. Raises UserError for bad files."""
        ...

    def target_text(self, label: str) -> str:
        """The full target that stands for `label`, for scoring by likelihood."""
        ...

    def parse(self, generated: str) -> str | None:
        """The label that a generated target states, None if it states none."""
        ...

    def score(self, predictions: Mapping[str, str | None], gold: Mapping[str, str]) -> Scores:
        """Score predictions by example id. Raises UserError unless the ids are exactly gold's."""
        ...

"""What a downstream task is: examples to read, a target to learn, an answer to parse and score."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Example:
    """One question to the model; [source][prompt][target] is learnt, the loss is on the target."""

    id: str
    source: str
    target: str
    label: str
    """One of the task's labels; several, where a task allows it, are joined by `|`."""


class TaskScores(Protocol):
    """What every task's scores have; the rest is the task's own."""

    @property
    def num_examples(self) -> int: ...

    @property
    def parse_failures(self) -> int: ...

    def as_dict(self) -> dict[str, Any]: ...


class Task(Protocol):
    """A downstream task."""

    name: str
    labels: tuple[str, ...]
    exclusive: bool
    """Whether an example has exactly one label. Only then does the likelihood of each label's
    target rank the answers; otherwise answers are generated and parsed."""
    num_virtual_tokens: int
    """Length of the soft prompt that the task's authors use."""
    free_tokens: int
    """Tokens to keep room for in a generated target, beside its words about the label."""

    def available(self, path: Path) -> tuple[str, ...]:
        """Those of `SPLITS` that the files at `path` hold."""
        ...

    def read(self, path: Path, split: str) -> list[Example]:
        """The examples of one of `SPLITS`, in a fixed order. Raises UserError for bad files."""
        ...

    def target_text(self, label: str) -> str:
        """The full target that stands for an example's `label`."""
        ...

    def longest_target(self) -> str:
        """The target to keep room for when an answer is generated."""
        ...

    def answers(self) -> tuple[str, ...]:
        """Every `label` that an answer may have, where a decoder can be held to these: a target
        is then one of their texts. Empty where targets hold free text."""
        ...

    def parse(self, generated: str) -> str | None:
        """The label that a generated target states, None if it states none."""
        ...

    def score(self, predictions: Mapping[str, str | None], gold: Mapping[str, str]) -> TaskScores:
        """Score predictions by example id. Raises UserError unless the ids are exactly gold's."""
        ...

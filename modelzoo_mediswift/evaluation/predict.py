"""Answers of a model to a task's examples: by likelihood and by generation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from modelzoo_mediswift.model.generate import continuation_log_likelihood, greedy, read_prefix
from modelzoo_mediswift.model.gpt3 import GPT3
from modelzoo_mediswift.tasks.base import Example, Task
from modelzoo_mediswift.tasks.layout import layout_example

Encode = Callable[[str], list[int]]
Decode = Callable[[list[int]], str]


@dataclass(frozen=True)
class Answer:
    """What the model says about one example."""

    id: str
    gold: str
    log_likelihoods: dict[str, float]  # of each label's whole target, in nats
    generated: str
    parsed: str | None  # the label in `generated`

    @property
    def most_likely(self) -> str:
        return max(self.log_likelihoods, key=self.log_likelihoods.__getitem__)


@dataclass(frozen=True)
class Text:
    """A tokenizer, as far as evaluation needs it."""

    encode: Encode
    decode: Decode
    eos_id: int


def answer(
    model: GPT3, task: Task, examples: Sequence[Example], text: Text, batch_size: int = 16
) -> Iterator[Answer]:
    """Answer all examples, longest first so that a batch has little padding.

    The soft prompt is the model's own; a model without one gets source and target alone. Every
    source is cut so that the longest target fits, so all labels see the same source.
    """
    targets = {label: text.encode(task.target_text(label)) for label in task.labels}
    longest = max(map(len, targets.values()))
    prefixes = {}
    for example in examples:
        layout = layout_example(
            text.encode(example.source),
            [],
            model.num_virtual_tokens,
            model.vocab_size,
            text.eos_id,
            model.max_position_embeddings,
            target_room=longest,
        )
        prefixes[example.id] = layout.tokens[: layout.loss_start]
    ordered = sorted(examples, key=lambda e: len(prefixes[e.id]), reverse=True)
    for start in range(0, len(ordered), batch_size):
        batch = ordered[start : start + batch_size]
        prefix = read_prefix(model, [prefixes[example.id] for example in batch])
        # The closing end-of-text is part of a target: without it "no" would also begin "none".
        likelihoods = {
            label: continuation_log_likelihood(model, prefix, [*ids, text.eos_id]).tolist()
            for label, ids in targets.items()
        }
        rows = greedy(model, prefix, longest + 1, text.eos_id)
        for i, (example, row) in enumerate(zip(batch, rows, strict=True)):
            generated = text.decode(row)
            yield Answer(
                example.id,
                example.label,
                {label: values[i] for label, values in likelihoods.items()},
                generated,
                task.parse(generated),
            )

"""Answers of a model to a task's examples: by likelihood and by generation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from modelzoo_mediswift.model.beam import beam_search
from modelzoo_mediswift.model.constrained import Trie, greedy_within, holds, make_trie
from modelzoo_mediswift.model.generate import Prefix, greedy, read_prefix, score_continuations
from modelzoo_mediswift.model.gpt3 import GPT3
from modelzoo_mediswift.tasks.base import Example, Task
from modelzoo_mediswift.tasks.layout import PromptPosition, layout_example

Encode = Callable[[str], list[int]]
Decode = Callable[[list[int]], str]


@dataclass(frozen=True)
class Answer:
    """What the model says about one example."""

    id: str
    gold: str
    log_likelihoods: dict[str, float]
    """Of each label's whole target, in nats; empty where an example may have several labels."""
    generated: str
    parsed: str | None
    """The label in `generated`."""
    constrained: str | None
    """The label of the answer that was decoded among the task's; None where likelihoods choose,
    or nothing can."""
    tokens_cut: int
    """Source tokens that found no room."""

    @property
    def most_likely(self) -> str | None:
        return max(self.log_likelihoods, key=self.log_likelihoods.__getitem__, default=None)


@dataclass(frozen=True)
class Text:
    """A tokenizer, as far as evaluation needs it."""

    encode: Encode
    decode: Decode
    eos_id: int


def answer(
    model: GPT3,
    task: Task,
    examples: Sequence[Example],
    text: Text,
    batch_size: int = 16,
    beams: int = 1,
    prompt_position: PromptPosition = "between",
) -> Iterator[Answer]:
    """Answer all examples, longest first so that a batch has little padding.

    The soft prompt is the model's own; a model without one gets source and target alone. Every
    source is cut so that the longest target fits, so all labels see the same source.
    """
    labels = task.labels if task.exclusive else ()
    possible = {
        # The closing end-of-text is part of a target: without it "no" would also begin "none".
        (*text.encode(task.target_text(label)), text.eos_id): label
        for label in (labels or task.answers())
    }
    targets = [list(tokens) for tokens in possible] if labels else []
    trie = make_trie(possible) if possible and not labels else None
    longest = (*text.encode(task.longest_target()), text.eos_id)
    room = max(map(len, [*possible, longest])) - 1 + task.free_tokens
    layouts = {
        example.id: layout_example(
            text.encode(example.source),
            [],
            model.num_virtual_tokens,
            model.vocab_size,
            text.eos_id,
            model.max_position_embeddings,
            target_room=room,
            prompt_position=prompt_position,
        )
        for example in examples
    }
    ordered = sorted(examples, key=lambda e: layouts[e.id].loss_start, reverse=True)
    for start in range(0, len(ordered), batch_size):
        batch = ordered[start : start + batch_size]
        found = [layouts[example.id] for example in batch]
        prefix = read_prefix(model, [layout.tokens[: layout.loss_start] for layout in found])
        scores: list[list[float]] = [[] for _ in batch]
        drafts: list[list[int] | None] = [None for _ in batch]
        if targets:
            likelihoods, greedily = score_continuations(model, prefix, targets)
            scores = likelihoods.tolist()
            if beams == 1:
                # A target of which every token was the most likely is what greedy decoding gives.
                drafts = [
                    targets[row.index(True)][:-1] if any(row) else None for row in greedily.tolist()
                ]
        rows = _generate(model, prefix, drafts, room + 1, text.eos_id, beams)
        held: list[str | None] = [None for _ in batch]
        if trie is not None:
            # Where greedy decoding kept to the answers by itself, it is not run again.
            drafts = [
                row if beams == 1 and holds(trie, [*row, text.eos_id]) else None for row in rows
            ]
            answers = _fill(prefix, drafts, lambda some: _within(model, some, trie))
            held = [possible[(*row, text.eos_id)] for row in answers]
        for example, layout, values, row, label in zip(
            batch, found, scores, rows, held, strict=True
        ):
            generated = text.decode(row)
            yield Answer(
                example.id,
                example.label,
                dict(zip(labels, values, strict=True)),
                generated,
                task.parse(generated),
                label,
                layout.num_cut,
            )


def _generate(
    model: GPT3,
    prefix: Prefix,
    drafts: Sequence[list[int] | None],
    max_new_tokens: int,
    eos_id: int,
    beams: int,
) -> list[list[int]]:
    """Generated tokens of each row, for the rows that are not known already."""
    if beams == 1:
        return _fill(prefix, drafts, lambda some: greedy(model, some, max_new_tokens, eos_id))
    return _fill(
        prefix, drafts, lambda some: beam_search(model, some, beams, max_new_tokens, eos_id)
    )


def _within(model: GPT3, prefix: Prefix, trie: Trie) -> list[list[int]]:
    """Without the closing end-of-text."""
    return [row[:-1] for row in greedy_within(model, prefix, trie)]


def _fill(
    prefix: Prefix,
    drafts: Sequence[list[int] | None],
    decode: Callable[[Prefix], list[list[int]]],
) -> list[list[int]]:
    """The drafts, and what `decode` makes of those rows that have none."""
    open_rows = [i for i, draft in enumerate(drafts) if draft is None]
    rows = [draft or [] for draft in drafts]
    if open_rows:
        if len(open_rows) < len(drafts):
            prefix = prefix.rows(torch.tensor(open_rows, device=prefix.lengths.device))
        for i, row in zip(open_rows, decode(prefix), strict=True):
            rows[i] = row
    return rows

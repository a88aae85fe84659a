"""Answers of a model to a task's examples: by likelihood and by generation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from modelzoo_mediswift.errors import UserError
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


@dataclass(frozen=True)
class _Choices:
    """What a task can be answered with, as tokens."""

    named: dict[tuple[int, ...], str]
    """Each answer's tokens, and the answer. The closing end-of-text is part of them: without it
    "no" would also begin "none"."""
    exclusive: bool
    """Whether they are labels of which one is right, whose likelihoods compare."""
    room: int
    """Tokens that an answer can take, without the closing one."""

    @property
    def targets(self) -> list[list[int]]:
        return [list(tokens) for tokens in self.named]


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
    choices = _choices(task, text)
    questions = [
        (
            example,
            layout_example(
                text.encode(example.source),
                [],
                model.num_virtual_tokens,
                model.vocab_size,
                text.eos_id,
                model.max_position_embeddings,
                target_room=choices.room,
                prompt_position=prompt_position,
            ),
        )
        for example in examples
    ]
    questions.sort(key=lambda question: question[1].loss_start, reverse=True)
    trie = make_trie(choices.named) if choices.named and not choices.exclusive else None
    for start in range(0, len(questions), batch_size):
        batch = questions[start : start + batch_size]
        prefix = read_prefix(model, [layout.tokens[: layout.loss_start] for _, layout in batch])
        scores: list[dict[str, float]] = [{} for _ in batch]
        drafts: list[list[int] | None] = [None for _ in batch]
        if choices.exclusive:
            scores, drafts = _score(model, prefix, choices)
        rows = _generate(model, prefix, drafts, choices.room + 1, text.eos_id, beams)
        held: list[str | None] = [None for _ in batch]
        if trie is not None:
            held = _hold(model, prefix, trie, choices, rows, text.eos_id, beams)
        for (example, layout), values, row, label in zip(batch, scores, rows, held, strict=True):
            generated = text.decode(row)
            parsed = task.parse(generated)
            yield Answer(
                example.id, example.label, values, generated, parsed, label, layout.num_cut
            )


def _choices(task: Task, text: Text) -> _Choices:
    labels = task.labels if task.exclusive else ()
    named = {
        (*text.encode(task.target_text(name)), text.eos_id): name
        for name in labels or task.answers()
    }
    longest = (*text.encode(task.longest_target()), text.eos_id)
    room = max(map(len, [*named, longest])) - 1 + task.free_tokens
    return _Choices(named, bool(labels), room)


def _score(
    model: GPT3, prefix: Prefix, choices: _Choices
) -> tuple[list[dict[str, float]], list[list[int] | None]]:
    """Each row's log-likelihood of every label, and what greedy decoding gives where that is
    known: a target of which every token was the most likely."""
    targets, names = choices.targets, choices.named.values()
    likelihoods, greedily = score_continuations(model, prefix, targets)
    if likelihoods.isnan().any():
        raise UserError(
            "the model's likelihoods are not numbers: some of its weights are infinite or NaN"
        )
    scores = [dict(zip(names, values, strict=True)) for values in likelihoods.tolist()]
    drafts = [targets[row.index(True)][:-1] if any(row) else None for row in greedily.tolist()]
    return scores, drafts


def _hold(
    model: GPT3,
    prefix: Prefix,
    trie: Trie,
    choices: _Choices,
    rows: Sequence[list[int]],
    eos_id: int,
    beams: int,
) -> list[str | None]:
    """The answer of each row when decoding keeps to the choices; where greedy decoding did so by
    itself, it is not run again."""
    drafts = [row if beams == 1 and holds(trie, [*row, eos_id]) else None for row in rows]
    answers = _fill(prefix, drafts, lambda some: _within(model, some, trie))
    return [choices.named[(*row, eos_id)] for row in answers]


def _generate(
    model: GPT3,
    prefix: Prefix,
    drafts: Sequence[list[int] | None],
    max_new_tokens: int,
    eos_id: int,
    beams: int,
) -> list[list[int]]:
    """Generated tokens of each row; the drafts are greedy decoding's, where they are known."""
    if beams == 1:
        return _fill(prefix, drafts, lambda some: greedy(model, some, max_new_tokens, eos_id))
    return beam_search(model, prefix, beams, max_new_tokens, eos_id)


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

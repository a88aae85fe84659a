"""Likelihood and greedy decoding on top of one cached pass over the prefix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from modelzoo_mediswift.model.gpt3 import GPT3
from modelzoo_mediswift.model.key_values import KeyValues


@dataclass(frozen=True)
class Prefix:
    """B sequences of different lengths, read once; S is the longest, shorter ones are padded."""

    cache: list[KeyValues]
    real: Tensor | None  # (B, S) bool, False on padding; None without any
    lengths: Tensor  # (B,)
    logits: Tensor  # (B, V) for the token that follows

    def rows(self, index: Tensor) -> Prefix:
        """Some of the sequences, in the order of `index`, each as often as it is in it."""
        cache = [layer.rows(index) for layer in self.cache]
        real = None if self.real is None else self.real[index]
        return Prefix(cache, real, self.lengths[index], self.logits[index])

    def extended(self, model: GPT3, tokens: Tensor) -> Prefix:
        """Each sequence with one more of `tokens` (B,), or with several (B, T)."""
        tokens = tokens.view(len(tokens), -1)
        logits, cache, real = _extend(model, self.cache, self.real, self.lengths, tokens)
        return Prefix(cache, real, self.lengths + tokens.shape[1], logits[:, -1].float())


@torch.no_grad()
def read_prefix(model: GPT3, sequences: Sequence[Sequence[int]]) -> Prefix:
    """Run the model over `sequences` (token and virtual-token ids).

    Padding stands on the right: attention that is plainly causal never sees it, and needs no mask.
    """
    model.eval()
    device = next(model.parameters()).device
    lengths = torch.tensor([len(s) for s in sequences], device=device)
    longest = max(map(len, sequences))
    ids = torch.zeros(len(sequences), longest, dtype=torch.long)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = torch.tensor(sequence)
    last, cache = model.hidden_states(ids.to(device), keep_cache=True, at=lengths - 1)
    real = None
    if min(map(len, sequences)) < longest:
        real = torch.arange(longest, device=device) < lengths.unsqueeze(1)
    return Prefix(cache, real, lengths, model.logits(last[:, 0]).float())


@torch.no_grad()
def score_continuations(
    model: GPT3, prefix: Prefix, continuations: Sequence[Sequence[int]]
) -> tuple[Tensor, Tensor]:
    """log p(continuation | prefix) in nats, and whether greedy decoding gives it; both (B, n).

    All in one pass: what the continuations begin with in common is read once, and their branches
    follow side by side, each blind to the others.
    """
    device = prefix.lengths.device
    batch = len(prefix.lengths)
    # What follows the last token of the longest one is not asked for.
    stem = min(_common_length(continuations), max(map(len, continuations)) - 1)
    read = list(continuations[0][:stem])  # the tokens that the pass reads
    parents = list(range(-1, stem - 1))  # what each of them follows; -1 is the prefix
    following = []  # for each continuation, where its tokens are predicted: -1 or a token read
    for continuation in continuations:
        places = list(range(-1, stem))[: len(continuation)]
        for token in continuation[stem:-1]:
            read.append(token)
            parents.append(places[-1])
            places.append(len(read) - 1)
        following.append(places)
    logits = prefix.logits.unsqueeze(1)  # (B, 1, V)
    if read:
        sees = torch.zeros(len(read), len(read), dtype=torch.bool)
        depth: list[int] = []
        for i, parent in enumerate(parents):
            if parent >= 0:
                sees[i] = sees[parent]
            sees[i, i] = True
            depth.append(depth[parent] + 1 if parent >= 0 else 0)
        tokens = torch.tensor(read, device=device).expand(batch, -1)
        after, _, _ = _extend(
            model,
            prefix.cache,
            prefix.real,
            prefix.lengths,
            tokens,
            sees.to(device),
            torch.tensor(depth, device=device),
        )
        logits = torch.cat((logits, after.float()), dim=1)  # (B, 1 + T, V)
    log_p = torch.log_softmax(logits, -1)
    best = logits.argmax(-1)
    scores, greedily = [], []
    for continuation, places in zip(continuations, following, strict=True):
        at = torch.tensor(places, device=device) + 1
        tokens = torch.tensor(continuation, device=device)
        scores.append(log_p[:, at, tokens].sum(-1))
        greedily.append((best[:, at] == tokens).all(-1))
    return torch.stack(scores, 1), torch.stack(greedily, 1)


def _common_length(sequences: Sequence[Sequence[int]]) -> int:
    """How many tokens all the sequences begin with in common."""
    same = (len(set(tokens)) == 1 for tokens in zip(*sequences, strict=False))
    return next((i for i, equal in enumerate(same) if not equal), min(map(len, sequences)))


@torch.no_grad()
def greedy(model: GPT3, prefix: Prefix, max_new_tokens: int, eos_id: int) -> list[list[int]]:
    """The most likely next token again and again, up to and without `eos_id`."""
    produced = []
    finished = torch.zeros_like(prefix.lengths, dtype=torch.bool)
    for _ in range(max_new_tokens):
        token = prefix.logits.argmax(-1)  # (B,)
        finished |= token == eos_id
        produced.append(token)
        # A sequence may not grow beyond the positions that the model has.
        if finished.all() or int(prefix.lengths.max()) >= model.max_position_embeddings:
            break
        prefix = prefix.extended(model, token)
    rows = torch.stack(produced, 1).tolist() if produced else [[] for _ in prefix.lengths]
    return [row[: row.index(eos_id)] if eos_id in row else row for row in rows]


def _extend(
    model: GPT3,
    cache: list[KeyValues],
    real: Tensor | None,
    lengths: Tensor,
    tokens: Tensor,
    sees: Tensor | None = None,
    depth: Tensor | None = None,
) -> tuple[Tensor, list[KeyValues], Tensor | None]:
    """Read `tokens` (B, T) after a cache of S keys: logits (B, T, V), the new cache and keys.

    Token i sees those of `sees`[i] (T, T) and stands `depth`[i] positions after the prefix; by
    default they follow one another.
    """
    batch, count = tokens.shape
    device = tokens.device
    if depth is None:
        depth = torch.arange(count, device=device)
    positions = lengths.unsqueeze(1) + depth
    mask = None
    if real is not None or count > 1:
        if real is None:
            before = cache[0].keys.shape[2]
            known = torch.ones(batch, before, dtype=torch.bool, device=device)
        else:
            known = real
        if sees is None:
            sees = torch.ones(count, count, dtype=torch.bool, device=device).tril()
        # (B, 1, T, S + T)
        mask = torch.cat(
            (known.unsqueeze(1).expand(-1, count, -1), sees.expand(batch, -1, -1)), dim=2
        ).unsqueeze(1)
    hidden, cache = model.hidden_states(tokens, positions, mask, past=cache, keep_cache=True)
    if real is not None:
        real = F.pad(real, (0, count), value=True)
    return model.logits(hidden), cache, real

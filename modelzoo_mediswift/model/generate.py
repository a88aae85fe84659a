"""Likelihood and greedy decoding on top of one cached pass over the prefix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from modelzoo_mediswift.model.gpt3 import GPT3, KeyValue


@dataclass(frozen=True)
class Prefix:
    """B sequences of different lengths, read once; S is the longest, shorter ones start later."""

    cache: list[KeyValue]
    real: Tensor  # (B, S) bool, False on padding
    lengths: Tensor  # (B,)
    logits: Tensor  # (B, V) for the token that follows


@torch.no_grad()
def read_prefix(model: GPT3, sequences: Sequence[Sequence[int]]) -> Prefix:
    """Run the model over `sequences` (token and virtual-token ids), padded on the left."""
    model.eval()
    device = next(model.parameters()).device
    lengths = torch.tensor([len(s) for s in sequences], device=device)
    longest = int(lengths.max())
    ids = torch.zeros(len(sequences), longest, dtype=torch.long)
    for row, sequence in enumerate(sequences):
        ids[row, longest - len(sequence) :] = torch.tensor(sequence)
    positions = torch.arange(longest, device=device) - (longest - lengths).unsqueeze(1)  # (B, S)
    real = positions >= 0
    causal = torch.ones(longest, longest, dtype=torch.bool, device=device).tril()
    # Padding attends to itself, because a row of softmax without any key is not a number.
    mask = causal & real.unsqueeze(1) | torch.eye(longest, dtype=torch.bool, device=device)
    hidden, cache = model.hidden_states(
        ids.to(device), positions.clamp(min=0), mask.unsqueeze(1), keep_cache=True
    )
    return Prefix(cache, real, lengths, model.logits(hidden[:, -1]).float())


@torch.no_grad()
def continuation_log_likelihood(model: GPT3, prefix: Prefix, continuation: Sequence[int]) -> Tensor:
    """log p(continuation | prefix) in nats, (B,): summed over its tokens."""
    batch = len(prefix.lengths)
    device = prefix.lengths.device
    tokens = torch.tensor(continuation, device=device)
    log_p = torch.log_softmax(prefix.logits, -1)[:, tokens[0]]
    if len(tokens) == 1:
        return log_p
    logits, _, _ = _extend(
        model, prefix.cache, prefix.real, prefix.lengths, tokens[:-1].expand(batch, -1)
    )
    following = torch.log_softmax(logits.float(), -1)  # (B, T-1, V)
    picked = following.gather(-1, tokens[1:].expand(batch, -1).unsqueeze(-1)).squeeze(-1)
    return log_p + picked.sum(-1)


@torch.no_grad()
def greedy(model: GPT3, prefix: Prefix, max_new_tokens: int, eos_id: int) -> list[list[int]]:
    """The most likely next token again and again, up to and without `eos_id`."""
    cache, real, lengths = prefix.cache, prefix.real, prefix.lengths
    logits = prefix.logits
    produced = []
    finished = torch.zeros_like(lengths, dtype=torch.bool)
    for _ in range(max_new_tokens):
        token = logits.argmax(-1)  # (B,)
        finished |= token == eos_id
        produced.append(token)
        # A sequence may not grow beyond the positions that the model has.
        if finished.all() or int(lengths.max()) >= model.max_position_embeddings:
            break
        step, cache, real = _extend(model, cache, real, lengths, token.unsqueeze(1))
        lengths = lengths + 1
        logits = step[:, -1].float()
    rows = torch.stack(produced, 1).tolist() if produced else [[] for _ in lengths]
    return [row[: row.index(eos_id)] if eos_id in row else row for row in rows]


def _extend(
    model: GPT3, cache: list[KeyValue], real: Tensor, lengths: Tensor, tokens: Tensor
) -> tuple[Tensor, list[KeyValue], Tensor]:
    """Read `tokens` (B, T) after a cache of S keys: logits (B, T, V), the new cache and keys."""
    batch, count = tokens.shape
    new = torch.ones(batch, count, dtype=torch.bool, device=tokens.device)
    causal = torch.ones(count, count, dtype=torch.bool, device=tokens.device).tril()
    mask = torch.cat(
        (real.unsqueeze(1).expand(-1, count, -1), causal.expand(batch, -1, -1)), dim=2
    )  # (B, T, S + T)
    positions = lengths.unsqueeze(1) + torch.arange(count, device=tokens.device)
    hidden, cache = model.hidden_states(
        tokens, positions, mask.unsqueeze(1), past=cache, keep_cache=True
    )
    return model.logits(hidden), cache, torch.cat((real, new), dim=1)

"""Beam search on top of one cached pass over the prefix."""

from __future__ import annotations

import math

import torch

from modelzoo_mediswift.model.generate import Prefix
from modelzoo_mediswift.model.gpt3 import GPT3


@torch.no_grad()
def beam_search(
    model: GPT3, prefix: Prefix, beams: int, max_new_tokens: int, eos_id: int
) -> list[list[int]]:
    """The most likely of the continuations that `beams` hypotheses find, without `eos_id`.

    A hypothesis is worth the log-probability of all its tokens, the closing `eos_id` among them,
    not divided by its length. One beam is greedy decoding.
    """
    batch, device = len(prefix.lengths), prefix.lengths.device
    prefix = prefix.rows(torch.arange(batch, device=device).repeat_interleave(beams))
    # The beams of a sequence begin alike, so only the first one counts.
    scores = torch.full((batch, beams), -math.inf, device=device)
    scores[:, 0] = 0.0
    finished = torch.zeros(batch, beams, dtype=torch.bool, device=device)
    produced = torch.zeros(batch, beams, 0, dtype=torch.long, device=device)
    first = torch.arange(batch, device=device).unsqueeze(1) * beams  # each sequence's first row
    for _ in range(max_new_tokens):
        log_p = torch.log_softmax(prefix.logits, -1).view(batch, beams, -1)
        # A finished hypothesis continues with end-of-text alone, at no cost.
        log_p = log_p.masked_fill(finished.unsqueeze(-1), -math.inf)
        log_p[..., eos_id] = log_p[..., eos_id].masked_fill(finished, 0.0)
        vocab = log_p.shape[-1]
        scores, best = (scores.unsqueeze(-1) + log_p).flatten(1).topk(beams)  # (B, beams)
        parent, token = best // vocab, best % vocab
        finished = finished.gather(1, parent) | (token == eos_id)
        produced = torch.cat(
            (produced.gather(1, parent.unsqueeze(-1).expand_as(produced)), token.unsqueeze(-1)), 2
        )
        # Scores only fall: nothing can overtake a finished hypothesis that leads.
        full = int(prefix.lengths.max()) >= model.max_position_embeddings
        if finished[:, 0].all() or full:
            break
        prefix = prefix.rows((first + parent).flatten()).extended(model, token.flatten())
    rows = produced[:, 0].tolist()
    return [row[: row.index(eos_id)] if eos_id in row else row for row in rows]

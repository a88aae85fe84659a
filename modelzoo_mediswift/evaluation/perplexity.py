"""How well a model predicts a text that is longer than its window."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from modelzoo_mediswift.model.gpt3 import GPT3

Window = tuple[int, int, int]  # start, end, first token counted


@dataclass(frozen=True)
class Perplexity:
    """How well one text was predicted."""

    num_tokens: int
    """Tokens predicted: all of the text's."""
    num_bytes: int
    nats: float
    """Summed over the tokens."""

    @property
    def perplexity(self) -> float:
        return math.exp(self.nats / self.num_tokens)

    @property
    def bits_per_byte(self) -> float:
        """Of the text in UTF-8; unlike perplexity, comparable between vocabularies."""
        return self.nats / math.log(2) / self.num_bytes


def windows(length: int, window: int, stride: int) -> list[Window]:
    """(start, end, first counted) of windows over `length` tokens, of which each but the first
    token is predicted once. Every window but the first reads `window - stride` tokens again, for
    the context of those that it predicts."""
    found = []
    counted = 1
    while counted < length:
        end = min(length, window + 1) if counted == 1 else min(length, counted + stride)
        found.append((max(0, end - window - 1), end, counted))
        counted = end
    return found


@torch.no_grad()
def text_perplexity(
    model: GPT3,
    ids: Sequence[int],
    eos_id: int,
    num_bytes: int,
    stride: int | None = None,
    progress: Callable[[list[Window]], Iterable[Window]] = list,
) -> Perplexity:
    """Of the tokens `ids`, read after end-of-text as documents are in training; no soft prompt.

    The window is the model's; `stride` tokens (half a window by default) are predicted at a time.
    """
    window = model.max_position_embeddings
    tokens = torch.tensor([eos_id, *ids])
    device = next(model.parameters()).device
    model.eval()
    nats = 0.0
    for start, end, counted in progress(windows(len(tokens), window, stride or window // 2)):
        part = tokens[start:end].to(device)
        hidden, _ = model.hidden_states(part[:-1].unsqueeze(0))
        first = counted - start - 1
        logits = model.logits(hidden[0, first:]).float()
        nats += F.cross_entropy(logits, part[first + 1 :], reduction="sum").item()
    return Perplexity(len(tokens) - 1, num_bytes, nats)

"""One token after the other, drawn from the model's distribution or the most likely."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from modelzoo_mediswift.model.generate import Prefix
from modelzoo_mediswift.model.gpt3 import GPT3

GREEDY = 1e-30  # a temperature below it takes the most likely token; logits over less overflow


@dataclass(frozen=True)
class Sampling:
    """How a token is chosen; by default the most likely one."""

    temperature: float = 0.0
    """0 takes the most likely token; 1 is the model's own distribution."""
    top_k: int = 0
    """Draw from so many most likely tokens; 0 from all."""
    top_p: float = 1.0
    """Draw from the fewest most likely tokens whose probabilities sum to at least this."""

    def choose(self, logits: Tensor, generator: torch.Generator) -> Tensor:
        """A token for each row of logits (B, V), on the CPU."""
        logits = logits.float().cpu()
        if self.temperature < GREEDY:
            return logits.argmax(-1)
        ordered, tokens = (logits / self.temperature).sort(stable=True, dim=-1, descending=True)
        if self.top_k:
            ordered[:, self.top_k :] = -torch.inf
        p = ordered.softmax(-1)
        before = p.cumsum(-1) - p  # the probability of all tokens that are more likely
        p = p.masked_fill(before >= self.top_p, 0.0)
        p[:, 0] = p[:, 0].clamp(min=torch.finfo(p.dtype).tiny)
        drawn = torch.multinomial(p, 1, generator=generator)
        return tokens.gather(-1, drawn).squeeze(-1)


@torch.no_grad()
def stream(
    model: GPT3, prefix: Prefix, sampling: Sampling, max_new_tokens: int, eos_id: int, seed: int
) -> Iterator[int]:
    """The continuation of the one sequence in `prefix`, token by token, without `eos_id`."""
    generator = torch.Generator().manual_seed(seed)
    for count in range(1, max_new_tokens + 1):
        token = sampling.choose(prefix.logits, generator)
        if token.item() == eos_id:
            return
        yield int(token.item())
        if count == max_new_tokens or int(prefix.lengths.max()) >= model.max_position_embeddings:
            return
        prefix = prefix.extended(model, token.to(prefix.lengths.device))

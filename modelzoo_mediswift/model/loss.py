"""Next-token cross-entropy that never holds the logits of all positions at once.

The tokens are taken in chunks. A chunk's logits give its loss and, at once, its part of both
gradients, and are forgotten: what stays for the backward pass is the size of the inputs.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modelzoo_mediswift.model.gpt3 import GPT3

IGNORED = -100  # a target that does not count
CHUNK = 1024  # positions; their logits in fp32 are 166 MiB at 42,384 words
VOCABULARY_MULTIPLE = 128  # a matrix product on tensor cores wants whole tiles


class LossModule(nn.Module):
    """A model and its loss as one module, to be compiled or spread over processes as a whole."""

    def __init__(self, model: GPT3) -> None:
        super().__init__()
        self.gpt3 = model

    def forward(
        self,
        input_ids: Tensor,
        targets: Tensor,
        positions: Tensor | None = None,
        count_right: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Sum of the cross-entropy and, if `count_right`, the number of right predictions.

        input_ids: (B, T). targets: int64 (N,), where IGNORED does not count; they belong to the
        flat `positions` (N,), or to all positions in order.
        """
        hidden, _ = self.gpt3.hidden_states(input_ids)
        hidden = hidden.flatten(0, 1)  # (B*T, d)
        if positions is not None:
            hidden = hidden[positions]
        device = hidden.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
        weight = self.gpt3.model.lm_head.weight
        loss, right = _ChunkedCrossEntropy.apply(
            hidden, weight, targets, dtype or weight.dtype, count_right
        )
        return loss, right


class _ChunkedCrossEntropy(torch.autograd.Function):
    """Cross-entropy of `hidden @ weight.T`, summed over the targets that are not IGNORED."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,  # (N, d)
        weight: Tensor,  # (V, d)
        targets: Tensor,  # (N,)
        dtype: torch.dtype,  # of the matrix products
        count_right: bool,
    ) -> tuple[Tensor, Tensor]:
        with torch.autocast(hidden.device.type, enabled=False):
            return _forward(ctx, hidden, weight, targets, dtype, count_right)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        hidden_gradient, weight_gradient = ctx.saved_tensors
        for_hidden, for_weight = ctx.needs_input_grad[:2]
        return (
            hidden_gradient * gradients[0] if for_hidden else None,
            weight_gradient * gradients[0] if for_weight else None,
            *(None, None, None),
        )


def _forward(
    ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, dtype: torch.dtype, count_right: bool
) -> tuple[Tensor, Tensor]:
    n_words = len(weight)
    padding = -n_words % VOCABULARY_MULTIPLE if hidden.is_cuda else 0
    words = F.pad(weight.to(dtype), (0, 0, 0, padding))  # (V + padding, d)
    trains = any(ctx.needs_input_grad)
    loss = torch.zeros((), dtype=torch.float32, device=hidden.device)
    right = torch.zeros((), dtype=torch.int64, device=hidden.device)
    hidden_parts = []
    weight_gradient = None
    for part, target in zip(hidden.split(CHUNK), targets.split(CHUNK), strict=True):
        inputs = part.to(dtype)
        logits = (inputs @ words.t()).float()  # (n, V + padding)
        if padding:
            logits[:, n_words:] = -torch.inf
        counts = target != IGNORED
        index = target.clamp(min=0).unsqueeze(-1)  # (n, 1)
        log_sum = logits.logsumexp(-1, keepdim=True)
        entropy = (log_sum - logits.gather(-1, index)).squeeze(-1)
        loss = loss + (entropy * counts).sum()
        if count_right:
            right = right + ((logits.argmax(-1) == target) & counts).sum()
        if not trains:
            continue
        # Of the loss by the logits: the probabilities, less one at the target.
        gradient = logits.sub_(log_sum).exp_()
        gradient.scatter_add_(-1, index, gradient.new_full(index.shape, -1.0))
        gradient = gradient.mul_(counts.unsqueeze(-1)).to(dtype)
        hidden_parts.append(gradient @ words)
        product = (gradient.t() @ inputs).float()
        weight_gradient = product if weight_gradient is None else weight_gradient + product
    if trains:
        assert weight_gradient is not None
        ctx.save_for_backward(
            torch.cat(hidden_parts).to(hidden.dtype), weight_gradient[:n_words].to(weight.dtype)
        )
    return loss, right

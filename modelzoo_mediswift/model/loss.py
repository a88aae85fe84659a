"""Next-token cross-entropy over the positions that a loss mask selects."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from modelzoo_mediswift.model.gpt3 import GPT3


def summed_loss(
    model: GPT3, input_ids: Tensor, labels: Tensor, selected: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Sum of the cross-entropy (nats, fp32) and the number of right predictions.

    input_ids, labels: (B, T). `selected` holds the flat positions that count (None: all);
    only their logits are computed, which is most of the cost of fine-tuning on short targets.
    """
    hidden, _ = model.hidden_states(input_ids)
    hidden = hidden.flatten(0, 1)  # (B*T, d)
    targets = labels.flatten().long()
    if selected is not None:
        hidden = hidden[selected]
        targets = targets[selected]
    logits = model.logits(hidden).float()  # (number selected, V)
    loss = F.cross_entropy(logits, targets, reduction="sum")
    with torch.no_grad():
        correct = (logits.argmax(-1) == targets).sum()
    return loss, correct

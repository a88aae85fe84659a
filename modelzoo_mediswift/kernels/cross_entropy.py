"""Cross-entropy and its gradient on a CPU with AVX-512, in place and in one go."""

from __future__ import annotations

import torch
from torch import Tensor

from modelzoo_mediswift.kernels.library import can_read, load_library

IGNORED = -100  # a target that does not count


def is_faster(logits: Tensor) -> bool:
    """Whether `cross_entropy_` can be taken; a compiler makes its own."""
    return logits.dtype in (torch.float32, torch.bfloat16) and can_read(logits)


def cross_entropy_(logits: Tensor, targets: Tensor) -> Tensor:
    """The cross-entropy of rows (n, V) in fp32, summed over the targets (n,) that are not IGNORED.

    The logits become its gradient by them. Raises IndexError where a target is no word.
    """
    assert logits.is_contiguous()
    assert len(targets) == len(logits)
    targets = targets.long().contiguous()
    wrong = ((targets < 0) | (targets >= logits.shape[1])) & (targets != IGNORED)
    if wrong.any():
        raise IndexError(f"target {targets[wrong][0]} is none of {logits.shape[1]} words")
    losses = torch.empty(len(logits), dtype=torch.float32)
    load_library().cross_entropy(
        torch.get_num_threads(),
        logits.dtype == torch.bfloat16,
        logits.data_ptr(),
        *logits.shape,
        targets.data_ptr(),
        losses.data_ptr(),
    )
    return losses.sum()

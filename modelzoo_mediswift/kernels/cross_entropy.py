"""Cross-entropy and its gradient on a CPU with AVX-512, in place and in one go."""

from __future__ import annotations

import torch
from torch import Tensor

from modelzoo_mediswift.kernels.library import is_available, load_library


def is_faster(logits: Tensor) -> bool:
    """Whether `cross_entropy_` can be taken; a compiler makes its own."""
    return (
        logits.device.type == "cpu"
        and logits.dtype in (torch.float32, torch.bfloat16)
        and not torch.compiler.is_compiling()
        and is_available()
        and load_library().has_attention  # AVX-512
    )


def cross_entropy_(logits: Tensor, targets: Tensor) -> Tensor:
    """The cross-entropy of rows (n, V) in fp32, summed over the targets (n,) that are not negative.

    The logits become its gradient by them.
    """
    assert logits.is_contiguous()
    assert targets.is_contiguous()
    assert targets.dtype == torch.int64
    assert len(targets) == len(logits)
    assert not len(targets) or int(targets.max()) < logits.shape[1]
    losses = torch.empty(len(logits))
    load_library().cross_entropy(
        torch.get_num_threads(),
        logits.dtype == torch.bfloat16,
        logits.data_ptr(),
        *logits.shape,
        targets.data_ptr(),
        losses.data_ptr(),
    )
    return losses.sum()

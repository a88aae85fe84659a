"""Dense products in bf16 on a CPU with tiles (AMX), where a weight's gradient is slow in PyTorch.

That product's first factor is the transposed gradient of the outputs. oneDNN (3.12, of torch 2.13)
transposes while it multiplies and reaches 400 GFLOP/s on a core where the other products reach 900.
Transposed beforehand, it takes about 0.6 of the time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from modelzoo_mediswift.kernels.library import can_read, load_library, pytorch_has_tiles

LINE = 32  # numbers of 16 bits in a line of cache
LEAST = 2**31  # products: 2,048 tokens with 1024 x 1024 weights; with fewer it is no faster
OUTPUTS = 2048  # transposed at a time: for 2,048 tokens 8 MiB


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x (..., in) W^T + bias: `F.linear`, and under autocast maybe with a faster backward pass."""
    if (
        torch.is_autocast_enabled("cpu")
        and torch.get_autocast_dtype("cpu") == torch.bfloat16
        and torch.is_grad_enabled()
        and weight.requires_grad
        and weight.dtype == torch.float32
        and _is_faster(x, weight, bias)
    ):
        return _Linear.apply(x, weight, bias)
    return F.linear(x, weight, bias)


def add_weight_gradient(total: Tensor, gradient: Tensor, x: Tensor) -> None:
    """Add gradient^T x to `total` (out, in), for gradients (tokens, out) and inputs (tokens, in).

    With bf16 factors the product is rounded to bf16 before it is added.
    """
    if gradient.dtype == total.dtype:
        total.addmm_(gradient.t(), x)
    elif gradient.dtype == torch.bfloat16 and _is_faster(gradient, total):
        for rows, part in _parts(gradient, x):
            total[rows] += part
    else:
        total += gradient.t() @ x


class _Linear(torch.autograd.Function):
    """What autocast makes of a linear layer, number for number."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        half = torch.bfloat16
        ctx.dtype = x.dtype
        with torch.autocast("cpu", enabled=False):
            x, weight = x.to(half), weight.to(half)
            ctx.save_for_backward(x, weight)
            return F.linear(x, weight, None if bias is None else bias.to(half))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        for_x, _, for_bias = ctx.needs_input_grad
        rows = gradient.reshape(-1, len(weight)).contiguous()
        weight_gradient = torch.empty(weight.shape, dtype=torch.float32)
        for some, part in _parts(rows, x.reshape(-1, x.shape[-1])):
            weight_gradient[some] = part
        return (
            (rows @ weight).to(ctx.dtype).view(x.shape) if for_x else None,
            weight_gradient,
            rows.sum(0).float() if for_bias else None,
        )


def _parts(gradient: Tensor, x: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Rows of gradient^T x, some at a time."""
    tokens, outputs = gradient.shape
    length = -(-tokens // LINE) * LINE
    turned = gradient.new_empty(min(outputs, OUTPUTS), length)
    for start in range(0, outputs, OUTPUTS):
        rows = slice(start, min(start + OUTPUTS, outputs))
        count = rows.stop - start
        load_library().transpose(
            torch.get_num_threads(),
            gradient[:, start:].data_ptr(),
            tokens,
            count,
            outputs,
            turned.data_ptr(),
        )
        yield rows, turned[:count, :tokens] @ x


def _is_faster(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> bool:
    """Whether a layer of such a weight is, with inputs or outputs x."""
    tokens = x.numel() // max(1, x.shape[-1])
    return tokens * weight.numel() >= LEAST and pytorch_has_tiles() and can_read(x, weight, bias)

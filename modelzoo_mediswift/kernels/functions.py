"""Products with sparse matrices that PyTorch can differentiate once."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from modelzoo_mediswift.kernels.library import load_library
from modelzoo_mediswift.kernels.pattern import Pattern, pack, token_sums, unpack


class _Pack(Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, dtype: torch.dtype) -> Tensor:
        ctx.shape, ctx.dtype = rows.shape, rows.dtype
        return pack(rows, dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return unpack(gradient, ctx.shape, ctx.dtype), None


class _Unpack(Function):
    @staticmethod
    def forward(ctx: Any, packed: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        ctx.dtype = packed.dtype
        return unpack(packed, shape, dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return pack(gradient, ctx.dtype), None, None


class _SparseLinear(Function):
    @staticmethod
    def forward(
        ctx: Any, packed: Tensor, values: Tensor, bias: Tensor | None, pattern: Pattern
    ) -> Tensor:
        packed = packed.contiguous()
        ctx.save_for_backward(packed, values)
        ctx.pattern = pattern
        return pattern.multiply(values, bias, packed)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, out: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        packed, values = ctx.saved_tensors
        out = out.contiguous()
        for_input, for_values, for_bias, _ = ctx.needs_input_grad
        return (
            ctx.pattern.multiply_transposed(values, out) if for_input else None,
            ctx.pattern.gradient(out, packed) if for_values else None,
            token_sums(out) if for_bias else None,
            None,
        )


def pack_tokens(rows: Tensor) -> Tensor:
    """Rows of tokens (..., features) as the tiles that `sparse_linear_packed` takes.

    They are bf16 where a dense layer would compute in it and the processor can; else fp32.
    """
    half = result_dtype(rows) == torch.bfloat16 and load_library().multiplies_bf16
    return _Pack.apply(rows, torch.bfloat16 if half else torch.float32)


def unpack_tokens(packed: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Tiles as rows of the shape (..., features)."""
    return _Unpack.apply(packed, shape, dtype)


def sparse_linear_packed(
    packed: Tensor, values: Tensor, bias: Tensor | None, pattern: Pattern
) -> Tensor:
    """x W^T + bias on tiles; `values` are W's, in the order of its pattern."""
    return _SparseLinear.apply(packed, values, bias, pattern)


def sparse_linear(x: Tensor, values: Tensor, bias: Tensor | None, pattern: Pattern) -> Tensor:
    """x (..., in) W^T + bias: (..., out), in fp32 or, under autocast, in its type."""
    shape = (*x.shape[:-1], pattern.shape[0])
    packed = sparse_linear_packed(pack_tokens(x), values, bias, pattern)
    return unpack_tokens(packed, shape, result_dtype(x))


def result_dtype(x: Tensor) -> torch.dtype:
    """What a dense linear layer would give for this input."""
    if torch.is_autocast_enabled("cpu"):
        return torch.get_autocast_dtype("cpu")
    return x.dtype

"""Causal attention on a CPU with AVX-512, in fp32 and bf16.

PyTorch's own kernel takes 1.2 to 3.9 times as long in fp32, and 2.6 to 9 times in bf16, which is
multiplied by AMX's tiles or, where there are none, by AVX512_BF16 (torch 2.13;
benchmarks/attention_cpu.py).
"""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from torch import Tensor

from modelzoo_mediswift.kernels.library import (
    AttentionShape,
    can_read,
    load_library,
    pytorch_has_tiles,
)


def is_faster(query: Tensor) -> bool:
    """Whether `causal_attention` is faster for such queries; a compiler plans attention itself."""
    return (
        query.dtype in (torch.float32, torch.bfloat16)
        and can_read(query)
        and (query.dtype == torch.float32 or _has_bf16())
    )


def _has_bf16() -> bool:
    """Not by vectors where PyTorch may use tiles (AMX), with which its own is faster."""
    library = load_library()
    return library.multiplies_bf16 and (library.has_amx_attention or not pytorch_has_tiles())


def causal_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """softmax(Q K^T / sqrt(e)) V where no query sees later keys; all (B, h, T, e), fp32 or bf16.

    Scores, softmax and sums are fp32. The result lies in memory as (B, T, h, e). Raises TypeError
    where there is no kernel for the type.
    """
    return _CausalAttention.apply(query, key, value)


class _CausalAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        q, k, v = (_by_tokens(x) for x in (query, key, value))
        out = torch.empty_like(q)
        softmax = q.new_empty((*query.shape[:2], 2, query.shape[2]), dtype=torch.float32)
        _call("causal_attention", q, k, v, out, softmax)
        ctx.save_for_backward(q, k, v, out, softmax)
        return out.transpose(1, 2)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        q = ctx.saved_tensors[0]
        gradients = [torch.empty_like(q) for _ in range(3)]
        _call("causal_attention_gradients", *ctx.saved_tensors, _by_tokens(gradient), *gradients)
        return tuple(x.transpose(1, 2) for x in gradients)


def _by_tokens(x: Tensor) -> Tensor:
    """(B, h, T, e) as contiguous (B, T, h, e), which is how projections leave it."""
    return x.transpose(1, 2).contiguous()


def _call(name: str, *tensors: Tensor) -> None:
    shape = AttentionShape(*tensors[0].shape)
    pointers = [tensor.data_ptr() for tensor in tensors]
    library = load_library()
    function, instructions = getattr(library, name), library.attention(tensors[0].dtype)
    if not function(instructions, torch.get_num_threads(), ctypes.byref(shape), *pointers):
        raise MemoryError("no memory for attention")

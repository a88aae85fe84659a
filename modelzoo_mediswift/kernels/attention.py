"""Causal attention on a CPU with AVX-512, in fp32 and bf16.

PyTorch's own kernel takes more than twice as long in fp32, and multiplies bf16 no faster (torch
2.13, a processor with AVX512_BF16 and without AMX; benchmarks/attention_cpu.py).
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import torch
from torch import Tensor

from modelzoo_mediswift.kernels.library import AttentionShape, is_available, load_library


def is_faster(query: Tensor) -> bool:
    """Whether `causal_attention` is faster for such queries; a compiler plans attention itself."""
    return (
        query.device.type == "cpu"
        and query.dtype in (torch.float32, torch.bfloat16)
        and not torch.compiler.is_compiling()
        and (_multiplies_without_tiles() if query.dtype == torch.bfloat16 else _has_fp32())
    )


@cache
def _has_fp32() -> bool:
    return is_available() and load_library().has_attention


@cache
def _multiplies_without_tiles() -> bool:
    """Whether the processor multiplies bf16 in vectors; for tiles (AMX) PyTorch has its own way."""
    if not (is_available() and load_library().multiplies_bf16):
        return False
    has_tiles = getattr(torch.cpu, "_is_amx_tile_supported", None)  # torch 2.4 has not
    return has_tiles is None or not has_tiles()


def causal_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """softmax(Q K^T / sqrt(e)) V where no query sees later keys; all (B, h, T, e), fp32 or bf16.

    Scores, softmax and sums are fp32. The result lies in memory as (B, T, h, e).
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
    half = tensors[0].dtype == torch.bfloat16
    pointers = [tensor.data_ptr() for tensor in tensors]
    function = getattr(load_library(), name)
    if not function(half, torch.get_num_threads(), ctypes.byref(shape), *pointers):
        raise MemoryError("no memory for attention")

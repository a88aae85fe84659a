"""Causal attention in bf16 on a CPU, in batched matrix products.

PyTorch's own kernel for it multiplies bf16 no faster than fp32 (torch 2.13, a processor with
AVX512_BF16 and without AMX), its matrix products several times as fast. This one takes as many
heads and queries at a time as leave their scores in a core's cache, skips keys that come after all
of them, and keeps no probabilities for the backward pass.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from typing import Any

import torch
from torch import Tensor

QUERIES = 128  # at a time
SCORES = 1 << 18  # at a time: 1 MiB in fp32


def is_faster(query: Tensor) -> bool:
    """Whether `causal_attention` is faster for such queries; a compiler plans attention itself."""
    return (
        query.device.type == "cpu"
        and query.dtype == torch.bfloat16
        and not torch.compiler.is_compiling()
        and _multiplies_without_tiles()
    )


@cache
def _multiplies_without_tiles() -> bool:
    """Whether the processor multiplies bf16 in vectors; for tiles (AMX) PyTorch has its own way."""
    try:
        return torch.cpu._is_avx512_bf16_supported() and not torch.cpu._is_amx_tile_supported()
    except AttributeError:  # torch 2.4 cannot tell
        return False


def causal_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """softmax(Q K^T / sqrt(e)) V where no query sees later keys; all (B, h, T, e).

    Products are rounded to bf16; the softmax and the sums of gradients are fp32.
    """
    return _CausalAttention.apply(query, key, value)


class _CausalAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        q, k, v = (x.flatten(0, 1) for x in (query, key, value))  # (B h, T, e)
        out = torch.empty_like(q)
        for heads, start, stop in _parts(q):
            p = _probabilities(q[heads, start:stop], k[heads, :stop])
            out[heads, start:stop] = torch.bmm(p.to(q.dtype), v[heads, :stop])
        ctx.save_for_backward(q, k, v)
        return out.view(query.shape)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = ctx.saved_tensors
        d_out = gradient.flatten(0, 1)
        d_q = torch.empty_like(q)
        d_k, d_v = (torch.zeros_like(x, dtype=torch.float32) for x in (k, v))
        for heads, start, stop in _parts(q):
            here, seen = (heads, slice(start, stop)), (heads, slice(stop))
            p = _probabilities(q[here], k[seen])
            d_p = torch.bmm(d_out[here], v[seen].mT).float()
            mean = (p * d_p).sum(-1, keepdim=True)
            d_scores = d_p.sub_(mean).mul_(p).mul_(_scale(q)).to(q.dtype)
            d_v[seen] += torch.bmm(p.to(q.dtype).mT, d_out[here])
            d_k[seen] += torch.bmm(d_scores.mT, q[here])
            d_q[here] = torch.bmm(d_scores, k[seen])
        shape, dtype = gradient.shape, gradient.dtype
        return d_q.view(shape), d_k.to(dtype).view(shape), d_v.to(dtype).view(shape)


def _parts(q: Tensor) -> Iterator[tuple[slice, int, int]]:
    """Some heads of q (B h, T, e), and where some of their queries start and stop."""
    count, length, _ = q.shape
    together = max(1, SCORES // (QUERIES * length))
    for head in range(0, count, together):
        for start in range(0, length, QUERIES):
            yield slice(head, head + together), start, min(start + QUERIES, length)


def _probabilities(q: Tensor, k: Tensor) -> Tensor:
    """Softmax (n, T, S) in fp32 of q (n, T, e) over k (n, S, e); the last T keys are q's own."""
    scores = torch.bmm(q, k.mT).float().mul_(_scale(q))
    later = torch.ones(q.shape[1], q.shape[1], dtype=torch.bool).triu(1)
    scores[:, :, -q.shape[1] :].masked_fill_(later, -math.inf)
    return scores.softmax(-1)


def _scale(q: Tensor) -> float:
    return 1 / math.sqrt(q.shape[-1])

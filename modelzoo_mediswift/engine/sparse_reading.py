"""A sparse checkpoint's model with compressed weights, for decoding on a CPU.

Decoding one token reads every weight once: it is as slow as memory, and compressed weights are
less to read.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from modelzoo_mediswift.engine.sparse_layers import SparseLinear, prepare_model
from modelzoo_mediswift.kernels.functions import sparse_linear
from modelzoo_mediswift.kernels.library import is_available
from modelzoo_mediswift.kernels.pattern import Pattern
from modelzoo_mediswift.model.gpt3 import GPT3
from modelzoo_mediswift.model.packed import packed
from modelzoo_mediswift.sparsity.masking import MASK_SUFFIX

REPETITIONS = 3
MEASURED = 1 << 28  # weights, 1 GiB: no cache holds them, and a second copy fits beside a model

Product = Callable[[Tensor], Tensor]


@torch.no_grad()
def compress_where_faster(model: GPT3, tensors: Mapping[str, Tensor]) -> bool:
    """Compress the masked layers of a loaded model if one token is then decoded faster than with
    packed weights; what stays dense is for `pack_linear_layers` to pack.

    `tensors` are its checkpoint's, with the masks. Nothing is done on other devices than a CPU,
    without masks and without kernels. Returns whether the layers are compressed.
    """
    if next(model.parameters()).device.type != "cpu" or not is_available():
        return False
    layers, masks = [], []
    for name, module in model.named_modules():
        mask = tensors.get(f"{name}.weight{MASK_SUFFIX}")
        if type(module) is nn.Linear and mask is not None:
            layers.append(module)
            masks.append(mask)
    if not layers:
        return False
    count = _enough(layers)
    dense = _seconds([(layer.in_features, packed(layer)) for layer in layers[:count]])
    sparse = _seconds(
        [
            (layer.in_features, _compressed(layer, mask))
            for layer, mask in zip(layers[:count], masks, strict=False)
        ]
    )
    print(
        f"SparseKernels: one token through {count} sparse layers: dense {1000 * dense:.1f} ms, "
        f"compressed {1000 * sparse:.1f} ms",
        file=sys.stderr,
    )
    if sparse >= dense:
        return False
    prepare_model(model)
    for layer, mask in zip(layers, masks, strict=True):
        assert isinstance(layer, SparseLinear)
        layer.compress(mask)
    for module in model.modules():
        dense_layer: Any = module
        if isinstance(module, SparseLinear) and module.pattern is None:
            dense_layer.__class__ = nn.Linear  # without a mask; it can be packed
    return True


def _enough(layers: Sequence[nn.Linear]) -> int:
    """How many of the layers to measure."""
    weights = 0
    for count, layer in enumerate(layers, start=1):
        weights += layer.weight.numel()
        if weights >= MEASURED:
            return count
    return len(layers)


def _compressed(layer: nn.Linear, mask: Tensor) -> Product:
    pattern = Pattern(mask)
    values = pattern.compress(layer.weight)
    return lambda x: sparse_linear(x, values, layer.bias, pattern)


def _seconds(products: Sequence[tuple[int, Product]]) -> float:
    """One token through all layers, given with their numbers of inputs, each with weights that the
    others have driven from the caches; the best of a few."""
    inputs = {n: torch.zeros(1, n) for n, _ in products}
    times = []
    for _ in range(1 + REPETITIONS):
        start = time.perf_counter()
        for n, product in products:
            product(inputs[n])
        times.append(time.perf_counter() - start)
    return min(times[1:])

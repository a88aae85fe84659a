"""A sparse checkpoint's model with compressed weights, for decoding on a CPU.

Decoding one token reads every weight once: it is as slow as memory, and compressed weights are
less to read.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from modelzoo_mediswift.engine.sparse_layers import SparseLinear, prepare_model
from modelzoo_mediswift.kernels.library import is_available
from modelzoo_mediswift.model.gpt3 import GPT3
from modelzoo_mediswift.sparsity.masking import MASK_SUFFIX

REPETITIONS = 3


@torch.no_grad()
def compress_where_faster(model: GPT3, tensors: Mapping[str, Tensor]) -> bool:
    """Compress the masked layers of a loaded model if one token is then decoded faster.

    `tensors` are its checkpoint's, with the masks. Nothing is done on other devices than a CPU,
    without masks and without kernels. Returns whether the layers are compressed.
    """
    if next(model.parameters()).device.type != "cpu" or not is_available():
        return False
    prepare_model(model)
    layers, masks = [], []
    for name, module in model.named_modules():
        mask = tensors.get(f"{name}.weight{MASK_SUFFIX}")
        if isinstance(module, SparseLinear) and mask is not None:
            layers.append(module)
            masks.append(mask)
    if not layers:
        return False
    dense = _seconds(layers)
    for layer, mask in zip(layers, masks, strict=True):
        layer.compress(mask)
    sparse = _seconds(layers)
    print(
        f"SparseKernels: one token through the sparse layers: dense {1000 * dense:.1f} ms, "
        f"compressed {1000 * sparse:.1f} ms",
        file=sys.stderr,
    )
    if sparse < dense:
        return True
    for layer in layers:
        layer.expand()
    return False


def _seconds(layers: Sequence[SparseLinear]) -> float:
    """One token through all layers, each with weights that the others have driven from the
    caches; the best of a few."""
    inputs = {n: torch.zeros(1, n) for n in {layer.in_features for layer in layers}}
    times = []
    for _ in range(1 + REPETITIONS):
        start = time.perf_counter()
        for layer in layers:
            layer(inputs[layer.in_features])
        times.append(time.perf_counter() - start)
    return min(times[1:])

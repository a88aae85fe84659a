"""A sparse checkpoint's model with compressed weights, for decoding on a CPU.

Decoding one token reads every weight once: it is as slow as memory, and compressed weights are
less to read.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from modelzoo_mediswift.kernels.functions import sparse_linear
from modelzoo_mediswift.kernels.library import is_available
from modelzoo_mediswift.kernels.pattern import Pattern
from modelzoo_mediswift.kernels.sliced import FEW_TOKENS, SlicedMatrix
from modelzoo_mediswift.model.gpt3 import Linear
from modelzoo_mediswift.model.packed import packed
from modelzoo_mediswift.sparsity.masking import MASK_SUFFIX

REPETITIONS = 3
MEASURED = 1 << 28  # weights, 1 GiB: no cache holds them, and a second copy fits beside a model


class CompressedLinear(nn.Module):
    """The same function as an fp32 linear layer with a mask, without a gradient.

    The matrix is held twice: for the few tokens of decoding, and for the many of a prompt.
    """

    def __init__(self, layer: nn.Linear, mask: Tensor) -> None:
        super().__init__()
        self.in_features = layer.in_features
        self.bias = layer.bias
        self.sliced = SlicedMatrix(layer.weight, mask)
        self.pattern = Pattern(mask)
        self.values = self.pattern.compress(layer.weight)

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        rows = x.reshape(-1, self.in_features)
        if len(rows) <= FEW_TOKENS:
            y = self.sliced.multiply(rows, self.bias)
        else:
            y = sparse_linear(rows, self.values, self.bias, self.pattern)
        return y.view(*x.shape[:-1], -1)


@torch.no_grad()
def compress_where_faster(model: nn.Module, tensors: Mapping[str, Tensor]) -> bool:
    """Compress the masked layers of a loaded model if one token is then decoded faster than with
    packed weights; what stays dense is for `pack_linear_layers` to pack.

    `tensors` are its checkpoint's, with the masks. Nothing is done on other devices than a CPU,
    without masks and without kernels. Returns whether the layers are compressed; then the model
    can be asked, but neither trained nor saved.
    """
    if next(model.parameters()).device.type != "cpu" or not is_available():
        return False
    layers: dict[str, nn.Linear] = {}
    masks: dict[str, Tensor] = {}
    for name, module in model.named_modules():
        mask = tensors.get(f"{name}.weight{MASK_SUFFIX}")
        if type(module) is Linear and mask is not None:
            layers[name], masks[name] = module, mask
    if not layers:
        return False
    measured = _enough(layers)
    compressed = {name: CompressedLinear(layers[name], masks[name]) for name in measured}
    inputs = [layers[name].in_features for name in measured]
    dense_time = _seconds(list(zip(inputs, (packed(layers[n]) for n in measured), strict=True)))
    sparse_time = _seconds(list(zip(inputs, compressed.values(), strict=True)))
    print(
        f"SparseKernels: one token through {len(measured)} sparse layers: dense "
        f"{1000 * dense_time:.1f} ms, compressed {1000 * sparse_time:.1f} ms",
        file=sys.stderr,
    )
    if sparse_time >= dense_time:
        return False
    for name, layer in layers.items():
        parent, _, own_name = name.rpartition(".")
        sparse = compressed.get(name) or CompressedLinear(layer, masks[name])
        setattr(model.get_submodule(parent), own_name, sparse)
    return True


def _enough(layers: Mapping[str, nn.Linear]) -> Sequence[str]:
    """The first of the layers, so many as to measure."""
    names, weights = [], 0
    for name, layer in layers.items():
        names.append(name)
        weights += layer.weight.numel()
        if weights >= MEASURED:
            break
    return names


def _seconds(products: Sequence[tuple[int, nn.Module]]) -> float:
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

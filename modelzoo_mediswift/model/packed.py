"""Linear layers that only read: weights in the layout that oneDNN's products want, on a CPU.

PyTorch gives products in fp32 to MKL, which does not use all of every x86 processor; oneDNN is as
fast on all of them. Its packed products have no public name: these operators are what
`torch.compile` puts in place of a linear layer.
"""

from __future__ import annotations

import platform

import torch
from torch import Tensor, nn

from modelzoo_mediswift.model.gpt3 import Linear

TOKENS = 512
"""For how many the layout is made. It serves any number."""


class PackedLinear(nn.Module):
    """The same function as the layer it was made from, without a gradient."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.bias = layer.bias
        self.packed = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), TOKENS)

    def forward(self, x: Tensor) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, "none", [], "")


def packed(layer: nn.Linear) -> nn.Module:
    """The layer packed where this machine and PyTorch can; else itself."""
    return PackedLinear(layer) if _can_pack(layer.weight) else layer


def pack_linear_layers(model: nn.Module) -> None:
    """Replace the linear layers in place, where this machine and PyTorch can pack them.

    Afterwards the model can be asked, but neither trained nor saved.
    """
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child) is Linear:
                setattr(module, name, packed(child))


def _can_pack(weight: Tensor) -> bool:
    if weight.device.type != "cpu" or platform.machine() not in ("x86_64", "AMD64"):
        return False
    if not torch.backends.mkldnn.is_available():
        return False
    if weight.dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return weight.dtype == torch.float32

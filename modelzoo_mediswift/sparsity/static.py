"""Static sparsity: masks chosen once, before the first step, and kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from modelzoo_mediswift.sparsity.filters import SparsityRule, match_rules
from modelzoo_mediswift.sparsity.masks import INIT_METHODS, parameter_generator

MASK_SUFFIX = "_mask"


@dataclass(frozen=True)
class SparseParameter:
    """A masked parameter; the mask is the buffer `<name>_mask` beside it, as in cstorch."""

    name: str
    rule: SparsityRule
    module: nn.Module
    attribute: str

    @property
    def weight(self) -> nn.Parameter:
        return self.module.get_parameter(self.attribute)

    @property
    def mask(self) -> Tensor:
        return self.module.get_buffer(self.attribute + MASK_SUFFIX)


class Static:
    """Masks a model and keeps it masked.

    Zero stays exactly zero without touching the weights again: a masked gradient leaves both
    Adam moments zero, so the update and the decoupled weight decay of a zero weight are zero.
    """

    def __init__(self, model: nn.Module, rules: Sequence[SparsityRule], seed: int) -> None:
        parameters = dict(model.named_parameters())
        chosen = match_rules({n: p.shape for n, p in parameters.items()}, rules)
        self.parameters: list[SparseParameter] = []
        for name, rule in chosen.items():
            owner, _, attribute = name.rpartition(".")
            module = model.get_submodule(owner)
            weight = parameters[name]
            mask = INIT_METHODS[rule.init_method](
                weight, rule.sparsity, parameter_generator(seed, name)
            )
            module.register_buffer(attribute + MASK_SUFFIX, mask.to(weight.device))
            self.parameters.append(SparseParameter(name, rule, module, attribute))
        self.apply_to_weights()

    @torch.no_grad()
    def apply_to_weights(self) -> None:
        """Set the masked weights to zero."""
        for parameter in self.parameters:
            parameter.weight.mul_(parameter.mask)

    @torch.no_grad()
    def mask_gradients(self) -> None:
        """Set the gradients of masked weights to zero; call it before clipping."""
        for parameter in self.parameters:
            gradient = parameter.weight.grad
            if gradient is not None:
                gradient.mul_(parameter.mask)

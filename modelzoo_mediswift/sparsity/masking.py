"""A model's masks: made, applied to weights and gradients, and changed at the right moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from modelzoo_mediswift.sparsity.filters import SparsityRule, match_rules
from modelzoo_mediswift.sparsity.gmp import GMP
from modelzoo_mediswift.sparsity.rigl import RigL
from modelzoo_mediswift.sparsity.set import SET
from modelzoo_mediswift.sparsity.static import Dynamic, Static

MASK_SUFFIX = "_mask"

ALGORITHMS: dict[str, type[Static]] = {"static": Static, "gmp": GMP, "set": SET, "rigl": RigL}


@dataclass(frozen=True)
class SparseParameter:
    """A masked parameter; the mask is the buffer `<name>_mask` beside it, as in cstorch."""

    name: str
    algorithm: Static
    module: nn.Module
    attribute: str

    @property
    def weight(self) -> nn.Parameter:
        return self.module.get_parameter(self.attribute)

    @property
    def mask(self) -> Tensor:
        return self.module.get_buffer(self.attribute + MASK_SUFFIX)

    @property
    def whole_mask(self) -> Tensor:
        """The mask; where each process holds a share of it, all of them must ask."""
        shares: Any = self.mask
        return shares.full_tensor() if hasattr(shares, "full_tensor") else shares


class Masking:
    """Masks a model and keeps it masked.

    Between changes of a mask, zero stays exactly zero without touching the weights again: a
    masked gradient leaves both Adam moments zero, so the update and the decoupled weight decay
    of a zero weight are zero. What a step changes is in the masks alone: when and what to change
    next follows from the number of the step and the seed.
    """

    def __init__(self, model: nn.Module, rules: Sequence[SparsityRule], seed: int) -> None:
        parameters = dict(model.named_parameters())
        chosen = match_rules({n: p.shape for n, p in parameters.items()}, rules)
        algorithms = {id(rule): ALGORITHMS[rule.algorithm](rule, seed) for rule in rules}
        self.parameters: list[SparseParameter] = []
        for name, rule in chosen.items():
            owner, _, attribute = name.rpartition(".")
            module = model.get_submodule(owner)
            weight = parameters[name]
            algorithm = algorithms[id(rule)]
            mask = algorithm.initial_mask(name, weight)
            module.register_buffer(attribute + MASK_SUFFIX, mask.to(weight.device))
            self.parameters.append(SparseParameter(name, algorithm, module, attribute))
        self._algorithms = list(algorithms.values())
        self._gradients: dict[str, Tensor] = {}
        self.apply_to_weights()

    @property
    def dynamic(self) -> bool:
        """Whether any mask may change."""
        return any(isinstance(algorithm, Dynamic) for algorithm in self._algorithms)

    @property
    def seed(self) -> int | None:
        """The seed of what training may still draw; None where masks never change."""
        return next((a.seed for a in self._algorithms if isinstance(a, Dynamic)), None)

    @seed.setter
    def seed(self, seed: int) -> None:
        for algorithm in self._algorithms:
            algorithm.seed = seed

    @torch.no_grad()
    def apply_to_weights(self) -> None:
        """Set the masked weights to zero."""
        for parameter in self.parameters:
            parameter.weight.mul_(parameter.mask)

    def take_out(self) -> dict[str, Tensor]:
        """Remove the masks from the model, whose weights stay zero; returns them by parameter."""
        masks = {parameter.name: parameter.mask for parameter in self.parameters}
        for parameter in self.parameters:
            delattr(parameter.module, parameter.attribute + MASK_SUFFIX)
        return masks

    @torch.no_grad()
    def mask_gradients(self, step: int) -> None:
        """Set the gradients of masked weights to zero; call it once a step, before clipping.

        `step` is the number of the step that is being made, from 1 on. What a change after it
        needs of the gradients is kept until then.
        """
        gradients, masks = [], []
        for parameter in self.parameters:
            gradient = parameter.weight.grad
            if gradient is None:
                continue
            if parameter.algorithm.needs_gradient(step):
                self._gradients[parameter.name] = gradient.clone()
            if gradient.shape == parameter.mask.shape:  # else it is of the non-zeros alone
                gradients.append(gradient)
                masks.append(parameter.mask)
        if gradients:
            torch._foreach_mul_(gradients, masks)

    @torch.no_grad()
    def change_masks(self, step: int) -> list[SparseParameter]:
        """Change the masks that are due after optimizer step `step`; returns whose changed.

        Dropped weights become zero, grown ones start at the zero that they were. Moments are
        the caller's to mask.
        """
        changed = []
        for parameter in self.parameters:
            algorithm, weight, mask = parameter.algorithm, parameter.weight, parameter.mask
            if not isinstance(algorithm, Dynamic):
                continue
            if weight.grad is None or not algorithm.changes_at(step):
                continue
            gradient = self._gradients.get(parameter.name)
            mask.copy_(algorithm.new_mask(parameter.name, weight, mask, gradient, step))
            weight.mul_(mask)
            changed.append(parameter)
        self._gradients.clear()
        return changed

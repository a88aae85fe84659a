"""AdamW as the Cerebras library defines it, on PyTorch's fused kernel."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import nn


class AdamW:
    """Decoupled weight decay on matrices only: not on biases, not on LayerNorm.

    cstorch adds eps to the root of the second moment *before* its bias correction, PyTorch
    after it. Dividing eps by the root of the correction makes the two the same, so that runs
    agree across devices and PyTorch's fused step can be used.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        betas: tuple[float, float],
        eps: float,
        weight_decay: float,
    ) -> None:
        trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.names = list(trainable)
        self.parameters = list(trainable.values())
        self.eps = eps
        self.beta2 = betas[1]
        groups = [
            {
                "params": [p for p in self.parameters if p.dim() >= 2],
                "weight_decay": weight_decay,
            },
            {"params": [p for p in self.parameters if p.dim() < 2], "weight_decay": 0.0},
        ]
        self.torch_optimizer = torch.optim.AdamW(
            [g for g in groups if g["params"]], lr=0.0, betas=betas, eps=eps, fused=True
        )

    def step(self, step: int, learning_rate: float) -> None:
        """Apply the gradients; `step` counts finished steps, so the first call passes 0."""
        correction = math.sqrt(1.0 - self.beta2 ** (step + 1))
        for group in self.torch_optimizer.param_groups:
            group["lr"] = learning_rate
            group["eps"] = self.eps / correction
        self.torch_optimizer.step()

    def zero_grad(self) -> None:
        self.torch_optimizer.zero_grad(set_to_none=True)

    @torch.no_grad()
    def mask_moments(self, parameter: nn.Parameter, mask: torch.Tensor) -> None:
        """Forget the moments of weights that were dropped."""
        self.change_moments(parameter, lambda moment: moment.mul_(mask))

    @torch.no_grad()
    def change_moments(
        self, parameter: nn.Parameter, change: Callable[[torch.Tensor], torch.Tensor]
    ) -> None:
        """Replace both moments, where there are any, by what `change` makes of them."""
        state = self.torch_optimizer.state.get(parameter, {})
        for moment in ("exp_avg", "exp_avg_sq"):
            if moment in state:
                state[moment] = change(state[moment])

    def state(self) -> dict[str, torch.Tensor]:
        """Moments and step counts as `<parameter>.<exp_avg | exp_avg_sq | step>`."""
        return {
            f"{name}.{key}": value
            for name, parameter in zip(self.names, self.parameters, strict=True)
            for key, value in self.torch_optimizer.state[parameter].items()
        }

    def load_state(self, state: dict[str, torch.Tensor]) -> None:
        """Restore what `state` gave; KeyError names a parameter without moments."""
        for name, parameter in zip(self.names, self.parameters, strict=True):
            self.torch_optimizer.state[parameter] = {
                key: state[f"{name}.{key}"].to(parameter.device)
                for key in ("step", "exp_avg", "exp_avg_sq")
            }

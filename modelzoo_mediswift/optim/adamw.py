"""AdamW as the Cerebras library defines it, on PyTorch's fused kernel."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

MOMENTS = ("exp_avg", "exp_avg_sq")  # as PyTorch and the Cerebras library call them
POWERS = ("beta1_power", "beta2_power")  # what that library keeps where PyTorch counts steps


class AdamW:
    """Decoupled weight decay on matrices only: not on biases, not on LayerNorm.

    cstorch adds eps to the root of the second moment *before* its bias correction, PyTorch
    after it. Dividing eps by the root of the correction makes the two the same, so that runs
    agree across devices and PyTorch's fused kernel can be used. It is called without the class
    around it, which imports PyTorch's compiler: a second of every start.
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
        self.betas = betas
        self.decay = {
            weight_decay: [p for p in self.parameters if p.dim() >= 2],
            0.0: [p for p in self.parameters if p.dim() < 2],
        }
        if weight_decay == 0.0:
            self.decay = {0.0: self.parameters}
        self.moments: dict[nn.Parameter, dict[str, torch.Tensor]] = {}

    @torch.no_grad()
    def step(self, step: int, learning_rate: float) -> None:
        """Apply the gradients; `step` counts finished steps, so the first call passes 0."""
        eps = self.eps / math.sqrt(1.0 - self.betas[1] ** (step + 1))
        for decay, parameters in self.decay.items():
            moving = [p for p in parameters if p.grad is not None]
            if not moving:
                continue
            states = [self._moments_of(p) for p in moving]
            steps = [state["step"] for state in states]
            torch._foreach_add_(steps, 1)
            torch._fused_adamw_(
                _local(moving),
                _local([p.grad for p in moving if p.grad is not None]),
                _local([state["exp_avg"] for state in states]),
                _local([state["exp_avg_sq"] for state in states]),
                [],
                steps,
                lr=learning_rate,
                beta1=self.betas[0],
                beta2=self.betas[1],
                weight_decay=decay,
                eps=eps,
                amsgrad=False,
                maximize=False,
            )

    def _moments_of(self, parameter: nn.Parameter) -> dict[str, torch.Tensor]:
        if parameter not in self.moments:
            self.moments[parameter] = {
                "step": torch.zeros((), device=parameter.device),
                **{moment: torch.zeros_like(parameter) for moment in MOMENTS},
            }
        return self.moments[parameter]

    def zero_grad(self) -> None:
        """Let go of the gradients, and their memory."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def mask_moments(self, parameter: nn.Parameter, mask: torch.Tensor) -> None:
        """Forget the moments of weights that were dropped."""
        self.change_moments(parameter, lambda moment: moment.mul_(mask))

    @torch.no_grad()
    def change_moments(
        self, parameter: nn.Parameter, change: Callable[[torch.Tensor], torch.Tensor]
    ) -> None:
        """Replace both moments, where there are any, by what `change` makes of them."""
        state = self.moments.get(parameter, {})
        for moment in MOMENTS:
            if moment in state:
                state[moment] = change(state[moment])

    def state(self) -> dict[str, torch.Tensor]:
        """Moments and step counts as `<parameter>.<exp_avg | exp_avg_sq | step>`."""
        return {
            f"{name}.{key}": value
            for name, parameter in zip(self.names, self.parameters, strict=True)
            for key, value in self.moments.get(parameter, {}).items()
        }

    def load_state(self, state: dict[str, torch.Tensor]) -> None:
        """Restore what `state` gave; KeyError names a parameter without moments."""
        for name, parameter in zip(self.names, self.parameters, strict=True):
            self.moments[parameter] = {
                key: state[f"{name}.{key}"].to(parameter.device) for key in ("step", *MOMENTS)
            }


def _local(tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """This process's shares, where the tensors are shared; the kernel works on each alone."""
    shares: Sequence[Any] = tensors
    return [t.to_local() if hasattr(t, "to_local") else t for t in shares]

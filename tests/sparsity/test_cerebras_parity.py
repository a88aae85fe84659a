"""Masks, weights and moments against the Cerebras library, step for step.

The library's CPU backend keeps the first value of a scheduled drop fraction for ever, because its
cache compares tensors by identity and the step counter changes in place; on a CS system the value
moves on. These tests empty that cache after each step, and so compare with what a CS system does.
"""

import math
import warnings

import pytest
import torch

from modelzoo_mediswift.optim.adamw import AdamW
from modelzoo_mediswift.sparsity import schedules
from modelzoo_mediswift.sparsity.filters import SparsityRule
from modelzoo_mediswift.sparsity.masking import ALGORITHMS, Masking
from modelzoo_mediswift.sparsity.set import SET

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    cstorch = pytest.importorskip("cerebras.pytorch", reason="cerebras-pytorch is not installed")

pytestmark = [pytest.mark.cerebras, pytest.mark.filterwarnings("ignore")]

STEPS = 24


class GlobalSET(SET):
    """SET with scores from PyTorch's global generator, as the library draws them."""

    def growth_scores(self, name, weight, gradient, step):
        return torch.rand_like(weight)


class Network(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.first = torch.nn.Linear(12, 24)
        self.second = torch.nn.Linear(24, 12)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(torch.tanh(self.first(x)))


def loss(model: torch.nn.Module, step: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(step)
    x = torch.randn(6, 12, generator=generator)
    return (model(x) - torch.randn(6, 12, generator=generator)).square().mean()


def library(config: object, steps: int) -> tuple[torch.nn.Module, list[dict], object]:
    """Train with the library; the state after each step, moments included."""
    backend = cstorch.current_backend() or cstorch.backend("CPU")
    with backend.device:
        model = Network()
    sparsity = cstorch.sparse.configure(config)
    model.apply(sparsity)
    algorithms = [sparsity[i] for i in range(len(sparsity._groups))]
    for algorithm in algorithms:
        algorithm.initialize()
    optimizer = cstorch.optim.AdamW(
        model.parameters(), lr=1e-2, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1
    )
    for group in optimizer.param_groups:
        group["weight_decay"] = 0.0
    optimizer.apply(sparsity)
    states = [_library_state(model, optimizer)]
    for step in range(1, steps + 1):
        loss(model, step).backward()
        torch.manual_seed(step)
        optimizer.step()
        optimizer.zero_grad()
        for algorithm in algorithms:
            if hasattr(algorithm, "drop_fraction"):
                algorithm.drop_fraction.cache_clear()
        states.append(_library_state(model, optimizer))
    return states


def _library_state(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict:
    state = {n: t.detach().clone() for n, t in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        for key in ("exp_avg", "exp_avg_sq"):
            state[f"{name}.{key}"] = optimizer.state[parameter][key].detach().clone()
    return state

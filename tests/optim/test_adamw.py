import math
import subprocess
import sys

import pytest
import torch
from torch import nn

from modelzoo_mediswift.optim.adamw import AdamW


def reference(p, grads, lr, betas, eps, decay):
    """Two-moment update with eps before the bias correction, written from its definition."""
    m = v = 0.0
    for t, g in enumerate(grads, 1):
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g * g
        size = math.sqrt(1 - betas[1] ** t) / (1 - betas[0] ** t)
        p = p - lr * (size * m / (math.sqrt(v) + eps) + decay * p)
    return p


@pytest.mark.parametrize("eps", [1e-8, 1e-2])
def test_update_by_hand(eps):
    model = nn.Linear(1, 1, bias=True).double()
    with torch.no_grad():
        model.weight.fill_(0.5)
        model.bias.fill_(0.25)
    optimizer = AdamW(model, betas=(0.9, 0.95), eps=eps, weight_decay=0.1)
    grads = [0.3, -0.2, 0.05]
    for step, grad in enumerate(grads):
        model.weight.grad = torch.full_like(model.weight, grad)
        model.bias.grad = torch.full_like(model.bias, grad)
        optimizer.step(step, 0.01)
    settings = {"lr": 0.01, "betas": (0.9, 0.95), "eps": eps}
    assert model.weight.item() == pytest.approx(
        reference(0.5, grads, decay=0.1, **settings), rel=1e-12
    )
    assert model.bias.item() == pytest.approx(
        reference(0.25, grads, decay=0.0, **settings), rel=1e-12
    )


def test_decay_is_for_matrices_only():
    model = nn.Sequential(nn.Embedding(3, 2), nn.LayerNorm(2), nn.Linear(2, 2))
    optimizer = AdamW(model, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)
    shapes = {decay: [tuple(p.shape) for p in ps] for decay, ps in optimizer.decay.items()}
    assert shapes == {0.1: [(3, 2), (2, 2)], 0.0: [(2,), (2,), (2,)]}


def test_an_optimizer_does_not_need_the_compiler():
    """Which takes a second to import."""
    code = """
import sys, torch
from modelzoo_mediswift.optim.adamw import AdamW
model = torch.nn.Linear(2, 2)
optimizer = AdamW(model, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)
model(torch.ones(2)).sum().backward()
optimizer.step(0, 0.1)
optimizer.zero_grad()
sys.exit("torch._dynamo" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_state_round_trip_continues_identically():
    def make():
        torch.manual_seed(0)
        model = nn.Linear(4, 4)
        return model, AdamW(model, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)

    def steps(model, optimizer, start, stop):
        for step in range(start, stop):
            model(torch.full((1, 4), step + 1.0)).square().sum().backward()
            optimizer.step(step, 0.1)
            optimizer.zero_grad()

    straight, optimizer = make()
    steps(straight, optimizer, 0, 6)
    first, optimizer = make()
    steps(first, optimizer, 0, 3)
    saved = {n: t.clone() for n, t in optimizer.state().items()}
    second, optimizer = make()
    second.load_state_dict(first.state_dict())
    optimizer.load_state(saved)
    steps(second, optimizer, 3, 6)
    assert torch.equal(straight.weight, second.weight)

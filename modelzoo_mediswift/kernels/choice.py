"""Sparse or dense, whichever a short measurement finds faster."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from modelzoo_mediswift.kernels.dense import linear
from modelzoo_mediswift.kernels.functions import sparse_linear
from modelzoo_mediswift.kernels.library import load_library
from modelzoo_mediswift.kernels.pattern import Pattern

MOST_TOKENS = 512  # in a measurement: enough for both ways to reach their speed
REPETITIONS, SECONDS = 3, 0.5  # both at least: short ones are repeated more often
PERCENT = 5  # densities are rounded to multiples of it, and measured once each


class FastestChoice:
    """Measures each shape and density once, forward and backward, as training will run it.

    What was found is part of a run's state: another choice in a continued run would give other
    last bits.
    """

    def __init__(self, tokens: int, autocast: torch.dtype | None = None) -> None:
        self.tokens = max(1, min(tokens, MOST_TOKENS))
        self.autocast = autocast
        self._found: dict[tuple[int, int, int], bool] = {}

    def __call__(self, shape: tuple[int, int], density: float) -> bool:
        percent = round(100 * density / PERCENT) * PERCENT
        key = (*shape, percent)
        if key not in self._found:
            dense, sparse = self._measure(shape, percent / 100)
            self._found[key] = sparse < dense
            print(
                f"SparseKernels ({load_library().description}): {shape[0]} x {shape[1]}, "
                f"{100 - percent} % sparse: dense {1000 * dense:.2f} ms, sparse "
                f"{1000 * sparse:.2f} ms for {self.tokens} tokens: "
                f"{'sparse' if sparse < dense else 'dense'}",
                file=sys.stderr,
            )
        return self._found[key]

    def state(self) -> Tensor:
        """What was found so far: rows of outputs, inputs, density in percent, sparse or not."""
        rows = [[*key, int(sparse)] for key, sparse in self._found.items()]
        return torch.tensor(rows, dtype=torch.int64).view(-1, 4)

    def load_state(self, state: Tensor) -> None:
        self._found = {(r[0], r[1], r[2]): bool(r[3]) for r in state.tolist()}

    def _measure(self, shape: tuple[int, int], density: float) -> tuple[float, float]:
        """Seconds with a dense weight and with a sparse one; the best of a few."""
        generator = torch.Generator().manual_seed(0)
        mask = torch.rand(shape, generator=generator) < density
        weight = torch.randn(shape, generator=generator) * mask
        bias = torch.zeros(shape[0], requires_grad=True)
        x = torch.randn(self.tokens, shape[1], generator=generator, requires_grad=True)
        pattern = Pattern(mask)
        values = pattern.compress(weight).requires_grad_()
        weight.requires_grad_()
        times: list[tuple[float, float]] = []
        start = time.perf_counter()
        # The first of each warms up. In turns, since others may use the machine.
        while len(times) <= REPETITIONS or time.perf_counter() - start < SECONDS:
            dense = self._seconds(lambda: linear(x, weight, bias), (x, weight, bias))
            sparse = self._seconds(
                lambda: sparse_linear(x, values, bias, pattern), (x, values, bias)
            )
            times.append((dense, sparse))
        return min(dense for dense, _ in times[1:]), min(sparse for _, sparse in times[1:])

    def _seconds(self, product: Callable[[], Tensor], inputs: tuple[Tensor, ...]) -> float:
        start = time.perf_counter()
        with torch.enable_grad(), self._context():
            y = product()
        torch.autograd.grad(y, inputs, torch.ones_like(y))
        return time.perf_counter() - start

    def _context(self) -> AbstractContextManager:
        return torch.autocast("cpu", dtype=self.autocast) if self.autocast else nullcontext()

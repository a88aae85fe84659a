"""Throughput between two moments, and what it means for the device."""

from __future__ import annotations

import time
from collections.abc import Callable

from modelzoo_mediswift.trainer.callbacks.base import Run


class Rate:
    """Counts tokens per second of training; time spent outside steps can be left out."""

    def __init__(self, run: Run, clock: Callable[[], float] = time.monotonic) -> None:
        self.run = run
        self.clock = clock
        self.tokens = 0
        self.since = clock()

    def add(self, n_tokens: int) -> None:
        self.tokens += n_tokens

    def restart(self) -> None:
        """Begin a new interval now."""
        self.tokens = 0
        self.since = self.clock()

    @property
    def tokens_per_second(self) -> float:
        elapsed = self.clock() - self.since
        return self.tokens / elapsed if elapsed > 0 else 0.0

    @property
    def mfu(self) -> float | None:
        """Model-FLOPs utilisation: FLOPs executed (dense) over the device's peak."""
        if not self.run.dense_flops_per_token or not self.run.peak_flops:
            return None
        return self.tokens_per_second * self.run.dense_flops_per_token / self.run.peak_flops

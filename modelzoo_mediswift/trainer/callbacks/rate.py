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
        self.all_tokens = 0  # since this part of the run began
        self.since = clock()

    def add(self, n_tokens: int) -> None:
        self.tokens += n_tokens
        self.all_tokens += n_tokens

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
        """Model-FLOPs utilisation: the paper's FLOPs, executed densely, over the devices' peak."""
        return self._of_peak(self.run.dense_flops_per_token)

    @property
    def palm_mfu(self) -> float | None:
        """The same with FLOPs as PaLM's report counts them."""
        return self._of_peak(self.run.palm_flops_per_token)

    @property
    def flops_saved(self) -> float | None:
        """FLOPs that hardware for sparse weights need not do, since this part of the run began."""
        if not self.run.dense_flops_per_token or not self.run.flops_per_token:
            return None
        return self.all_tokens * (self.run.dense_flops_per_token - self.run.flops_per_token)

    def _of_peak(self, flops_per_token: float | None) -> float | None:
        if not flops_per_token or not self.run.peak_flops:
            return None
        return self.tokens_per_second * flops_per_token / self.run.peak_flops

"""Micro-batches on trial, so that several processes find out together what fits.

A process whose memory runs out while gradients are averaged leaves the others waiting in the midst
of it, and nothing can bring them back. So the largest micro-batch so far is first computed where
none waits for another, and then all say whether theirs went well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from modelzoo_mediswift.data.batch import Batch
from modelzoo_mediswift.engine.out_of_memory import (
    OutOfMemory,
    halved,
    named_out_of_memory,
    out_of_memory,
)
from modelzoo_mediswift.engine.processes import Processes

Attempt = Callable[[Sequence[Batch], int], None]
"""Computes with batches, the largest first, so many sequences at a time."""


class Rehearsal:
    """Remembers what has passed: the tokens of the largest micro-batch of any process."""

    def __init__(self, processes: Processes, device: torch.device) -> None:
        self.processes = processes
        self.device = device
        self.passed = 0

    def fitting(self, size: int, batches: Sequence[Batch], attempt: Attempt) -> int:
        """`size`, or the half of it and so on, with which no process runs out of memory.

        All must ask. Nothing is tried where no process has a larger micro-batch than before. Random
        numbers that `attempt` draws are drawn again by what comes after it. Raises OutOfMemory in
        all processes where not even single sequences fit.
        """
        largest_first = sorted(batches, key=lambda batch: -batch.input_ids.numel())
        while True:
            tokens = largest_first[0].input_ids[:size].numel()
            if not self.processes.any(tokens > self.passed):
                return size
            if not self.processes.any(self._fails(attempt, largest_first, size)):
                self.passed = max(self.passed, tokens)
                return size
            if size == 1:
                raise out_of_memory("a process", size)
            size = halved(size, self.device, self.processes)

    def _fails(self, attempt: Attempt, batches: Sequence[Batch], size: int) -> bool:
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            try:
                with named_out_of_memory(self.device, None):
                    attempt(batches, size)
            except OutOfMemory:
                return True
        return False

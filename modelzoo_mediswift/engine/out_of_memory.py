"""Memory that runs out, said in one line with what to change."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from modelzoo_mediswift.engine.processes import ALONE, Processes
from modelzoo_mediswift.errors import UserError

# What PyTorch's allocator on the CPU says; it has no exception of its own.
_ON_CPU = "DefaultCPUAllocator"


class OutOfMemory(UserError):
    """The step was not finished; checkpoints are what they were."""


def how_to_set(micro_batch_size: int | str) -> str:
    """What to write into the configuration."""
    flags = f"{{csx.performance.micro_batch_size: {micro_batch_size}}}"
    return f"callbacks: [ScopedTrainFlags: {flags}]"


@contextmanager
def named_out_of_memory(device: torch.device, micro_batch_size: int | None) -> Iterator[None]:
    """Turn what PyTorch raises inside the block, when memory runs out, into OutOfMemory."""
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        raise out_of_memory(str(device), micro_batch_size) from error
    except RuntimeError as error:
        if _ON_CPU not in str(error):
            raise
        raise out_of_memory("the CPU", micro_batch_size) from error


def halved(micro_batch_size: int, device: torch.device, processes: Processes = ALONE) -> int:
    """Half of a guessed size, with what the old one left behind cleared away."""
    # PyTorch would make programs for any size, which are slower, once it has seen two.
    torch.compiler.reset()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    half = micro_batch_size // 2
    where = "a process" if processes.many else str(device)
    if processes.first:
        print(
            f"{where} ran out of memory with {micro_batch_size} sequences at a time; going on "
            f"with {half} ({how_to_set(half)} saves the next run this)",
            file=sys.stderr,
        )
    return half


def out_of_memory(where: str, micro_batch_size: int | None) -> OutOfMemory:
    if micro_batch_size == 1:
        now = "one sequence"
        remedy = "shorter sequences or a smaller model need less, and of several processes each "
        remedy += "needs less with backend: {shard_parameters: true}"
    else:
        now = "the whole batch" if micro_batch_size is None else f"{micro_batch_size} sequences"
        smaller = "N" if micro_batch_size is None else micro_batch_size // 2
        remedy = f"set {how_to_set(smaller)}, or less: the losses stay"
    return OutOfMemory(
        f"{where} ran out of memory with {now} at a time; {remedy} (`mediswift plan` says what a "
        "step needs); checkpoints are unharmed"
    )

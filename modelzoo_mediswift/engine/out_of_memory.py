"""Memory that runs out, said in one line with what to change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from modelzoo_mediswift.errors import UserError

# What PyTorch's allocator on the CPU says; it has no exception of its own.
_ON_CPU = "DefaultCPUAllocator"


class OutOfMemory(UserError):
    """The step was not finished; checkpoints are what they were."""


@contextmanager
def named_out_of_memory(device: torch.device, micro_batch_size: int | None) -> Iterator[None]:
    """Turn exhausted memory inside into OutOfMemory."""
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        raise OutOfMemory(_advice(str(device), micro_batch_size)) from error
    except RuntimeError as error:
        if _ON_CPU not in str(error):
            raise
        raise OutOfMemory(_advice("the CPU", micro_batch_size)) from error


def _advice(where: str, micro_batch_size: int | None) -> str:
    now = "the whole batch" if micro_batch_size is None else f"{micro_batch_size} sequences"
    return (
        f"{where} ran out of memory with {now} at a time; set a smaller "
        "callbacks: [ScopedTrainFlags: {csx.performance.micro_batch_size: N}], which gives the "
        "same losses (`mediswift plan` says what a step needs); checkpoints are unharmed"
    )

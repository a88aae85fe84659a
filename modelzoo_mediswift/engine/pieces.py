"""The pieces of a batch where memory chose their size: a run that continues keeps them, since sums
in other pieces round otherwise."""

from __future__ import annotations

import sys
from collections.abc import Mapping

import torch
from torch import Tensor

from modelzoo_mediswift.engine.out_of_memory import how_to_set

_KEY = "micro_batch"


def pieces_to_save(size: int | None, batch: int | None) -> dict[str, Tensor]:
    """The part of a state that notes a `batch` cut into micro-batches of `size`, in sequences.

    Empty where nothing was cut, or (`batch` None) where the file and not memory chose the size.
    """
    if size is None or batch is None or size >= batch:
        return {}
    return {_KEY: torch.tensor([size, batch])}


def pieces_as_saved(
    state: Mapping[str, Tensor], size: int | None, batch: int | None, *, speaks: bool
) -> int | None:
    """The size in the state, if the same batch was cut and that size fits too; else `size`."""
    if _KEY not in state:
        return size
    saved, of = state[_KEY].tolist()
    if of != batch or saved >= (size or of):
        return size
    if speaks:
        print(
            f"memory: {saved} of {of} sequences at a time, as the run began "
            f"({how_to_set('N')} changes that)",
            file=sys.stderr,
        )
    return saved

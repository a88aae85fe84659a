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
    """Part of a state: `size` and `batch` in sequences, if memory cut one into the other. A `batch`
    of None was not left to memory."""
    if size is None or batch is None or size >= batch:
        return {}
    return {_KEY: torch.tensor([size, batch])}


def pieces_as_saved(
    state: Mapping[str, Tensor], size: int | None, batch: int | None, *, speaks: bool
) -> int | None:
    """The size that the state has, where the same batch was cut and `size` says that it fits."""
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

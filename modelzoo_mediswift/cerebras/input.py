"""Batches that the cluster's data workers read.

Which sample stands where is `DataOrder`'s word, as on every device; the library's sampler only
deals the batches out to workers, so that the order depends on neither systems nor workers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cerebras.pytorch as cstorch
import numpy as np
import torch
from cerebras.pytorch.utils.data.sampler import ShardedSampler
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from modelzoo_mediswift.data.batch import Batch
from modelzoo_mediswift.data.checks import check_block
from modelzoo_mediswift.data.hdf5 import (
    INPUT_IDS,
    LABELS,
    LOSS_MASK,
    SequenceSource,
    open_sequences,
)
from modelzoo_mediswift.data.loader import EvalLoader, TrainLoader
from modelzoo_mediswift.data.order import DataOrder

FEATURES = {"input_ids": INPUT_IDS, "attention_mask": LOSS_MASK, "labels": LABELS}
"""Model Zoo's names of the rows of a sample; attention_mask is the loss mask."""


@dataclass(frozen=True)
class Recipe:
    """All that a worker needs in order to read: plain values, since they travel by pickle."""

    data_dir: tuple[str, ...]  # absolute
    max_sequence_length: int | None
    batch_size: int  # over all systems
    vocab_size: int
    num_virtual_tokens: int = 0
    shuffle: bool = False
    shuffle_seed: int = 0
    num_samples: int | None = None
    num_workers: int = 0  # processes of one worker
    prefetch_factor: int | None = None

    def dataloader(self, position: int, stop: int) -> cstorch.utils.data.DataLoader:
        """The samples position .. stop-1 of the data order in whole batches, the last one padded
        with sequences whose loss mask is 0."""
        return cstorch.utils.data.DataLoader(read_batches, self, position, stop)


def read_batches(recipe: Recipe, position: int, stop: int) -> DataLoader:
    """Runs on a worker."""
    source = open_sequences([Path(p) for p in recipe.data_dir], recipe.max_sequence_length)
    order = DataOrder(
        len(source),
        shuffle=recipe.shuffle,
        seed=recipe.shuffle_seed,
        num_samples=recipe.num_samples,
    )
    return DataLoader(
        _Rows(source, recipe.vocab_size, recipe.num_virtual_tokens),
        batch_size=None,  # the sampler gives whole batches
        sampler=ShardedSampler(_Indices(order, recipe.batch_size, position, stop)),
        num_workers=recipe.num_workers,
        prefetch_factor=recipe.prefetch_factor if recipe.num_workers else None,
        generator=torch.Generator(),
    )


class WorkerBatches:
    """Stands where other devices have a loader of batches: the host reads none of them itself."""

    def __init__(self, recipe: Recipe, local: TrainLoader | EvalLoader) -> None:
        """`local` is the same data read here, for its checks, its length and its position."""
        self.recipe = recipe
        self.local = local

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        raise TypeError("batches for CSX are read by workers (WorkerBatches.dataloader)")

    def dataloader(self, num_steps: int) -> cstorch.utils.data.DataLoader:
        """The next `num_steps` batches."""
        start = self._position
        stop = start + num_steps * self.recipe.batch_size
        if isinstance(self.local, EvalLoader):
            stop = min(stop, self.local.num_samples)
        return self.recipe.dataloader(start, stop)

    @property
    def num_steps(self) -> int:
        """Batches of one pass over evaluation data."""
        assert isinstance(self.local, EvalLoader)
        return len(self.local)

    @property
    def _position(self) -> int:
        return self.local.samples_consumed if isinstance(self.local, TrainLoader) else 0

    def advance(self, num_steps: int) -> None:
        """Note that so many batches were trained on."""
        assert isinstance(self.local, TrainLoader)
        self.local.samples_consumed += num_steps * self.recipe.batch_size

    def state_dict(self) -> dict[str, Any]:
        assert isinstance(self.local, TrainLoader)
        return self.local.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        assert isinstance(self.local, TrainLoader)
        self.local.load_state_dict(state)


def blank_batches(batch_size: int, length: int) -> cstorch.utils.data.DataLoader:
    """Batches of zeros, for a compiler that looks at shapes alone."""
    return cstorch.utils.data.DataLoader(_blank, batch_size, length)


def _blank(batch_size: int, length: int) -> list[dict[str, Tensor]]:
    return [{name: torch.zeros(batch_size, length, dtype=torch.int32) for name in FEATURES}]


class _Indices:
    """Lists of `batch_size` indices; None stands for a padded sequence."""

    def __init__(self, order: DataOrder, batch_size: int, position: int, stop: int) -> None:
        self.order, self.batch_size = order, batch_size
        self.position, self.stop = position, stop

    def __len__(self) -> int:
        return -(-(self.stop - self.position) // self.batch_size)

    def __iter__(self) -> Iterator[list[int | None]]:
        for start in range(self.position, self.stop, self.batch_size):
            count = min(self.batch_size, self.stop - start)
            indices: list[int | None] = [int(i) for i in self.order.indices(start, count)]
            yield indices + [None] * (self.batch_size - count)


class _Rows(Dataset):
    """Reads and checks one batch per list of indices."""

    def __init__(self, source: SequenceSource, vocab_size: int, num_virtual_tokens: int) -> None:
        self.source = source
        self.vocab_size = vocab_size
        self.num_virtual_tokens = num_virtual_tokens

    def __getitem__(self, indices: Sequence[int | None]) -> dict[str, Tensor]:
        real: NDArray[np.int64] = np.array([i for i in indices if i is not None], np.int64)
        block = np.zeros((len(indices), 3, self.source.max_sequence_length), np.int32)
        block[: len(real)] = self.source.read(real)
        check_block(block[: len(real)], real, self.source, self.vocab_size, self.num_virtual_tokens)
        return {
            name: torch.from_numpy(np.ascontiguousarray(block[:, row]))
            for name, row in FEATURES.items()
        }

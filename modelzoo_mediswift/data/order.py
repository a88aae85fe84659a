"""The data order: a function of (seed, epoch), the same as cstorch's DistributedSampler.

Where sequences are grouped by length, it is a function of the batch size too.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from modelzoo_mediswift.data.length_groups import LengthGroups


class DataOrder:
    """Which sequence is read as the n-th since the start of training.

    The samples of all epochs form one stream; `position` counts in it. Nothing but the
    arguments decides the order: neither workers nor devices, nor without `groups` the batch size.
    """

    def __init__(
        self,
        length: int,
        *,
        shuffle: bool,
        seed: int = 0,
        num_samples: int | None = None,
        groups: LengthGroups | None = None,
    ) -> None:
        """`num_samples` shrinks or extends an epoch of `length` sequences to that many; `groups`
        rearranges it."""
        if length < 1 or (num_samples is not None and num_samples < 1):
            raise ValueError(f"expected positive numbers, got {length=}, {num_samples=}")
        self.length = length
        self.shuffle = shuffle
        self.seed = seed
        self.groups = groups
        self.epoch_length = length if num_samples is None else num_samples
        self._cached: tuple[int, NDArray[np.int64]] | None = None

    def epoch_of(self, position: int) -> int:
        """The epoch, from 0, that `position` belongs to."""
        return position // self.epoch_length

    def epoch_indices(self, epoch: int) -> NDArray[np.int64]:
        """All indices of one epoch, int64 [epoch_length]. The latest epoch asked for is kept."""
        if self._cached is None or self._cached[0] != epoch:
            drawn = self._permutation(epoch)
            if self.groups is not None:
                first = epoch * self.epoch_length
                drawn = self.groups.arrange(drawn, first, self.seed + epoch)
            self._cached = (epoch, drawn)
        return self._cached[1]

    def indices(self, position: int, count: int) -> NDArray[np.int64]:
        """The `count` indices from `position` on, across the ends of epochs."""
        parts = [np.empty(0, np.int64)]
        stop = position + count
        while position < stop:
            epoch, offset = divmod(position, self.epoch_length)
            end = min(offset + stop - position, self.epoch_length)
            if self.shuffle or self.groups is not None:
                parts.append(self.epoch_indices(epoch)[offset:end])
            else:
                parts.append(np.arange(offset, end, dtype=np.int64) % self.length)
            position += end - offset
        return np.concatenate(parts)

    def _permutation(self, epoch: int) -> NDArray[np.int64]:
        """The random calls and their order are cstorch's; another order gives another stream."""
        if not self.shuffle:
            return np.arange(self.epoch_length, dtype=np.int64) % self.length
        generator = torch.Generator().manual_seed(self.seed + epoch)
        drawn = torch.randperm(self.length, generator=generator)
        if self.epoch_length <= self.length:
            return drawn[: self.epoch_length].numpy()
        # Whole passes come first, then a random part; a second draw mixes all of them.
        whole = torch.arange(self.epoch_length) % self.length
        passes = (self.epoch_length - 1) // self.length
        rest = self.epoch_length - passes * self.length
        whole[passes * self.length :] = drawn[:rest]
        return whole[torch.randperm(self.epoch_length, generator=generator)].numpy()

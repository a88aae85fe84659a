"""Batches of sequences of about the same length, so that little of a batch is padding."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modelzoo_mediswift.data.hdf5 import LOSS_MASK, SequenceSource

READ_AT_ONCE = 1024  # sequences
ROUND_UP = 8  # a batch's length is a multiple of it, which suits matrix units


def counted_lengths(loss_mask: NDArray[np.int32]) -> NDArray[np.int64]:
    """Tokens of each row (n, MSL) up to the last one that counts in the loss; at least 1.

    A decoder looks back only: what follows the last token that counts changes no loss.
    """
    width = loss_mask.shape[1]
    last = width - np.argmax(loss_mask[:, ::-1] != 0, axis=1)
    return np.where(loss_mask.any(axis=1), last, 1).astype(np.int64)


def sequence_lengths(source: SequenceSource) -> NDArray[np.int64]:
    """`counted_lengths` of all sequences; reads all of the data once."""
    found = [
        counted_lengths(source.read(np.arange(start, stop))[:, LOSS_MASK])
        for start in range(0, len(source), READ_AT_ONCE)
        for stop in [min(start + READ_AT_ONCE, len(source))]
    ]
    return np.concatenate(found)


def batch_length(longest: int, max_sequence_length: int) -> int:
    """The tokens that a batch is cut to."""
    return min(max_sequence_length, -(-longest // ROUND_UP) * ROUND_UP)


@dataclass(frozen=True)
class LengthGroups:
    """Rearranges an epoch: within every `window` batches, sequences of like length share a batch,
    and those batches are in random order."""

    lengths: NDArray[np.int64]
    batch_size: int
    window: int
    join_epochs: bool
    """Whether a batch may begin in one epoch and end in the next."""

    def arrange(
        self, indices: NDArray[np.int64], first_position: int, seed: int
    ) -> NDArray[np.int64]:
        """`indices`, which are read from `first_position` of the data order on, rearranged.

        `seed` is one more in every epoch. The batch that two epochs share has sequences of like
        length too: both take them from the same place among their lengths, which is drawn from
        the later one's seed.
        """
        cut = -first_position % self.batch_size if self.join_epochs else 0
        if cut >= len(indices):
            return indices
        generator = np.random.Generator(np.random.PCG64(seed))
        size = self.batch_size * self.window
        ends = range(cut + size, len(indices), size)
        windows = [self._ranked(window) for window in np.split(indices, ends)]
        left = (len(indices) - cut) % self.batch_size
        windows[0], opening = self._taken(windows[0], cut, _place(seed))
        if self.join_epochs:
            windows[-1], closing = self._taken(windows[-1], left, _place(seed + 1))
        else:
            windows[-1], closing = np.split(windows[-1], [len(windows[-1]) - left])
        batches = [batch for window in windows for batch in self._shuffled(window, generator)]
        return np.concatenate([opening, *batches, closing])

    def _ranked(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        return indices[np.argsort(self.lengths[indices], kind="stable")]

    def _taken(
        self, ranked: NDArray[np.int64], count: int, place: float
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """What is left without `count` neighbours, and these. They begin where a batch would, so
        that no batch of what is left has a gap in it."""
        start = round(place * ((len(ranked) - count) // self.batch_size)) * self.batch_size
        taken = slice(start, start + count)
        return np.delete(ranked, taken), ranked[taken]

    def _shuffled(
        self, ranked: NDArray[np.int64], generator: np.random.Generator
    ) -> list[NDArray[np.int64]]:
        """Whole batches of a window, in random order."""
        count = len(ranked) // self.batch_size
        batches = ranked.reshape(count, self.batch_size)
        return [batches[i] for i in generator.permutation(count)]


def _place(seed: int) -> float:
    """Where among the lengths two epochs' common batch is taken from, from 0 to 1."""
    return float(np.random.Generator(np.random.PCG64([seed, 1])).random())

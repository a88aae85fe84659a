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
        """`indices`, which are read from `first_position` of the data order on, rearranged."""
        cut = -first_position % self.batch_size if self.join_epochs else 0
        generator = np.random.Generator(np.random.PCG64(seed))
        size = self.batch_size * self.window
        parts = [indices[:cut]]  # the end of a batch that the epoch before began
        for start in range(cut, len(indices), size):
            parts += self._arrange_window(indices[start : start + size], generator)
        return np.concatenate(parts)

    def _arrange_window(
        self, indices: NDArray[np.int64], generator: np.random.Generator
    ) -> list[NDArray[np.int64]]:
        """Sorted, cut into batches, the batches shuffled; one that is not full stays last."""
        ranked = indices[np.argsort(self.lengths[indices], kind="stable")]
        batches = [ranked[i : i + self.batch_size] for i in range(0, len(ranked), self.batch_size)]
        full = [batch for batch in batches if len(batch) == self.batch_size]
        order = generator.permutation(len(full))
        return [full[i] for i in order] + batches[len(full) :]

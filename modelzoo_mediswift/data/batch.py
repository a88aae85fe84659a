"""What a loader hands out, the part of it that one process reads, and how much of it is padding."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor


class Batch(NamedTuple):
    """int32 tensors of one batch; T is MSL, or what the longest sequence needs."""

    input_ids: Tensor  # (B, T)
    loss_mask: Tensor  # (B, T), 1 where the loss counts
    labels: Tensor  # (B, T), already shifted
    first_position: int
    """Position of the first sample in the data order."""
    num_samples: int
    """Samples that the batch takes from the data order, over all processes. Rows without one
    (`pad_last`, or a batch that the processes cannot divide) are zeros with loss mask 0."""


Validation = Mapping[str, Callable[[], Iterable[Batch]]]
"""A name and a way to start a pass for each validation set."""


class Share(NamedTuple):
    """The part of every batch that one of several processes reads: equally many rows for each."""

    rank: int = 0
    processes: int = 1

    def each(self, n_samples: int) -> int:
        """Rows for each process."""
        return -(-n_samples // self.processes)

    def rows(self, n_samples: int) -> slice:
        """Those of a batch of `n_samples`; fewer than `each`, or none, for the last processes."""
        each = self.each(n_samples)
        return slice(self.rank * each, (self.rank + 1) * each)


WHOLE = Share()


@dataclass
class PaddingCount:
    """Tokens of the batches handed out so far."""

    tokens: int = 0
    padding: int = 0
    """Those behind the last one that counts in its sequence's loss."""
    length_sum: int = 0
    """The length of its sequence, padding included, summed over the tokens."""

    def add(self, sequences: int, length: int, real: int) -> None:
        self.tokens += sequences * length
        self.padding += sequences * length - real
        self.length_sum += sequences * length**2

    @property
    def mean_length(self) -> float:
        """The mean, over tokens, of the length of the sequence that they stand in."""
        return self.length_sum / self.tokens if self.tokens else 0.0

    @property
    def share(self) -> float:
        """Of the tokens."""
        return self.padding / self.tokens if self.tokens else 0.0

"""Batches for training, resumable at any sample, and for evaluation, one pass in order."""

from collections.abc import Iterator
from typing import Any

from modelzoo_mediswift.data.batch import WHOLE, Batch, Share
from modelzoo_mediswift.data.batch_loader import BatchLoader, Requests
from modelzoo_mediswift.data.hdf5 import SequenceSource
from modelzoo_mediswift.data.length_groups import LengthGroups, sequence_lengths
from modelzoo_mediswift.data.order import DataOrder
from modelzoo_mediswift.errors import UserError

GROUPED = "grouped_by_length"  # [window, batch size, RULE] in a saved position
RULE = 2  # raised whenever `LengthGroups` would order the same sequences differently


class TrainLoader(BatchLoader):
    """Batches without end, epoch after epoch, that continue exactly where a checkpoint left off."""

    def __init__(
        self,
        source: SequenceSource,
        batch_size: int,
        *,
        vocab_size: int,
        shuffle: bool = False,
        shuffle_seed: int = 0,
        num_samples: int | None = None,
        drop_last: bool = True,
        group_window: int = 0,
        share: Share = WHOLE,
        **options: Any,
    ) -> None:
        """With `group_window` and `shuffle`, sequences of like length share a batch within every so
        many batches.

        With `drop_last`, samples left over at the end of an epoch open the first batch of the next,
        as in Model Zoo; without it they form a smaller batch, or with `pad_last` one padded to
        `batch_size`. `num_samples` shrinks or extends an epoch. `batch_size` and the order are
        those of all processes together, of which this one reads its `share`. `options` are those
        of `BatchLoader`.
        """
        groups = None
        if group_window and shuffle:
            lengths = sequence_lengths(source)
            groups = LengthGroups(lengths, batch_size, group_window, join_epochs=drop_last)
        self.order = DataOrder(
            len(source), shuffle=shuffle, seed=shuffle_seed, num_samples=num_samples, groups=groups
        )
        requests = Requests(self.order, batch_size, join_epochs=drop_last, stop=None, share=share)
        super().__init__(source, requests, vocab_size=vocab_size, **options)
        self.samples_consumed = 0

    def __iter__(self) -> Iterator[Batch]:
        self.requests.start = self.samples_consumed
        for batch in self._batches():
            self.samples_consumed = batch.first_position + batch.num_samples
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """Samples handed out so far, not those read ahead, and what decides the order."""
        groups = self.order.groups
        return {
            "samples_consumed": self.samples_consumed,
            "data_fingerprint": self.source.fingerprint,
            "shuffle": self.order.shuffle,
            "shuffle_seed": self.order.seed,
            "epoch_length": self.order.epoch_length,
            # Only with groups: an older checkpoint, without the entry, then still matches.
            **({GROUPED: [groups.window, groups.batch_size, RULE]} if groups is not None else {}),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue after `samples_consumed`, from the next `iter()` on.

        Another number of workers is allowed, and where sequences are not grouped by length another
        batch size. Raises UserError if the data or the order is not the one that the state was
        saved with, as far as the state names it: a converted `.mdl` has the position alone.
        """
        if "samples_consumed" not in state:
            raise UserError("the checkpoint does not say which data it has seen")
        for key, now in {GROUPED: None, **self.state_dict()}.items():
            saved = state.get(key, None if key == GROUPED else now)
            if key != "samples_consumed" and saved != now:
                folder = self.source.files[0].path.parent
                raise UserError(
                    f"{folder}: cannot continue in the same data order: "
                    f"{key} was {state.get(key)}, now it is {now}"
                )
        self.samples_consumed = int(state["samples_consumed"])


class EvalLoader(BatchLoader):
    """One pass over the source in order; the last batch may be smaller."""

    def __init__(
        self,
        source: SequenceSource,
        batch_size: int,
        *,
        vocab_size: int,
        num_samples: int | None = None,
        by_length: bool = False,
        share: Share = WHOLE,
        **options: Any,
    ) -> None:
        """`num_samples` stops after the first so many, which `by_length` are read in batches of
        like length; `options` are those of `BatchLoader`."""
        self.num_samples = min(len(source), num_samples or len(source))
        groups = None
        if by_length:
            groups = LengthGroups(sequence_lengths(source), batch_size, self.num_samples, True)
        order = DataOrder(len(source), shuffle=False, num_samples=self.num_samples, groups=groups)
        requests = Requests(
            order, batch_size, join_epochs=False, stop=self.num_samples, share=share
        )
        super().__init__(source, requests, vocab_size=vocab_size, **options)

    def __len__(self) -> int:
        """Number of batches."""
        return -(-self.num_samples // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        return self._batches()

"""Batches for training, resumable at any sample, and for evaluation, one pass in order."""

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from modelzoo_mediswift.data.checks import check_block, check_vocabulary
from modelzoo_mediswift.data.hdf5 import INPUT_IDS, LABELS, LOSS_MASK, SequenceSource
from modelzoo_mediswift.data.length_groups import (
    LengthGroups,
    batch_length,
    counted_lengths,
    sequence_lengths,
)
from modelzoo_mediswift.data.order import DataOrder
from modelzoo_mediswift.errors import UserError

GROUPED = "grouped_by_length"  # [window, batch size] in a saved position


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


class Share(NamedTuple):
    """The part of every batch that one of several processes reads: equally many rows for each."""

    rank: int = 0
    processes: int = 1

    def each(self, n_samples: int) -> int:
        """Rows for each process."""
        return -(-n_samples // self.processes)

    def rows(self, n_samples: int) -> slice:
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
        """Of the sequence that a token stands in."""
        return self.length_sum / self.tokens if self.tokens else 0.0

    @property
    def share(self) -> float:
        return self.padding / self.tokens if self.tokens else 0.0


class _Request(NamedTuple):
    """What the main process asks a worker for: its share of one batch."""

    position: int
    num_samples: int  # of the whole batch
    indices: NDArray[np.int64]
    rows: int  # at least


class _BatchReader(Dataset):
    """Reads, checks and pads one batch per request; runs in the workers."""

    def __init__(
        self,
        source: SequenceSource,
        vocab_size: int,
        num_virtual_tokens: int,
        pad_to: int,
        cut_padding: bool,
    ) -> None:
        self.source = source
        self.vocab_size = vocab_size
        self.num_virtual_tokens = num_virtual_tokens
        self.pad_to = pad_to
        self.cut_padding = cut_padding

    def __getitem__(self, request: _Request) -> tuple[_Request, int, Tensor | str]:
        """The request, its tokens without padding and int32 [3, B, T], or the one line of a
        UserError.

        An exception that crosses the process boundary would come with a worker's traceback in its
        message; the main process raises the line again.
        """
        try:
            block = self.source.read(request.indices)
            check_block(
                block, request.indices, self.source, self.vocab_size, self.num_virtual_tokens
            )
        except UserError as error:
            return request, 0, str(error)
        lengths = counted_lengths(block[:, LOSS_MASK])
        if self.cut_padding:
            block = block[:, :, : batch_length(int(lengths.max(initial=1)), block.shape[2])]
        missing = max(0, self.pad_to - len(block), request.rows - len(block))
        if missing:
            block = np.concatenate([block, np.zeros((missing, *block.shape[1:]), np.int32)])
        rows = torch.from_numpy(np.ascontiguousarray(block.transpose(1, 0, 2)))
        return request, int(lengths.sum()), rows


class _Requests(Sampler[_Request]):
    """The batches from `start` on; `stop` None for ever."""

    def __init__(
        self,
        order: DataOrder,
        batch_size: int,
        *,
        join_epochs: bool,
        stop: int | None,
        share: Share = WHOLE,
    ) -> None:
        self.order, self.batch_size, self.share = order, batch_size, share
        self.join_epochs, self.stop = join_epochs, stop
        self.start = 0

    def __iter__(self) -> Iterator[_Request]:
        position = self.start
        while self.stop is None or position < self.stop:
            end = position + self.batch_size
            if not self.join_epochs:
                epoch = self.order.epoch_of(position)
                end = min(end, (epoch + 1) * self.order.epoch_length)
            if self.stop is not None:
                end = min(end, self.stop)
            count = end - position
            own = self.order.indices(position, count)[self.share.rows(count)]
            yield _Request(position, count, own, self.share.each(count))
            position = end


class _Loader:
    """What training and evaluation share: workers, checks, padding."""

    def __init__(
        self,
        source: SequenceSource,
        requests: _Requests,
        *,
        vocab_size: int,
        num_virtual_tokens: int = 0,
        pad_last: bool = False,
        num_workers: int = 0,
        prefetch_factor: int = 10,
        persistent_workers: bool = True,
        pin_memory: bool = False,
        cut_padding: bool = False,
    ) -> None:
        """`pin_memory` is for copies to a GPU and does nothing without one. `cut_padding` shortens
        each batch to its longest sequence, for devices that take any shape; no loss changes.

        Raises UserError if the data was made for another vocabulary.
        """
        check_vocabulary(source, vocab_size, num_virtual_tokens)
        self.source = source
        self.requests = requests
        self.batch_size = requests.batch_size
        self.padding = PaddingCount()
        pad_to = requests.share.each(requests.batch_size) if pad_last else 0
        for_workers: dict[str, Any] = {}
        if num_workers:
            for_workers = {
                "prefetch_factor": prefetch_factor,
                "persistent_workers": persistent_workers,
                "worker_init_fn": _leave_interrupts_to_main,
            }
        self._loader: DataLoader | None = None
        self._open_loader = partial(
            DataLoader,
            _BatchReader(source, vocab_size, num_virtual_tokens, pad_to, cut_padding),
            batch_size=None,  # a request is a whole batch
            sampler=requests,
            collate_fn=_as_is,
            num_workers=num_workers,
            pin_memory=pin_memory and torch.cuda.is_available(),
            # Without its own generator, starting to iterate would draw from torch's global one,
            # and a resumed run would see other random numbers than an uninterrupted one.
            generator=torch.Generator(),
            **for_workers,
        )

    def close(self) -> None:
        """End the workers that `persistent_workers` keeps; iterating again starts new ones."""
        self._loader = None

    def _batches(self) -> Iterator[Batch]:
        if self._loader is None:
            self._loader = self._open_loader()
        iterator = iter(self._loader)
        while True:
            problem = None
            try:
                request, n_real, rows = next(iterator)
            except StopIteration:
                return
            except RuntimeError as error:
                if "DataLoader worker" not in str(error):
                    raise
                problem = (
                    f"a data loading worker died ({str(error).splitlines()[0].rstrip('. ')}); "
                    f"often memory is short: try a smaller num_workers or prefetch_factor"
                )
            if problem is None and isinstance(rows, str):
                problem = rows
            if problem is not None:
                # The workers end now, not when the traceback that holds this frame is collected.
                self.close()
                del iterator
                raise UserError(problem)
            self.padding.add(rows.shape[1], rows.shape[2], n_real)
            yield Batch(
                input_ids=rows[INPUT_IDS],
                loss_mask=rows[LOSS_MASK],
                labels=rows[LABELS],
                first_position=request.position,
                num_samples=request.num_samples,
            )


class TrainLoader(_Loader):
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
        """`options` are those of `_Loader`. With `group_window` and `shuffle`, sequences of like
        length share a batch within every so many batches.

        With `drop_last`, samples left over at the end of an epoch open the first batch of the next,
        as in Model Zoo; without it they form a smaller batch, or with `pad_last` one padded to
        `batch_size`. `num_samples` shrinks or extends an epoch. `batch_size` and the order are
        those of all processes together, of which this one reads its `share`.
        """
        groups = None
        if group_window and shuffle:
            lengths = sequence_lengths(source)
            groups = LengthGroups(lengths, batch_size, group_window, join_epochs=drop_last)
        self.order = DataOrder(
            len(source), shuffle=shuffle, seed=shuffle_seed, num_samples=num_samples, groups=groups
        )
        requests = _Requests(self.order, batch_size, join_epochs=drop_last, stop=None, share=share)
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
            # Without groups, as in every checkpoint from before there were any: no entry.
            **({GROUPED: [groups.window, groups.batch_size]} if groups is not None else {}),
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


class EvalLoader(_Loader):
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
        like length; `options` are those of `_Loader`."""
        self.num_samples = min(len(source), num_samples or len(source))
        groups = None
        if by_length:
            groups = LengthGroups(sequence_lengths(source), batch_size, self.num_samples, True)
        order = DataOrder(len(source), shuffle=False, num_samples=self.num_samples, groups=groups)
        requests = _Requests(
            order, batch_size, join_epochs=False, stop=self.num_samples, share=share
        )
        super().__init__(source, requests, vocab_size=vocab_size, **options)

    def __len__(self) -> int:
        """Number of batches."""
        return -(-self.num_samples // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        return self._batches()


def _as_is(item: Any) -> Any:
    return item


def _leave_interrupts_to_main(worker_id: int) -> None:
    """Ctrl-C reaches the whole process group; only the main process shall react to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

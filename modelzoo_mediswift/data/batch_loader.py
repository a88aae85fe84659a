"""Reading batches with PyTorch's DataLoader: requests go to workers, checked rows come back."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from threading import Thread
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from modelzoo_mediswift.data.batch import WHOLE, Batch, PaddingCount, Share
from modelzoo_mediswift.data.checks import check_block, check_vocabulary
from modelzoo_mediswift.data.hdf5 import INPUT_IDS, LABELS, LOSS_MASK, SequenceSource
from modelzoo_mediswift.data.length_groups import batch_length, counted_lengths
from modelzoo_mediswift.data.order import DataOrder
from modelzoo_mediswift.errors import UserError


class Request(NamedTuple):
    """What the main process asks a worker for: its share of one batch."""

    position: int
    num_samples: int  # of the whole batch
    indices: NDArray[np.int64]
    rows: int  # to hand over at least; missing ones are padding


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

    def __getitem__(self, request: Request) -> tuple[Request, int, Tensor | str]:
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


class DeadWorker(UserError):
    """A loader's worker was killed; PyTorch raises this wherever the main process is by then."""


@contextmanager
def named_dead_worker() -> Iterator[None]:
    """Turn PyTorch's error for a dead worker, raised inside the block, into DeadWorker."""
    try:
        yield
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise DeadWorker(
            f"a data loading worker died ({str(error).splitlines()[0].rstrip('. ')}); "
            "often memory is short: try a smaller num_workers or prefetch_factor"
        ) from error


class Requests(Sampler[Request]):
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

    def __iter__(self) -> Iterator[Request]:
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
            yield Request(position, count, own, self.share.each(count))
            position = end


class BatchLoader:
    """What training and evaluation share: workers, checks, padding."""

    def __init__(
        self,
        source: SequenceSource,
        requests: Requests,
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
        """`pin_memory` is for copies to a GPU and does nothing where none is in use. `cut_padding`
        shortens each batch to its longest sequence, for devices that take any shape: no loss
        changes.

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
                "worker_init_fn": _leave_signals_to_main,
            }
        self._loader: DataLoader | None = None
        self._open_loader = partial(
            DataLoader,
            _BatchReader(source, vocab_size, num_virtual_tokens, pad_to, cut_padding),
            batch_size=None,  # a request is a whole batch
            sampler=requests,
            collate_fn=_as_is,
            num_workers=num_workers,
            pin_memory=pin_memory and torch.cuda.is_initialized(),
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
        with _signals_later():  # workers that start now are not ready for them
            iterator = iter(self._loader)
        while True:
            try:
                with named_dead_worker():
                    request, n_real, rows = next(iterator)
                problem = rows if isinstance(rows, str) else None
            except StopIteration:
                return
            except DeadWorker as error:
                problem = str(error)
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


def _as_is(item: Any) -> Any:
    return item


@contextmanager
def _signals_later() -> Iterator[None]:
    """Hold back SIGINT and SIGTERM inside, and from processes that are made inside for ever."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _leave_signals_to_main(worker_id: int) -> None:
    """Ctrl-C, torchrun and batch systems signal all processes, but only the main one shall react,
    which has its last step to finish. It ends its workers with SIGTERM too, so who sent one counts
    of those that are held back.
    """
    Thread(target=_end_with_main, daemon=True).start()


def _end_with_main() -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)

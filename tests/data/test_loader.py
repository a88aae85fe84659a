import multiprocessing
import os
import signal
import subprocess
import time
from itertools import islice
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from modelzoo_mediswift.data import batch_loader
from modelzoo_mediswift.data.batch import Batch
from modelzoo_mediswift.data.batch_loader import DeadWorker, named_dead_worker
from modelzoo_mediswift.data.hdf5 import SequenceSource, open_sequences
from modelzoo_mediswift.data.loader import EvalLoader, TrainLoader
from modelzoo_mediswift.data.order import DataOrder
from modelzoo_mediswift.errors import UserError

N, MSL, VOCAB = 23, 4, 1000


@pytest.fixture
def source(tmp_path: Path) -> SequenceSource:
    """Sequence i holds the token i everywhere."""
    return make_source(tmp_path / "data", N)


def make_source(folder: Path, n: int) -> SequenceSource:
    data = np.ones((n, 3, MSL), np.int32)
    data[:, 0] = data[:, 2] = np.arange(n)[:, None]
    folder.mkdir()
    with h5py.File(folder / "a.h5", "w") as file:
        file["data"] = data
    return open_sequences(folder)


def ids(batch: Batch) -> list[int]:
    return batch.input_ids[:, 0].tolist()


def test_batch_is_what_the_file_holds(source: SequenceSource) -> None:
    batch = next(iter(TrainLoader(source, 2, vocab_size=VOCAB)))
    assert batch.input_ids.tolist() == [[0] * MSL, [1] * MSL]
    assert batch.loss_mask.tolist() == [[1] * MSL] * 2
    assert batch.labels.tolist() == [[0] * MSL, [1] * MSL]
    assert all(t.dtype == torch.int32 and t.is_contiguous() for t in batch[:3])
    assert (batch.first_position, batch.num_samples) == (0, 2)


@pytest.mark.parametrize("num_workers", [0, 1, 2])
def test_order_does_not_depend_on_workers(source: SequenceSource, num_workers: int) -> None:
    loader = TrainLoader(
        source, 5, vocab_size=VOCAB, shuffle=True, shuffle_seed=3, num_workers=num_workers
    )
    got = [i for batch in islice(loader, 12) for i in ids(batch)]
    assert got == DataOrder(N, shuffle=True, seed=3).indices(0, 60).tolist()


def test_leftovers_of_an_epoch_open_the_next(source: SequenceSource) -> None:
    batches = list(islice(TrainLoader(source, 10, vocab_size=VOCAB), 3))
    assert ids(batches[2]) == [20, 21, 22, 0, 1, 2, 3, 4, 5, 6]
    assert [batch.first_position for batch in batches] == [0, 10, 20]


def test_a_batch_may_be_larger_than_an_epoch(tmp_path: Path) -> None:
    loader = TrainLoader(make_source(tmp_path / "few", 3), 8, vocab_size=VOCAB)
    assert ids(next(iter(loader))) == [0, 1, 2, 0, 1, 2, 0, 1]


def test_without_drop_last_an_epoch_ends_with_a_smaller_batch(source: SequenceSource) -> None:
    batches = list(islice(TrainLoader(source, 10, vocab_size=VOCAB, drop_last=False), 4))
    assert [ids(b) for b in batches[2:]] == [[20, 21, 22], list(range(10))]
    assert [b.first_position for b in batches] == [0, 10, 20, 23]


def test_pad_last_fills_up_with_sequences_that_do_not_count(source: SequenceSource) -> None:
    loader = TrainLoader(source, 10, vocab_size=VOCAB, drop_last=False, pad_last=True)
    last = list(islice(loader, 3))[2]
    assert last.input_ids.shape == (10, MSL)
    assert last.num_samples == 3
    assert last.loss_mask.sum(dim=1).tolist() == [MSL] * 3 + [0] * 7
    assert loader.samples_consumed == N


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("steps", [0, 1, 4, 7])
def test_resumes_after_the_batches_handed_out(
    source: SequenceSource, num_workers: int, steps: int
) -> None:
    def loader(batch_size: int = 5) -> TrainLoader:
        return TrainLoader(
            source,
            batch_size,
            vocab_size=VOCAB,
            shuffle=True,
            shuffle_seed=1,
            num_workers=num_workers,
        )

    straight = [i for batch in islice(loader(), 10) for i in ids(batch)]
    first = loader()
    for _ in islice(first, steps):
        pass
    state = first.state_dict()
    assert state["samples_consumed"] == 5 * steps  # workers have read further ahead
    second = loader(batch_size=3)
    second.load_state_dict(state)
    resumed = [i for batch in islice(second, 5) for i in ids(batch)]
    assert resumed == straight[5 * steps : 5 * steps + 15]


def test_iterating_again_continues(source: SequenceSource) -> None:
    loader = TrainLoader(source, 4, vocab_size=VOCAB, num_workers=1)
    assert ids(next(iter(loader))) == [0, 1, 2, 3]
    assert ids(next(iter(loader))) == [4, 5, 6, 7]


def test_state_of_other_data_or_another_order_is_refused(
    source: SequenceSource, tmp_path: Path
) -> None:
    state = TrainLoader(source, 4, vocab_size=VOCAB, shuffle_seed=1).state_dict()
    with pytest.raises(UserError, match="shuffle_seed was 1, now it is 0"):
        TrainLoader(source, 4, vocab_size=VOCAB).load_state_dict(state)
    other = make_source(tmp_path / "other", N + 1)
    with pytest.raises(UserError, match="data_fingerprint was"):
        TrainLoader(other, 4, vocab_size=VOCAB, shuffle_seed=1).load_state_dict(state)
    with pytest.raises(UserError, match="which data it has seen"):
        TrainLoader(source, 4, vocab_size=VOCAB).load_state_dict({})
    loader = TrainLoader(source, 4, vocab_size=VOCAB)
    loader.load_state_dict({"samples_consumed": 8})  # of a converted checkpoint
    assert ids(next(iter(loader))) == [8, 9, 10, 11]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_evaluation_is_one_pass_in_order(source: SequenceSource, num_workers: int) -> None:
    loader = EvalLoader(source, 10, vocab_size=VOCAB, num_workers=num_workers)
    for _ in range(2):
        assert [ids(b) for b in loader] == [[*range(10)], [*range(10, 20)], [20, 21, 22]]
    assert len(loader) == 3


def test_evaluation_of_the_first_few(source: SequenceSource) -> None:
    loader = EvalLoader(source, 4, vocab_size=VOCAB, num_samples=6)
    assert [ids(batch) for batch in loader] == [[0, 1, 2, 3], [4, 5]]
    assert len(loader) == 2


def test_global_random_state_is_left_alone(source: SequenceSource) -> None:
    # Dropout after a resume must draw what it would have drawn without the interruption.
    before = torch.get_rng_state()
    next(iter(TrainLoader(source, 4, vocab_size=VOCAB, shuffle=True)))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("num_workers", [0, 1])
def test_token_ids_out_of_range_are_one_line(source: SequenceSource, num_workers: int) -> None:
    loader = TrainLoader(source, 5, vocab_size=17, num_workers=num_workers)
    with pytest.raises(UserError) as caught:
        list(islice(loader, 4))
    assert str(caught.value) == (
        f"{source.files[0].path}, sequence 17: input_ids holds 17 at position 0, "
        f"expected a number in [0, 17)"
    )


class _Killed(SequenceSource):
    """Reads nothing: its process gets killed, as by the kernel when memory is short."""

    def read(self, indices: object) -> np.ndarray:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


def test_a_killed_worker_is_one_line(source: SequenceSource) -> None:
    killed = _Killed(source.files, MSL, None)
    with pytest.raises(UserError, match=r"a data loading worker died \(.*\); .* num_workers"):
        next(iter(TrainLoader(killed, 4, vocab_size=VOCAB, num_workers=1)))


def test_a_worker_that_dies_while_the_main_process_computes_is_one_line(
    source: SequenceSource,
) -> None:
    """PyTorch raises in its handler of SIGCHLD, wherever the main process is."""
    loader = TrainLoader(source, 4, vocab_size=VOCAB, num_workers=1)
    batches = iter(loader)
    next(batches)
    command = f"sleep 0.2; kill -KILL {multiprocessing.active_children()[0].pid}"
    killer = subprocess.Popen(["sh", "-c", command])
    with pytest.raises(DeadWorker, match="a data loading worker died"), named_dead_worker():
        time.sleep(10)
    killer.wait()
    loader.close()


def test_workers_end_when_the_main_process_says_so_and_not_by_others_signals(
    source: SequenceSource,
) -> None:
    loader = TrainLoader(source, 4, vocab_size=VOCAB, num_workers=2)
    batches = iter(loader)
    assert ids(next(batches)) == [0, 1, 2, 3]
    workers = multiprocessing.active_children()
    for name in ("TERM", "INT"):  # as torchrun and batch systems do
        command = ["kill", f"-{name}", *(str(worker.pid) for worker in workers)]
        subprocess.run(command, check=True)
        assert ids(next(batches))
    time.sleep(0.1)
    assert [worker.is_alive() for worker in workers] == [True, True]
    workers[0].terminate()  # what Python does at its end
    workers[0].join(2)
    assert workers[0].exitcode == 0
    loader.close()


def test_a_worker_that_is_just_starting_leaves_signals_to_the_main_process(
    source: SequenceSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = batch_loader._leave_signals_to_main

    def signalled(worker_id: int) -> None:
        for name in ("TERM", "INT"):
            subprocess.run(["kill", f"-{name}", str(os.getpid())], check=True)
        ready(worker_id)

    monkeypatch.setattr(batch_loader, "_leave_signals_to_main", signalled)
    loader = TrainLoader(source, 4, vocab_size=VOCAB, num_workers=1)
    assert ids(next(iter(loader))) == [0, 1, 2, 3]
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()  # the main process hears them
    loader.close()


def test_workers_end_with_close(source: SequenceSource) -> None:
    loader = TrainLoader(source, 4, vocab_size=VOCAB, num_workers=2)
    before = len(multiprocessing.active_children())
    assert ids(next(iter(loader))) == [0, 1, 2, 3]
    assert len(multiprocessing.active_children()) == before + 2
    loader.close()
    assert len(multiprocessing.active_children()) == before
    assert ids(next(iter(loader))) == [4, 5, 6, 7]

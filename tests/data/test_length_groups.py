from itertools import islice
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from modelzoo_mediswift.data.hdf5 import SequenceSource, open_sequences
from modelzoo_mediswift.data.length_groups import (
    LengthGroups,
    batch_length,
    counted_lengths,
    sequence_lengths,
)
from modelzoo_mediswift.data.loader import EvalLoader, TrainLoader
from modelzoo_mediswift.data.order import DataOrder
from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.model.gpt3 import GPT3
from modelzoo_mediswift.model.loss import LossModule

MSL, VOCAB, N = 64, 50, 101


@pytest.fixture
def source(tmp_path: Path) -> SequenceSource:
    """Sequence i: random tokens, the loss on the last four of its length, which is 4 to 63."""
    generator = np.random.default_rng(0)
    data = np.zeros((N, 3, MSL), np.int32)
    data[:, 0] = generator.integers(1, VOCAB, (N, MSL))
    data[:, 2] = generator.integers(1, VOCAB, (N, MSL))
    for i, length in enumerate(generator.integers(4, MSL, N)):
        data[i, 1, length - 4 : length] = 1
        data[i, 0, 0] = 1 + i % 40
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"] = data
    return open_sequences(tmp_path)


def test_a_length_ends_with_the_last_token_of_the_loss() -> None:
    mask = np.array([[0, 1, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]], np.int32)
    assert counted_lengths(mask).tolist() == [3, 1, 1, 4]


@pytest.mark.parametrize(("longest", "expected"), [(1, 8), (8, 8), (9, 16), (60, 60), (57, 60)])
def test_a_batch_is_cut_to_a_multiple_of_eight(longest: int, expected: int) -> None:
    assert batch_length(longest, 60) == expected


def test_within_a_window_batches_are_sorted_and_the_rest_stays_last() -> None:
    lengths = np.array([5, 1, 4, 2, 3, 9, 7])
    groups = LengthGroups(lengths, batch_size=2, window=3, join_epochs=True)
    arranged = groups.arrange(np.arange(7), 0, seed=0)
    pairs = {tuple(arranged[i : i + 2]) for i in (0, 2, 4)}
    assert pairs == {(1, 3), (4, 2), (0, 5)}  # of the first six: lengths 1 2, 3 4, 5 9
    assert arranged[6] == 6


def test_batches_that_join_epochs_are_grouped_from_where_they_begin() -> None:
    groups = LengthGroups(np.arange(10, 0, -1), batch_size=4, window=1, join_epochs=True)
    # Position 10 is the third of a batch: two neighbours among the lengths fill it up, then come
    # whole batches.
    arranged = groups.arrange(np.arange(10), 10, seed=0).tolist()
    assert arranged == [1, 0, 5, 4, 3, 2, 9, 8, 7, 6]
    assert groups.arrange(np.arange(3), 9, seed=0).tolist() == [0, 1, 2]  # ends in a later epoch


def test_the_batch_that_two_epochs_share_has_like_lengths() -> None:
    lengths = np.arange(450)
    groups = LengthGroups(lengths, batch_size=64, window=32, join_epochs=True)
    order = DataOrder(450, shuffle=True, seed=5, groups=groups)
    assert sorted(order.epoch_indices(1)) == list(range(450))
    starts = []
    for boundary in range(1, 9):
        shared = lengths[order.indices(450 * boundary // 64 * 64, 64)]
        assert np.ptp(shared) < 72
        starts.append(int(shared.min()))
    assert max(starts) - min(starts) > 150  # here short ones, there long ones


def test_an_epoch_holds_each_sequence_once_and_each_epoch_is_another(
    source: SequenceSource,
) -> None:
    groups = LengthGroups(sequence_lengths(source), 8, 4, join_epochs=True)
    order = DataOrder(N, shuffle=True, seed=3, groups=groups)
    first, second = order.epoch_indices(0).tolist(), order.epoch_indices(1).tolist()
    assert sorted(first) == sorted(second) == list(range(N))
    assert first != second
    again = DataOrder(N, shuffle=True, seed=3, groups=groups)
    assert again.indices(N - 3, 10).tolist() == (first + second)[N - 3 : N + 7]


def loader(source: SequenceSource, **options: object) -> TrainLoader:
    return TrainLoader(source, 8, vocab_size=VOCAB, shuffle=True, **options)  # type: ignore


def test_grouping_leaves_little_padding(source: SequenceSource) -> None:
    plain = loader(source)
    cut = loader(source, cut_padding=True)
    grouped = loader(source, cut_padding=True, group_window=8)
    for each in (plain, cut, grouped):
        for _ in islice(each, 50):
            pass
    assert plain.padding.share > 0.4
    assert cut.padding.share > 0.3
    assert grouped.padding.share < 0.2  # half of it is the rounding to eights
    assert plain.padding.tokens == 50 * 8 * MSL
    assert plain.padding.mean_length == MSL


def test_cutting_changes_no_loss(source: SequenceSource) -> None:
    torch.manual_seed(0)
    model = GPT3(
        vocab_size=VOCAB,
        hidden_size=16,
        num_hidden_layers=2,
        num_heads=2,
        filter_size=32,
        max_position_embeddings=MSL,
    )
    for whole, cut in islice(
        zip(loader(source), loader(source, cut_padding=True), strict=True), 13
    ):
        assert cut.input_ids.shape[1] % 8 == 0
        losses = []
        for batch in (whole, cut):
            selected = batch.loss_mask.flatten().nonzero().squeeze(-1)
            targets = batch.labels.flatten()[selected].long()
            losses.append(LossModule(model)(batch.input_ids, targets, selected)[0])
        torch.testing.assert_close(losses[0], losses[1], rtol=1e-6, atol=0)


def test_a_grouped_run_continues_where_it_stopped(source: SequenceSource) -> None:
    options = {"cut_padding": True, "group_window": 4}
    whole = [batch.input_ids.tolist() for batch in islice(loader(source, **options), 40)]
    first = loader(source, **options)
    for _ in islice(first, 17):
        pass
    second = loader(source, **options)
    second.load_state_dict(first.state_dict())
    assert [batch.input_ids.tolist() for batch in islice(second, 23)] == whole[17:]


def test_another_grouping_is_refused(source: SequenceSource) -> None:
    grouped, plain = loader(source, group_window=4), loader(source)
    with pytest.raises(UserError, match=r"grouped_by_length was None, now it is \[4, 8, 2\]"):
        grouped.load_state_dict(plain.state_dict())
    with pytest.raises(UserError, match=r"grouped_by_length was \[4, 8, 2\], now it is None"):
        plain.load_state_dict(grouped.state_dict())


def test_evaluation_by_length_reads_the_same_sequences(source: SequenceSource) -> None:
    def read(by_length: bool) -> tuple[list[list[int]], float]:
        batches = EvalLoader(
            source, 8, vocab_size=VOCAB, num_samples=60, by_length=by_length, cut_padding=True
        )
        rows = [
            row[mask != 0].tolist()
            for batch in batches
            for row, mask in zip(batch.labels, batch.loss_mask, strict=True)
        ]
        return rows, batches.padding.share

    (in_order, much), (by_length, little) = read(False), read(True)
    assert sorted(in_order) == sorted(by_length)
    assert in_order != by_length
    assert little < 0.6 * much

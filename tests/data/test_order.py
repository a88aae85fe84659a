import torch
from hypothesis import given
from hypothesis import strategies as st

from modelzoo_mediswift.data.order import DataOrder


def test_unshuffled_epochs_follow_each_other() -> None:
    order = DataOrder(3, shuffle=False)
    assert order.indices(0, 7).tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert order.indices(4, 1).tolist() == [1]


def test_unshuffled_with_num_samples_restarts_each_epoch() -> None:
    assert DataOrder(5, shuffle=False, num_samples=3).indices(1, 5).tolist() == [1, 2, 0, 1, 2]
    assert DataOrder(2, shuffle=False, num_samples=3).indices(0, 6).tolist() == [0, 1, 0] * 2


def test_shuffled_epoch_is_randperm_of_seed_plus_epoch() -> None:
    order = DataOrder(10, shuffle=True, seed=7)
    for epoch in range(3):
        expected = torch.randperm(10, generator=torch.Generator().manual_seed(7 + epoch))
        assert order.indices(10 * epoch, 10).tolist() == expected.tolist()


def test_num_samples_below_the_length_takes_the_head_of_the_permutation() -> None:
    order = DataOrder(10, shuffle=True, seed=1, num_samples=4)
    expected = torch.randperm(10, generator=torch.Generator().manual_seed(2))[:4]
    assert order.indices(4, 4).tolist() == expected.tolist()


def test_num_samples_above_the_length_mixes_whole_passes_with_a_random_part() -> None:
    order = DataOrder(4, shuffle=True, seed=5, num_samples=10)
    generator = torch.Generator().manual_seed(5)
    part = torch.randperm(4, generator=generator)[:2].tolist()
    pool = [0, 1, 2, 3, 0, 1, 2, 3, *part]
    mixed = torch.randperm(10, generator=generator).tolist()
    assert order.indices(0, 10).tolist() == [pool[i] for i in mixed]


def test_num_samples_a_multiple_of_the_length_gives_every_index_as_often() -> None:
    drawn = DataOrder(4, shuffle=True, seed=0, num_samples=12).indices(0, 12)
    assert sorted(drawn.tolist()) == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]


@given(
    length=st.integers(1, 12),
    epoch_length=st.none() | st.integers(1, 30),
    shuffle=st.booleans(),
    start=st.integers(0, 60),
    count=st.integers(0, 40),
)
def test_any_piece_of_the_stream_is_the_same_piece(
    length: int, epoch_length: int | None, shuffle: bool, start: int, count: int
) -> None:
    def order() -> DataOrder:
        return DataOrder(length, shuffle=shuffle, seed=3, num_samples=epoch_length)

    whole = order().indices(0, start + count)
    assert order().indices(start, count).tolist() == whole[start:].tolist()
    assert all(0 <= i < length for i in whole)


@given(length=st.integers(1, 50), seed=st.integers(0, 10), epoch=st.integers(0, 5))
def test_every_epoch_holds_every_index_once(length: int, seed: int, epoch: int) -> None:
    order = DataOrder(length, shuffle=True, seed=seed)
    assert sorted(order.indices(epoch * length, length).tolist()) == list(range(length))


def test_global_random_state_is_left_alone() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    DataOrder(10, shuffle=True, seed=1).indices(0, 25)
    assert torch.equal(before, torch.get_rng_state())

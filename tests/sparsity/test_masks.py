import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from modelzoo_mediswift.sparsity.masks import (
    INIT_METHODS,
    Groups,
    largest,
    number_kept,
    parameter_generator,
)


def generator(seed: int = 0) -> torch.Generator:
    return parameter_generator(seed, "w")


def test_number_kept_by_hand():
    assert number_kept(2048 * 8192, 0.75) == 4_194_304
    assert number_kept(7, 0.5) == 3  # rounded down
    assert number_kept(10, 0.9) == 1  # as cstorch; double precision would give 0
    assert number_kept(5, 0.0) == 5


@given(
    rows=st.integers(1, 40),
    columns=st.integers(1, 40),
    sparsity=st.floats(0.0, 0.99),
    method=st.sampled_from(["random", "topk"]),
)
def test_exact_count(rows, columns, sparsity, method):
    weight = torch.randn(rows, columns, generator=torch.Generator().manual_seed(1))
    mask = INIT_METHODS[method](weight, sparsity, generator())
    assert mask.dtype == torch.bool
    assert int(mask.sum()) == number_kept(rows * columns, sparsity)


def test_random_depends_on_seed_and_name_alone():
    weight = torch.zeros(64, 64)
    first = INIT_METHODS["random"](weight, 0.75, parameter_generator(0, "a"))
    torch.manual_seed(123)
    again = INIT_METHODS["random"](weight + 1, 0.75, parameter_generator(0, "a"))
    assert torch.equal(first, again)
    for other in (parameter_generator(1, "a"), parameter_generator(0, "b")):
        assert not torch.equal(first, INIT_METHODS["random"](weight, 0.75, other))


def test_random_is_spread_over_rows_and_columns():
    mask = INIT_METHODS["random"](torch.zeros(400, 400), 0.75, generator())
    # 400 draws of a quarter: mean 100, standard deviation 8.7; six of them is beyond chance.
    for sums in (mask.sum(0), mask.sum(1)):
        assert (sums - 100).abs().max() < 6 * 8.7


def test_topk_keeps_the_largest_magnitudes():
    weight = torch.tensor([[0.1, -5.0], [3.0, -0.2]])
    mask = INIT_METHODS["topk"](weight, 0.5, generator())
    assert mask.tolist() == [[False, True], [True, False]]


def test_from_zeros_keeps_what_is_not_zero():
    weight = torch.tensor([[0.0, -0.0], [3.0, -0.2]])
    mask = INIT_METHODS["from_zeros"](weight, 0.9, generator())
    assert mask.tolist() == [[False, False], [True, True]]


@pytest.mark.parametrize(("sparsity", "each"), [(0.5, 8), (0.75, 4)])
def test_checkerboard_is_even_in_rows_and_columns(sparsity, each):
    mask = INIT_METHODS["checkerboard"](torch.zeros(16, 16), sparsity, generator())
    assert mask.sum(1).tolist() == [each] * 16
    assert mask.sum(0).tolist() == [each] * 16


def test_checkerboard_by_hand():
    mask = INIT_METHODS["checkerboard"](torch.zeros(4, 4), 0.5, generator())
    assert mask.int().tolist() == [[0, 1, 0, 1], [1, 0, 1, 0], [0, 1, 0, 1], [1, 0, 1, 0]]


def test_checkerboard_takes_the_level_in_single_precision():
    # 0.99 in single precision is a little more, so that 16 columns have no step of the density.
    mask = INIT_METHODS["checkerboard"](torch.zeros(4, 4), 0.99, generator())
    assert int(mask.sum()) == 0


def test_one_group_of_inputs_may_be_a_vector():
    scores = torch.tensor([3.0, 1.0, 4.0, 2.0])
    mask = largest(scores, 0.5, Groups(1, of_inputs=True))
    assert mask.tolist() == [True, False, True, False]

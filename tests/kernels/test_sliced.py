import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from modelzoo_mediswift.kernels import library
from modelzoo_mediswift.kernels.sliced import SlicedMatrix

pytestmark = pytest.mark.skipif(
    not library.is_available(), reason="not compiled: python setup.py build_ext --inplace"
)


def whole_numbers(*shape: int, seed: int = 0) -> Tensor:
    """Small ones, whose products and sums fp32 has exactly, in whatever order."""
    generator = torch.Generator().manual_seed(seed + sum(shape))
    return torch.randint(-9, 10, shape, generator=generator).float()


def random_mask(rows: int, cols: int, density: float) -> Tensor:
    generator = torch.Generator().manual_seed(rows * cols)
    return torch.rand(rows, cols, generator=generator) < density


@pytest.mark.parametrize("shape", [(1, 1), (16, 32), (17, 33), (15, 31), (130, 67), (40, 513)])
@pytest.mark.parametrize("density", [0.0, 0.02, 0.25, 1.0])
def test_the_product_is_the_dense_one(instructions, shape, density):
    mask = random_mask(*shape, density)
    weight, bias = whole_numbers(*shape), whole_numbers(shape[0], seed=1)
    matrix = SlicedMatrix(weight, mask)
    for tokens in (0, 1, 3, 4, 7):
        x = whole_numbers(tokens, shape[1], seed=2)
        assert torch.equal(matrix.multiply(x, bias), F.linear(x, weight * mask, bias))
        assert torch.equal(matrix.multiply(x, None), F.linear(x, weight * mask))


def test_rows_of_very_different_lengths(instructions):
    """A full row beside empty ones, and rows whose non-zeros lie at either end."""
    mask = torch.zeros(20, 300, dtype=torch.bool)
    mask[0] = True
    mask[3, :40] = True
    mask[5, 260:] = True
    mask[7, [0, 299]] = True
    mask[19, 150] = True
    weight, x = whole_numbers(20, 300), whole_numbers(5, 300, seed=3)
    assert torch.equal(SlicedMatrix(weight, mask).multiply(x, None), F.linear(x, weight * mask))


def test_rows_that_do_not_follow_one_another_in_memory(instructions):
    mask, weight = random_mask(64, 48, 0.3), whole_numbers(64, 48)
    x = whole_numbers(6, 96)[:, ::2]
    matrix = SlicedMatrix(weight.t().contiguous().t(), mask.t().contiguous().t())
    assert torch.equal(matrix.multiply(x, None), F.linear(x, weight * mask))


def test_threads_change_no_bit(instructions):
    generator = torch.Generator().manual_seed(0)
    weight, x = (torch.randn(n, 500, generator=generator) for n in (700, 6))
    mask = random_mask(700, 500, 0.25)
    before = torch.get_num_threads()
    results = []
    for threads in (1, 2, 5):
        torch.set_num_threads(threads)
        results.append(SlicedMatrix(weight, mask).multiply(x, None))
    torch.set_num_threads(before)
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


def test_what_a_non_zero_takes():
    """Four bytes of value and one of place, and a seventh of the lanes idle."""
    mask = random_mask(1024, 1024, 0.25)
    matrix = SlicedMatrix(torch.ones(1024, 1024), mask)
    assert 5.6 < matrix.num_bytes / int(mask.count_nonzero()) < 6.3

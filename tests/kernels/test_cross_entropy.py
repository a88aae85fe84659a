"""The cross-entropy of rows against PyTorch's in fp64."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from modelzoo_mediswift.kernels import library
from modelzoo_mediswift.kernels.cross_entropy import cross_entropy_, is_faster


@pytest.fixture(autouse=True)
def _library() -> None:
    if not (library.is_available() and library.load_library().has_avx512):
        pytest.skip("needs the library and AVX-512")


def exact(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    logits = logits.double().requires_grad_()
    loss = F.cross_entropy(logits, targets, reduction="sum", ignore_index=-100)
    return loss.detach(), torch.autograd.grad(loss, logits)[0]


def some(rows: int, words: int, size: float) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(rows + words)
    targets = torch.randint(words, (rows,), generator=generator)
    return size * torch.randn(rows, words, generator=generator), targets


@pytest.mark.parametrize("words", [1, 2, 15, 16, 17, 100, 5003])
@pytest.mark.parametrize("size", [0.01, 1.0, 30.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_loss_and_gradient(words, size, dtype):
    logits, targets = some(9, words, size)
    logits = logits.to(dtype)
    targets[4:6] = -100
    loss, gradient = exact(logits, targets)
    assert is_faster(logits)
    found = cross_entropy_(logits, targets)
    # A logarithm of a sum, and differences of logits of this size, have fp32's errors.
    torch.testing.assert_close(found.double(), loss, rtol=1e-6, atol=1e-5 * size)
    half = dtype == torch.bfloat16  # a probability of fp32, rounded to 8 bits
    torch.testing.assert_close(
        logits.double(), gradient, rtol=2**-8 if half else 1e-5, atol=1e-6 if size > 1 else 1e-7
    )
    assert not logits[4:6].any()


def test_a_word_that_is_never_expected_has_a_loss():
    """Its probability is too small for fp32."""
    logits = torch.tensor([[0.0, 300.0, -100.0]])
    assert cross_entropy_(logits, torch.tensor([2])).item() == 400.0
    assert logits.tolist() == [[0.0, 1.0, -1.0]]


def test_minus_infinity_is_a_probability_of_zero():
    logits = torch.tensor([[0.0, -torch.inf, 0.0]])
    torch.testing.assert_close(
        cross_entropy_(logits, torch.tensor([0])), torch.tensor(2.0).log(), rtol=1e-6, atol=0
    )
    assert logits.tolist() == [[-0.5, 0.0, 0.5]]


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("at", [0, 20])
def test_what_is_not_finite_shows(value, at):
    logits = torch.zeros(1, 40)
    logits[0, at] = value
    assert cross_entropy_(logits, torch.tensor([3])).isnan()


def test_threads_change_nothing():
    one, targets = some(50, 333, 1.0)
    two = one.clone()
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        first = cross_entropy_(one, targets)
        torch.set_num_threads(2)
        second = cross_entropy_(two, targets)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(first, second)
    assert torch.equal(one, two)


@pytest.mark.parametrize("target", [-1, 7, 2**40])
def test_a_target_that_is_no_word_is_refused(target):
    with pytest.raises(IndexError, match=f"target {target} is none of 7 words"):
        cross_entropy_(torch.zeros(2, 7), torch.tensor([3, target]))


def test_targets_of_any_layout_and_memory_of_any_default_type():
    logits, targets = some(6, 20, 1.0)
    expected, _ = exact(logits, targets)
    every_second = targets.int().repeat_interleave(2)[::2]
    torch.set_default_dtype(torch.bfloat16)
    try:
        found = cross_entropy_(logits, every_second)
    finally:
        torch.set_default_dtype(torch.float32)
    torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=1e-5)

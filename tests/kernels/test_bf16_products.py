"""Products of bf16 tiles, where the processor has the instruction.

Whole numbers make most of it exact: bf16 holds them up to 256, and fp32 sums of their products up
to 2**24. What is left is the one rounding of a result to bf16.
"""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from modelzoo_mediswift.kernels import library
from modelzoo_mediswift.kernels.functions import (
    pack_tokens,
    sparse_linear,
    sparse_linear_packed,
    unpack_tokens,
)
from modelzoo_mediswift.kernels.pattern import Pattern, pack, token_sums, unpack

pytestmark = pytest.mark.skipif(
    not (library.is_available() and library.load_library().multiplies_bf16),
    reason="no kernels that multiply bf16",
)

BF16 = torch.bfloat16


@pytest.fixture(autouse=True)
def autocast():
    with torch.autocast("cpu", dtype=BF16):
        yield


def generator(*numbers: int) -> torch.Generator:
    return torch.Generator().manual_seed(sum(numbers))


def whole(*shape: int, most: int = 8, seed: int = 0) -> Tensor:
    return torch.randint(-most, most + 1, shape, generator=generator(seed, *shape)).float()


def random_pattern(rows: int, cols: int, density: float) -> tuple[Pattern, Tensor]:
    mask = torch.rand(rows, cols, generator=generator(rows, cols)) < density
    if rows > 2:
        mask[1] = False  # an output without any input
    return Pattern(mask), mask


@pytest.mark.parametrize("shape", [(1, 1), (64, 64), (130, 67), (520, 129)])
@pytest.mark.parametrize("density", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("tokens", [128, 141, 300])
def test_sums_are_exact_and_rounded_once(shape, density, tokens):
    pattern, mask = random_pattern(*shape, density)
    weight, bias, x = whole(*shape), whole(shape[0], seed=1), whole(tokens, shape[1])
    out = whole(tokens, shape[0], seed=2)
    values = pattern.compress(weight).requires_grad_()
    bias.requires_grad_()
    x.requires_grad_()
    y = sparse_linear(x, values, bias, pattern)
    y.backward(out.to(BF16))
    with torch.autocast("cpu", enabled=False):
        exact = F.linear(x.double(), (weight * mask).double(), bias.double())
        for_x = out.double() @ (weight * mask).double()
        for_weight = (out.double().t() @ x.double()) * mask
    assert y.dtype == BF16
    assert torch.equal(y, exact.to(BF16))
    assert torch.equal(x.grad, for_x.to(BF16).float())
    assert torch.equal(pattern.expand(values.grad), for_weight.float())
    assert torch.equal(bias.grad, out.sum(0))


def test_differences_are_the_gradient():
    """With sums under 256 nothing is rounded at all, and a bilinear function is its tangent."""
    pattern, _ = random_pattern(40, 70, 0.3)
    shapes = [(150, 70), (pattern.count,), (40,)]
    inputs = [whole(*s, most=1, seed=3).requires_grad_() for s in shapes]
    out = whole(150, 40, most=1, seed=4)

    def function(x: Tensor, values: Tensor, bias: Tensor) -> Tensor:
        return (sparse_linear(x, values, bias, pattern).float() * out).sum()

    gradients = torch.autograd.grad(function(*inputs), inputs)
    for i, (tensor, gradient) in enumerate(zip(inputs, gradients, strict=True)):
        step = whole(*tensor.shape, most=1, seed=5)
        moved = [*inputs[:i], tensor + step, *inputs[i + 1 :]]
        difference = function(*moved) - function(*inputs)
        assert difference != 0
        assert difference == (gradient * step).sum()


@pytest.mark.parametrize("density", [0.25, 0.5])
def test_agrees_with_masked_dense_autocast(density):
    """Rounded alike (weights, bias, inputs, results), summed in fp32 in another order: a sum near
    the middle of two bf16 numbers may go to either, 2**-7 of it at most; near zero what differs is
    the sums' own error, far below 1e-3 for some hundred products of normal numbers."""
    pattern, mask = random_pattern(384, 256, density)
    random = generator(6)
    weight = torch.randn(384, 256, generator=random) * mask
    bias, x = torch.randn(384, generator=random), torch.randn(500, 256, generator=random)
    out = torch.randn(500, 384, generator=random).to(BF16)
    dense = [t.clone().requires_grad_() for t in (x, weight, bias)]
    sparse = [t.clone().requires_grad_() for t in (x, pattern.compress(weight), bias)]
    expected, found = F.linear(*dense), sparse_linear(*sparse, pattern)
    expected.backward(out)
    found.backward(out)
    close = {"rtol": 2**-7, "atol": 1e-3}
    torch.testing.assert_close(found, expected, **close)
    torch.testing.assert_close(sparse[0].grad, dense[0].grad, **close)
    torch.testing.assert_close(pattern.expand(sparse[1].grad), dense[1].grad * mask, **close)
    # PyTorch sums a bias's gradient in bf16; ours is the exact one.
    torch.testing.assert_close(sparse[2].grad, out.float().sum(0), rtol=1e-5, atol=1e-3)
    assert (found != expected).float().mean() < 0.01


def test_threads_change_no_bit():
    pattern, _ = random_pattern(600, 300, 0.25)
    random = generator(7)
    values, bias, x, out = (
        torch.randn(shape, generator=random)
        for shape in ((pattern.count,), (600,), (1000, 300), (1000, 600))
    )
    before = torch.get_num_threads()
    results = []
    for threads in (1, 2, 5):
        torch.set_num_threads(threads)
        packed, packed_out = pack(x, BF16), pack(out, BF16)
        results.append(
            (
                unpack(pattern.multiply(values, bias, packed), (1000, 600), BF16),
                pattern.multiply_transposed(values, packed_out),
                pattern.gradient(packed_out, packed),
            )
        )
    torch.set_num_threads(before)
    for other in results[1:]:
        for one, two in zip(results[0], other, strict=True):
            assert torch.equal(one, two)


@pytest.mark.parametrize("dtype", [torch.float32, BF16])
@pytest.mark.parametrize("shape", [(1, 1), (128, 16), (129, 33), (2, 150, 40)])
def test_tiles_hold_the_rounded_tokens_and_zeros(dtype, shape):
    rows = torch.randn(shape, generator=generator(*shape)).to(dtype)
    tokens, features = rows[..., 0].numel(), shape[-1]
    packed = pack(rows, BF16)
    assert packed.dtype == BF16
    assert packed.shape == (-(-tokens // 128), features, 128)
    flat = packed.transpose(1, 2).reshape(-1, features)
    assert torch.equal(flat[:tokens], rows.reshape(-1, features).to(BF16))
    assert torch.count_nonzero(flat[tokens:]) == 0
    assert torch.equal(unpack(packed, rows.shape, dtype), rows.to(BF16).to(dtype))
    torch.testing.assert_close(token_sums(packed), flat.float().sum(0), rtol=1e-5, atol=1e-5)


def test_what_is_not_finite_stays_where_it_is():
    """An odd non-zero is multiplied beside zeros, not beside another input."""
    pattern = Pattern(torch.tensor([[1, 0, 0], [0, 1, 1]], dtype=torch.bool))
    x = torch.tensor([[float("inf"), 1.0, 2.0], [float("nan"), 3.0, 4.0], [-1.0, 5.0, 6.0]])
    with torch.no_grad():
        packed = sparse_linear_packed(pack_tokens(x), torch.tensor([2.0, 1.0, 1.0]), None, pattern)
        y = unpack_tokens(packed, (3, 2), torch.float32)
    expected = torch.tensor([[float("inf"), 3.0], [float("nan"), 7.0], [-2.0, 11.0]])
    torch.testing.assert_close(y, expected, rtol=0, atol=0, equal_nan=True)


def test_without_the_instruction_or_without_autocast_tiles_are_fp32(monkeypatch):
    x = torch.ones(3, 4)
    assert pack_tokens(x).dtype == BF16
    with torch.autocast("cpu", enabled=False):
        assert pack_tokens(x).dtype == torch.float32
    monkeypatch.setattr(library.load_library(), "instructions", 2)
    assert pack_tokens(x).dtype == torch.float32

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.kernels import library
from modelzoo_mediswift.kernels.functions import (
    pack_tokens,
    sparse_linear,
    sparse_linear_packed,
    unpack_tokens,
)
from modelzoo_mediswift.kernels.pattern import Pattern, pack, unpack

pytestmark = pytest.mark.skipif(
    not library.is_available(), reason="not compiled: python setup.py build_ext --inplace"
)


def random_mask(rows: int, cols: int, density: float) -> Tensor:
    mask = torch.rand(rows, cols, generator=torch.Generator().manual_seed(rows + cols)) < density
    if rows > 2:
        mask[1] = False  # an output without any input
    return mask


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed + sum(shape)))


def test_numbers_by_hand(instructions):
    mask = torch.tensor([[1, 0, 1], [0, 1, 0]], dtype=torch.bool)
    pattern = Pattern(mask)
    values = pattern.compress(torch.tensor([[2.0, 9.0, 3.0], [9.0, 5.0, 9.0]]))
    assert values.tolist() == [2.0, 3.0, 5.0]
    assert pattern.expand(values).tolist() == [[2.0, 0.0, 3.0], [0.0, 5.0, 0.0]]
    x = torch.tensor([[1.0, 10.0, 100.0], [0.5, 2.0, 4.0]], requires_grad=True)
    bias = torch.tensor([0.25, -1.0], requires_grad=True)
    values.requires_grad_()
    y = sparse_linear(x, values, bias, pattern)
    assert y.tolist() == [[302.25, 49.0], [13.25, 9.0]]
    y.backward(torch.tensor([[1.0, 2.0], [10.0, 20.0]]))
    assert x.grad.tolist() == [[2.0, 10.0, 3.0], [20.0, 100.0, 30.0]]
    assert values.grad.tolist() == [6.0, 140.0, 60.0]
    assert bias.grad.tolist() == [11.0, 22.0]


@pytest.mark.parametrize("shape", [(1, 1), (64, 64), (130, 67), (520, 129)])
@pytest.mark.parametrize("density", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("tokens", [128, 141])
def test_agrees_with_the_dense_product(instructions, shape, density, tokens):
    mask = random_mask(*shape, density)
    pattern = Pattern(mask)
    weight, bias, x = normal(*shape) * mask, normal(shape[0]), normal(tokens, shape[1])
    inputs = [pattern.compress(weight), bias, x]
    assert torch.equal(pattern.expand(inputs[0]), weight)
    for tensor in inputs:
        tensor.requires_grad_()
    exact = [t.detach().double().requires_grad_() for t in (weight, bias, x)]
    y = sparse_linear(inputs[2], inputs[0], inputs[1], pattern)
    expected = F.linear(exact[2], exact[0], exact[1])
    out = normal(*y.shape, seed=1)
    y.backward(out)
    expected.backward(out.double())
    close(y, expected)
    close(pattern.expand(inputs[0].grad), exact[0].grad * mask)
    close(inputs[1].grad, exact[1].grad)
    close(inputs[2].grad, exact[2].grad)


def close(found: Tensor, expected: Tensor) -> None:
    # Sums of up to 520 products of standard normal numbers, in fp32.
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-4)


def test_gradients_are_those_of_finite_differences(instructions):
    pattern = Pattern(random_mask(7, 70, 0.3))
    inputs = (
        normal(3, 70).requires_grad_(),
        normal(pattern.count).requires_grad_(),
        normal(7).requires_grad_(),
    )
    # Bilinear, so that a wide difference is exact but for the rounding of fp32.
    with pytest.warns(UserWarning, match="not of double precision"):
        assert torch.autograd.gradcheck(
            lambda x, values, bias: sparse_linear(x, values, bias, pattern),
            inputs,
            eps=0.5,
            atol=1e-4,
            rtol=1e-4,
        )


def test_threads_change_no_bit(instructions):
    pattern = Pattern(random_mask(600, 300, 0.25))
    values, bias, x = normal(pattern.count), normal(600), normal(1000, 300)
    out = pack(normal(1000, 600))
    before = torch.get_num_threads()
    results = []
    for threads in (1, 2, 5):
        torch.set_num_threads(threads)
        packed = pack(x)
        results.append(
            (
                unpack(pattern.multiply(values, bias, packed), (1000, 600), torch.float32),
                pattern.multiply_transposed(values, out),
                pattern.gradient(out, packed),
            )
        )
    torch.set_num_threads(before)
    for other in results[1:]:
        for one, two in zip(results[0], other, strict=True):
            assert torch.equal(one, two)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(1, 1), (128, 16), (129, 33), (2, 150, 40)])
def test_tiles_hold_the_tokens_and_zeros(instructions, dtype, shape):
    rows = normal(*shape).to(dtype)
    tokens, features = rows[..., 0].numel(), shape[-1]
    packed = pack(rows)
    assert packed.shape == (-(-tokens // 128), features, 128)
    flat = packed.transpose(1, 2).reshape(-1, features)
    assert torch.equal(flat[:tokens], rows.reshape(-1, features).float())
    assert torch.count_nonzero(flat[tokens:]) == 0
    assert torch.equal(unpack(packed, rows.shape, dtype), rows)


def test_bf16_is_rounded_as_pytorch_does(instructions):
    special = torch.tensor([0.0, -0.0, float("inf"), float("-inf"), float("nan"), 3e38, 1e-40])
    rows = torch.cat((special.expand(200, 7), normal(200, 50)), dim=1).contiguous()
    expected = rows.to(torch.bfloat16)
    found = unpack(pack(rows), rows.shape, torch.bfloat16)
    torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)


def test_layers_in_a_row_stay_in_tiles_and_padding_gives_no_gradient():
    """The last tile's padding becomes the bias; it must not come back as a gradient."""
    first, second = Pattern(random_mask(96, 40, 0.5)), Pattern(random_mask(24, 96, 0.5))
    values = [normal(p.count, seed=2).requires_grad_() for p in (first, second)]
    biases = [normal(n, seed=3).requires_grad_() for n in (96, 24)]
    x = normal(130, 40)
    hidden = sparse_linear_packed(pack_tokens(x), values[0], biases[0], first)
    y = sparse_linear_packed(F.gelu(hidden), values[1], biases[1], second)
    unpack_tokens(y, (130, 24), torch.float32).square().sum().backward()
    weights = [
        p.expand(v).double().requires_grad_() for p, v in zip((first, second), values, strict=True)
    ]
    exact = [b.detach().double().requires_grad_() for b in biases]
    plain = F.linear(F.gelu(F.linear(x.double(), weights[0], exact[0])), weights[1], exact[1])
    plain.square().sum().backward()
    for p, v, weight in zip((first, second), values, weights, strict=True):
        torch.testing.assert_close(
            v.grad.double(), p.compress(weight.grad.float()).double(), rtol=1e-4, atol=0.05
        )
    for bias, expected in zip(biases, exact, strict=True):
        torch.testing.assert_close(bias.grad.double(), expected.grad, rtol=1e-4, atol=0.05)


def test_under_autocast_the_result_is_bf16(instructions):
    """Products of fp32 tiles keep the weights as they are; products of bf16 round them first."""
    pattern = Pattern(random_mask(10, 20, 0.5))
    values, x = normal(pattern.count), normal(4, 20).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = sparse_linear(x.requires_grad_(), values, None, pattern)
    assert y.dtype == torch.bfloat16
    half = library.load_library().multiplies_bf16
    weight = pattern.expand(values.bfloat16().float() if half else values)
    torch.testing.assert_close(y.float(), F.linear(x.float(), weight), rtol=2**-8, atol=1e-6)


def test_the_lists_take_little():
    """Per non-zero: two bytes of offsets, two of places, and starts, which rows share."""
    pattern = Pattern(random_mask(1024, 1024, 0.25))
    assert pattern.num_bytes / pattern.count < 4.6


def test_without_a_compiled_library_the_message_says_what_to_do(monkeypatch):
    monkeypatch.setattr(library, "EXTENSION_SUFFIXES", [".none"])
    library.load_library.cache_clear()
    try:
        assert not library.is_available()
        with pytest.raises(UserError, match=r"not compiled.*install one"):
            library.load_library()
    finally:
        library.load_library.cache_clear()


def test_amx_changes_nothing_of_sparse_products(monkeypatch):
    has = library.load_library()
    monkeypatch.setattr(has, "instructions", library.INSTRUCTION_SETS.index("AVX-512-BF16"))
    before = [has.description, *map(has.kernels, (torch.float32, torch.bfloat16))]
    monkeypatch.setattr(has, "instructions", library.INSTRUCTION_SETS.index("AMX"))
    assert [has.description, *map(has.kernels, (torch.float32, torch.bfloat16))] == before


def test_less_than_the_processor_has_can_be_asked_for(monkeypatch):
    monkeypatch.setenv(library.INSTRUCTIONS_VARIABLE, "portable")
    library.load_library.cache_clear()
    try:
        assert library.load_library().description == "portable"
        monkeypatch.setenv(library.INSTRUCTIONS_VARIABLE, "MMX")
        library.load_library.cache_clear()
        with pytest.raises(UserError, match=r"expected one of portable, .*AMX, got MMX"):
            library.load_library()
    finally:
        library.load_library.cache_clear()

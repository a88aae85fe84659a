"""Linear layers with a backward pass of their own, against exact sums and PyTorch's autocast."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from modelzoo_mediswift.kernels import dense, library
from modelzoo_mediswift.kernels.dense import add_weight_gradient, linear
from modelzoo_mediswift.model.gpt3 import GPT3
from modelzoo_mediswift.model.loss import LossModule

HALF = torch.bfloat16


@pytest.fixture(autouse=True)
def ours(monkeypatch) -> None:
    """Taken wherever the processor can transpose; strips of outputs that end within a layer."""
    if not (library.is_available() and library.load_library().has_avx512):
        pytest.skip("needs the library and AVX-512")
    monkeypatch.setattr(dense, "pytorch_has_tiles", lambda: True)
    monkeypatch.setattr(dense, "OUTPUTS", 48)
    monkeypatch.setattr(dense, "LEAST", 0)


def few_values(*shape: int) -> Tensor:
    """-1, 0 and 1: sums of up to 256 products are numbers of bf16, whatever their order."""
    return torch.randint(-1, 2, shape, generator=torch.Generator().manual_seed(sum(shape))).float()


def product(function, *tensors: Tensor | None) -> list[Tensor]:
    """Outputs under autocast, and gradients of the inputs that have some."""
    inputs = [None if t is None else t.clone().requires_grad_() for t in tensors]
    with torch.autocast("cpu", dtype=HALF):
        y = function(*inputs)
    (y.float() * few_values(*y.shape)).sum().backward()
    return [y, *(t.grad for t in inputs if t is not None)]


@pytest.mark.parametrize("tokens", [1, 31, 32, 33, 100, 256])
@pytest.mark.parametrize(("inputs", "outputs"), [(1, 1), (40, 31), (64, 96), (33, 130)])
def test_exact_sums(tokens, inputs, outputs):
    x, weight, bias = few_values(tokens, inputs), few_values(outputs, inputs), few_values(outputs)
    y, dx, dw, db = product(linear, x, weight, bias)
    dy = few_values(tokens, outputs).double()
    assert "_Linear" in y.grad_fn.name()
    assert torch.equal(y.double(), x.double() @ weight.double().t() + bias)
    assert torch.equal(dx.double(), dy @ weight.double())
    assert torch.equal(dw.double(), dy.t() @ x.double())
    assert torch.equal(db.double(), dy.sum(0))


@pytest.mark.parametrize("with_bias", [True, False])
def test_autocasts_roundings(with_bias):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 50, 40, generator=generator)
    weight = torch.randn(70, 40, generator=generator)
    bias = torch.randn(70, generator=generator) if with_bias else None
    for one, other in zip(
        product(linear, x, weight, bias), product(F.linear, x, weight, bias), strict=True
    ):
        assert one.dtype == other.dtype
        # Sums in another order may be rounded to a neighbour: 8 bits of the number itself.
        torch.testing.assert_close(one, other, rtol=2**-7, atol=1e-6)


def test_parts_are_added_to_what_is_there():
    for tokens, dtype in ((100, HALF), (7, torch.float32)):
        gradient, x = few_values(tokens, 130), few_values(tokens, 20)
        total = few_values(130, 20)
        expected = total + gradient.t() @ x
        add_weight_gradient(total, gradient.to(dtype), x.to(dtype))
        assert torch.equal(total, expected)


def test_what_is_frozen_gets_no_gradient():
    x, weight = few_values(5, 4).requires_grad_(), few_values(3, 4).requires_grad_()
    bias = few_values(3)
    with torch.autocast("cpu", dtype=HALF):
        linear(x.detach(), weight, bias).sum().backward()
        assert x.grad is None
        assert bias.grad is None
        assert torch.equal(weight.grad, x.detach().sum(0).expand(3, 4))
        frozen = linear(x, weight.detach(), bias)
    assert "_Linear" not in frozen.grad_fn.name()


def test_elsewhere_it_is_pytorchs():
    x, weight = few_values(5, 4), few_values(3, 4).requires_grad_()
    assert "_Linear" not in linear(x, weight, None).grad_fn.name()  # fp32
    with torch.autocast("cpu", dtype=HALF), torch.no_grad():
        assert linear(x, weight, None).grad_fn is None


def test_a_small_layer_is_pytorchs(monkeypatch):
    monkeypatch.setattr(dense, "LEAST", 5 * 4 * 3)
    weight = few_values(3, 4).requires_grad_()
    with torch.autocast("cpu", dtype=HALF):
        assert "_Linear" in linear(few_values(5, 4), weight, None).grad_fn.name()
        assert "_Linear" not in linear(few_values(4, 4), weight, None).grad_fn.name()


def test_a_single_row_without_a_batch(monkeypatch):
    x, weight, bias = few_values(4), few_values(3, 4), few_values(3)
    ours = product(linear, x, weight, bias)
    monkeypatch.setattr(dense, "pytorch_has_tiles", lambda: False)
    for mine, theirs in zip(ours, product(linear, x, weight, bias), strict=True):
        assert torch.equal(mine, theirs)


def test_gradients_of_a_model_are_those_without(monkeypatch):
    """Every linear layer of the decoder, and the loss."""
    ids = torch.randint(61, (2, 24), generator=torch.Generator().manual_seed(0))
    found = []
    for tiles in (True, False):
        monkeypatch.setattr(dense, "pytorch_has_tiles", lambda tiles=tiles: tiles)
        module = LossModule(
            GPT3(
                vocab_size=61,
                hidden_size=32,
                num_hidden_layers=2,
                num_heads=4,
                filter_size=128,
                max_position_embeddings=24,
            )
        )
        with torch.autocast("cpu", dtype=HALF):
            loss, _ = module(ids, ids.flatten())
        loss.backward()
        found.append({name: p.grad for name, p in module.named_parameters()})
    for name, gradient in found[0].items():
        largest = found[1][name].abs().max().item()
        torch.testing.assert_close(
            gradient, found[1][name], rtol=2**-7, atol=2**-7 * largest, msg=name
        )

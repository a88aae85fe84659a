"""Attention in bf16 on a CPU against PyTorch's, in fp32."""

import math
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from modelzoo_mediswift.kernels import attention, library
from modelzoo_mediswift.kernels.attention import causal_attention, is_faster
from modelzoo_mediswift.model import gpt3

compiled = pytest.mark.skipif(
    not (library.is_available() and library.load_library().multiplies_bf16),
    reason="no kernels that multiply bf16",
)

SIZES = ("query", "key", "value", "gradient")


def run(function, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    inputs = [tensors[name].clone().requires_grad_() for name in SIZES[:3]]
    out = function(*inputs)
    gradients = torch.autograd.grad(out, inputs, tensors["gradient"].to(out.dtype))
    return {"out": out, **dict(zip(SIZES, gradients, strict=False))}


def sdpa(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(query, key, value, is_causal=True)


@compiled
@pytest.mark.parametrize("length", [15, 16, 17, 127, 128, 129, 300])
@pytest.mark.parametrize("width", [1, 16, 33, 128])
@pytest.mark.parametrize("size", [1, 2])  # that of scores is its square
def test_errors_are_not_greater_than_pytorchs(length, width, size):
    generator = torch.Generator().manual_seed(length)
    rounded = {
        name: (size * torch.randn(2, length, 3, width, generator=generator))
        .transpose(1, 2)
        .bfloat16()
        for name in SIZES
    }
    exact = run(sdpa, {name: x.float() for name, x in rounded.items()})
    ours, theirs = run(causal_attention, rounded), run(sdpa, rounded)
    for name, right in exact.items():
        assert ours[name].dtype == torch.bfloat16
        assert ours[name].shape == right.shape
        assert (ours[name] - right).norm() <= 1.2 * (theirs[name] - right).norm()


@compiled
def test_a_token_alone_attends_to_itself():
    tensors = {name: torch.randn(3, 2, 1, 16).bfloat16() for name in SIZES}
    results = run(causal_attention, tensors)
    assert torch.equal(results["out"], tensors["value"])
    assert torch.equal(results["value"], tensors["gradient"])
    for name in ("query", "key"):  # a softmax of one score is 1
        torch.testing.assert_close(
            results[name], torch.zeros(3, 2, 1, 16).bfloat16(), atol=1e-5, rtol=0
        )


@compiled
def test_the_layout_of_the_inputs_does_not_matter():
    by_tokens = {name: torch.randn(2, 40, 3, 16).bfloat16().transpose(1, 2) for name in SIZES}
    by_heads = {name: x.contiguous() for name, x in by_tokens.items()}
    by_heads["gradient"] = by_heads["gradient"].mT.contiguous().mT
    expected = run(causal_attention, by_tokens)
    for name, result in run(causal_attention, by_heads).items():
        assert torch.equal(result, expected[name])


@compiled
def test_threads_do_not_change_results():
    tensors = {name: torch.randn(2, 3, 150, 32).bfloat16() for name in SIZES}
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        expected = run(causal_attention, tensors)
        torch.set_num_threads(4)
        for name, result in run(causal_attention, tensors).items():
            assert torch.equal(result, expected[name])
    finally:
        torch.set_num_threads(before)


@compiled
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_a_number_stays_none(value):
    query, key, values = (torch.randn(1, 1, 200, 16).bfloat16() for _ in range(3))
    key[0, 0, 70, 3] = value
    out = causal_attention(query, key, values)
    assert out[0, 0, :70].isfinite().all()
    assert out[0, 0, 70:].isnan().any()


@compiled
@pytest.mark.parametrize("shape", [(0, 2, 5, 8), (2, 2, 0, 8)])
def test_nothing_to_attend_to(shape):
    tensors = {name: torch.randn(shape).bfloat16() for name in SIZES}
    assert all(result.shape == shape for result in run(causal_attention, tensors).values())


@compiled
def test_no_query_sees_later_keys():
    query, key, value = (torch.randn(1, 2, 200, 8).bfloat16() for _ in range(3))
    before = causal_attention(query, key, value)
    key[:, :, 150:], value[:, :, 150:] = 7, 1000
    after = causal_attention(query, key, value)
    assert torch.equal(before[:, :, :150], after[:, :, :150])
    assert (before[:, :, 150:] != after[:, :, 150:]).any()


def test_it_is_for_bf16_on_a_cpu(monkeypatch):
    monkeypatch.setattr(attention, "_multiplies_without_tiles", lambda: True)
    assert is_faster(torch.empty(1, dtype=torch.bfloat16))
    assert not is_faster(torch.empty(1))
    assert not is_faster(torch.empty(1, dtype=torch.bfloat16, device="meta"))
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert not is_faster(torch.empty(1, dtype=torch.bfloat16))
    monkeypatch.undo()
    monkeypatch.setattr(attention, "_multiplies_without_tiles", lambda: False)
    assert not is_faster(torch.empty(1, dtype=torch.bfloat16))


@pytest.mark.parametrize(
    ("multiplies", "tiles", "faster"),
    [(True, False, True), (True, True, False), (False, False, False)],
)
def test_it_is_for_processors_that_multiply_bf16_in_vectors_alone(
    monkeypatch, multiplies, tiles, faster
):
    library = SimpleNamespace(multiplies_bf16=multiplies)
    monkeypatch.setattr(attention, "is_available", lambda: True)
    monkeypatch.setattr(attention, "load_library", lambda: library)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: tiles, raising=False)
    assert attention._multiplies_without_tiles.__wrapped__() is faster


def test_it_is_not_asked_where_it_lacks_something(monkeypatch):
    asked = []

    def recorded(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        asked.append(query.shape)
        return sdpa(query, key, value)

    monkeypatch.setattr(gpt3, "is_faster", lambda query: True)
    monkeypatch.setattr(gpt3, "causal_attention", recorded)
    layer = gpt3.Attention(hidden_size=8, num_heads=2, dropout_rate=0.5)
    x = torch.randn(1, 3, 8)
    layer(x, None, None, False)  # in training, with dropout
    layer.eval()
    layer(x, torch.ones(3, 3, dtype=torch.bool), None, False)
    layer(x, None, None, False, at=torch.tensor([1]))
    assert not asked
    layer(x, None, None, False)
    assert asked == [(1, 2, 3, 4)]

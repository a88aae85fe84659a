"""Attention in bf16 on a CPU against PyTorch's, in fp32."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from modelzoo_mediswift.model import attention, gpt3
from modelzoo_mediswift.model.attention import causal_attention, is_faster

SIZES = ("query", "key", "value", "gradient")


def run(function, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    inputs = [tensors[name].clone().requires_grad_() for name in SIZES[:3]]
    out = function(*inputs)
    gradients = torch.autograd.grad(out, inputs, tensors["gradient"].to(out.dtype))
    return {"out": out, **dict(zip(SIZES, gradients, strict=False))}


def sdpa(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(query, key, value, is_causal=True)


@pytest.mark.parametrize("length", [1, 2, 127, 128, 129, 300])
@pytest.mark.parametrize("scores", [1, attention.SCORES])  # heads one by one, and together
def test_errors_are_those_of_bf16(length, scores, monkeypatch):
    monkeypatch.setattr(attention, "SCORES", scores)
    generator = torch.Generator().manual_seed(length)
    made = {n: torch.randn(2, length, 3, 16, generator=generator).transpose(1, 2) for n in SIZES}
    rounded = {name: x.bfloat16() for name, x in made.items()}
    exact = run(sdpa, {name: x.float() for name, x in rounded.items()})
    ours, theirs = run(causal_attention, rounded), run(sdpa, rounded)
    for name, right in exact.items():
        assert ours[name].dtype == torch.bfloat16
        assert ours[name].shape == right.shape
        # Scores are rounded before the softmax here, and not there.
        assert (ours[name] - right).norm() <= 2 * (theirs[name] - right).norm()


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
    monkeypatch.setattr(attention, "_multiplies_without_tiles", lambda: False)
    assert not is_faster(torch.empty(1, dtype=torch.bfloat16))


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

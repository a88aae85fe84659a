"""Packed layers against the ones that they were made from."""

import platform

import pytest
import torch
from torch import nn

from modelzoo_mediswift.model.gpt3 import GPT3
from modelzoo_mediswift.model.packed import PackedLinear, pack_linear_layers

pytestmark = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64") or not torch.backends.mkldnn.is_available(),
    reason="packs nothing here",
)


def small_model() -> GPT3:
    return GPT3(
        vocab_size=50,
        hidden_size=48,
        num_hidden_layers=2,
        num_heads=3,
        filter_size=96,
        max_position_embeddings=32,
        num_virtual_tokens=2,
        seed=1,
    ).eval()


@pytest.mark.parametrize("tokens", [1, 3, 32])
def test_the_function_is_the_same(tokens: int) -> None:
    plain, packed = small_model(), small_model()
    pack_linear_layers(packed)
    assert not [m for m in packed.modules() if isinstance(m, nn.Linear)]
    assert sum(isinstance(m, PackedLinear) for m in packed.modules()) == 2 * 6 + 1
    ids = torch.randint(0, 52, (4, tokens), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(packed(ids), plain(ids), rtol=1e-5, atol=1e-6)


def test_bfloat16_stays_so() -> None:
    plain, packed = small_model().bfloat16(), small_model().bfloat16()
    pack_linear_layers(packed)
    ids = torch.arange(20).view(2, 10)
    with torch.no_grad():
        said = packed(ids)
        assert said.dtype == torch.bfloat16
        # One unit in the last place of bfloat16 (8 bits) at logits below 1.
        torch.testing.assert_close(said, plain(ids), rtol=2**-7, atol=2**-8)


def test_other_types_are_left_alone() -> None:
    model = small_model().double()
    pack_linear_layers(model)
    assert not [m for m in model.modules() if isinstance(m, PackedLinear)]

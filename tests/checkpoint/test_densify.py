from pathlib import Path

import pytest
import torch

from modelzoo_mediswift.checkpoint.densify import load_dense, split_masks
from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.model.gpt3 import GPT3
from modelzoo_mediswift.model.tensors import unique_tensors
from modelzoo_mediswift.sparsity.filters import SparsityRule
from modelzoo_mediswift.sparsity.masking import Masking

ORIGIN = Path("checkpoint_5")


def model(seed: int, virtual: int = 0) -> GPT3:
    return GPT3(
        vocab_size=40,
        hidden_size=16,
        num_hidden_layers=1,
        num_heads=2,
        filter_size=64,
        max_position_embeddings=20,
        num_virtual_tokens=virtual,
        seed=seed,
    )


@pytest.fixture
def sparse() -> tuple[GPT3, dict[str, torch.Tensor]]:
    source = model(1)
    Masking(source, [SparsityRule(0.75)], seed=0)
    return source.eval(), {n: t.detach().clone() for n, t in unique_tensors(source).items()}


def test_masks_go_zeros_stay_and_the_function_is_the_same(sparse):
    source, tensors = sparse
    dense = model(2, virtual=3).eval()
    prompt = dense.prompt_embedding.weight.detach().clone()
    assert load_dense(dense, tensors, ORIGIN).count == 12 * 16 * 16 * 3 // 4
    assert not any(name.endswith("_mask") for name in dense.state_dict())
    assert torch.equal(dense.prompt_embedding.weight, prompt)
    ids = torch.arange(20).unsqueeze(0)
    assert torch.equal(source(ids), dense(ids))
    _weights, masks = split_masks(tensors)
    state = dense.state_dict()
    for name, mask in masks.items():
        assert torch.count_nonzero(state[name.removesuffix("_mask")][~mask]) == 0


def test_masked_weights_that_are_not_zero_are_refused(sparse):
    _, tensors = sparse
    name = "model.transformer_decoder.layers.0.ffn.ffn.0.linear_layer.weight"
    row, column = (~tensors[name + "_mask"]).nonzero()[0]
    tensors[name][row, column] = 1e-30
    with pytest.raises(UserError, match="has masked weights that are not zero"):
        load_dense(model(2), tensors, ORIGIN)


def test_loading_is_strict(sparse):
    _, tensors = sparse
    del tensors["model.ln_f.weight"]
    with pytest.raises(UserError, match=r"it lacks 1 tensors \(model.ln_f.weight\)"):
        load_dense(model(2), tensors, ORIGIN)

import pytest
import torch

from modelzoo_mediswift.model.gpt3 import GPT3
from modelzoo_mediswift.model.loss import LossModule
from modelzoo_mediswift.optim.adamw import AdamW
from modelzoo_mediswift.sparsity.filters import SparsityRule
from modelzoo_mediswift.sparsity.levels import levels, levels_by_kind
from modelzoo_mediswift.sparsity.masking import Masking

PAPER = (
    "*proj_[qkv]_dense_layer.weight",
    "*proj_output_dense_layer.weight",
    "*linear_layer.weight",
)


@pytest.fixture
def model() -> GPT3:
    return GPT3(
        vocab_size=50,
        hidden_size=16,
        num_hidden_layers=2,
        num_heads=2,
        filter_size=64,
        max_position_embeddings=12,
    )


def test_the_papers_filter_masks_six_matrices_per_layer(model):
    static = Masking(model, [SparsityRule(0.75, param_filter=PAPER)], seed=0)
    assert len(static.parameters) == 12
    assert sum(p.weight.numel() for p in static.parameters) == 12 * 2 * 16 * 16
    names = set(model.state_dict())
    assert "model.transformer_decoder.layers.1.ffn.ffn.0.linear_layer.weight_mask" in names
    for parameter in static.parameters:
        assert int(parameter.mask.sum()) == parameter.weight.numel() // 4
        assert torch.count_nonzero(parameter.weight[~parameter.mask]) == 0


def test_masked_weights_and_moments_stay_exactly_zero(model):
    static = Masking(model, [SparsityRule(0.75, param_filter=PAPER)], seed=0)
    optimizer = AdamW(model, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)
    before = {p.name: p.weight.detach().clone() for p in static.parameters}
    ids = torch.randint(50, (4, 12), generator=torch.Generator().manual_seed(0))
    for step in range(8):
        loss, _ = LossModule(model)(ids, ids.roll(-1, 1).flatten())
        loss.backward()
        static.mask_gradients(step + 1)
        optimizer.step(step, 1e-2)
        optimizer.zero_grad()
    state = optimizer.state()
    for parameter in static.parameters:
        dropped = ~parameter.mask
        assert torch.count_nonzero(parameter.weight[dropped]) == 0
        for moment in ("exp_avg", "exp_avg_sq"):
            assert torch.count_nonzero(state[f"{parameter.name}.{moment}"][dropped]) == 0
        kept = parameter.weight[parameter.mask]
        assert (kept != before[parameter.name][parameter.mask]).float().mean() > 0.99


def test_levels(model):
    rules = [
        SparsityRule(0.5, param_filter=("*layers.0.*linear_layer.weight",)),
        SparsityRule(0.75, param_filter=("*linear_layer.weight",)),
    ]
    every = levels(Masking(model, rules, seed=0).parameters)
    assert [level.sparsity for level in every] == [0.5, 0.5, 0.75, 0.75]
    kinds = levels_by_kind(every)
    assert [kind.name for kind in kinds] == [
        "model.transformer_decoder.layers.*.ffn.ffn.0.linear_layer.weight",
        "model.transformer_decoder.layers.*.ffn.ffn.1.linear_layer.weight",
    ]
    assert [kind.sparsity for kind in kinds] == [0.625, 0.625]

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.plan.parameters import (
    count_parameters,
    number_kept,
    parameter_shapes,
    sparsity_by_name,
)

Make = Callable[..., Any]
MATRICES = ("*proj_[qkv]_dense_layer.weight", "*proj_output_dense_layer.weight",
            "*linear_layer.weight")  # fmt: skip


def test_names_and_shapes(model: Make) -> None:
    shapes = parameter_shapes(model(num_hidden_layers=1, num_virtual_tokens=3))
    layer = "model.transformer_decoder.layers.0."
    assert shapes == {
        "model.embedding_layer.word_embeddings.weight": (10, 4),
        "model.embedding_layer.position_embeddings.embed.weight": (5, 4),
        "model.ln_f.weight": (4,),
        "model.ln_f.bias": (4,),
        f"{layer}self_attn.proj_q_dense_layer.weight": (4, 4),
        f"{layer}self_attn.proj_q_dense_layer.bias": (4,),
        f"{layer}self_attn.proj_k_dense_layer.weight": (4, 4),
        f"{layer}self_attn.proj_k_dense_layer.bias": (4,),
        f"{layer}self_attn.proj_v_dense_layer.weight": (4, 4),
        f"{layer}self_attn.proj_v_dense_layer.bias": (4,),
        f"{layer}self_attn.proj_output_dense_layer.weight": (4, 4),
        f"{layer}self_attn.proj_output_dense_layer.bias": (4,),
        f"{layer}norm1.weight": (4,),
        f"{layer}norm1.bias": (4,),
        f"{layer}ffn.ffn.0.linear_layer.weight": (16, 4),
        f"{layer}ffn.ffn.0.linear_layer.bias": (16,),
        f"{layer}ffn.ffn.1.linear_layer.weight": (4, 16),
        f"{layer}ffn.ffn.1.linear_layer.bias": (4,),
        f"{layer}norm3.weight": (4,),
        f"{layer}norm3.bias": (4,),
        "prompt_embedding.weight": (3, 4),
    }


def test_the_model_has_these_parameters(model: Make) -> None:
    """Names, shapes and order, so that the report counts what is trained."""
    from modelzoo_mediswift.model.gpt3 import GPT3

    tiny = model(num_virtual_tokens=3)
    real = GPT3(
        vocab_size=tiny.vocab_size,
        hidden_size=tiny.hidden_size,
        num_hidden_layers=tiny.num_hidden_layers,
        num_heads=tiny.num_heads,
        filter_size=tiny.filter_size,
        max_position_embeddings=tiny.max_position_embeddings,
        num_virtual_tokens=tiny.num_virtual_tokens,
    )
    shapes = parameter_shapes(tiny)
    assert {name: tuple(p.shape) for name, p in real.named_parameters()} == shapes
    assert count_parameters(tiny, []).total == sum(p.numel() for p in real.parameters())


def test_counts_by_hand(model: Make) -> None:
    """2 layers, d = 4, feed-forward 16, 10 words, 5 positions, 3 virtual tokens.

    Per layer: 4 * 16 + 2 * 64 = 192 in matrices (12 d^2), 4 * 4 + 16 + 4 = 36 in their biases,
    4 * 4 = 16 in two LayerNorms. Beside the layers: 40 + 20 + 12 embeddings, 8 in the last norm.
    """
    counts = count_parameters(model(num_virtual_tokens=3), [])
    assert counts.paper == counts.paper_nonzero == 2 * 192
    assert counts.total == counts.nonzero == 2 * (192 + 36 + 16) + 40 + 20 + 12 + 8
    assert counts.masked_total == 0
    assert [(kind.kind, kind.total) for kind in counts.kinds] == [
        ("query, key, value", 2 * 48),
        ("attention output", 2 * 16),
        ("feed-forward", 2 * 128),
        ("word embeddings", 40),
        ("position embeddings", 20),
        ("soft prompt", 12),
        ("biases", 2 * 36),
        ("LayerNorm", 2 * 16 + 8),
    ]
    assert all(kind.sparsity == 0 for kind in counts.kinds)


def test_masked_counts_by_hand(model: Make, block: type) -> None:
    """75 % of all matrices, and 90 % of 16 and 64 weights: 1.6 and 6.4 stay, that is 1 and 6."""
    counts = count_parameters(model(), [block(0.75, MATRICES)])
    assert counts.paper_nonzero == 2 * (4 * 4 + 2 * 16)
    assert counts.masked_total == counts.paper == 384
    assert counts.total - counts.nonzero == 384 - 96
    counts = count_parameters(model(), [block(0.9, MATRICES)])
    assert counts.paper_nonzero == 2 * (4 * 1 + 2 * 6)
    sparsity = {kind.kind: kind.sparsity for kind in counts.kinds}
    assert sparsity["attention output"] == pytest.approx(15 / 16)
    assert sparsity["feed-forward"] == pytest.approx(58 / 64)
    assert sparsity["word embeddings"] == 0


def test_without_filter_the_decoders_matrices_are_masked(model: Make, block: type) -> None:
    shapes = parameter_shapes(model(num_virtual_tokens=3))
    chosen = sparsity_by_name(shapes, [block(0.5)])
    assert chosen == sparsity_by_name(shapes, [block(0.5, MATRICES)])
    assert len(chosen) == 2 * 6


def test_the_first_block_that_matches_has_the_parameter(model: Make, block: type) -> None:
    blocks = [block(0.9, ("*proj_q*weight", "*layers.0.ffn*weight")), block(0.5, MATRICES)]
    chosen = sparsity_by_name(parameter_shapes(model()), blocks)
    layer = "model.transformer_decoder.layers."
    assert chosen[f"{layer}0.self_attn.proj_q_dense_layer.weight"] == 0.9
    assert chosen[f"{layer}0.self_attn.proj_k_dense_layer.weight"] == 0.5
    assert chosen[f"{layer}0.ffn.ffn.1.linear_layer.weight"] == 0.9
    assert chosen[f"{layer}1.ffn.ffn.1.linear_layer.weight"] == 0.5
    assert not any(name.endswith("bias") for name in chosen)


def test_globs_tell_upper_from_lower_case(model: Make, block: type) -> None:
    with pytest.raises(UserError, match="matches no parameter"):
        sparsity_by_name(parameter_shapes(model()), [block(0.5, ("*PROJ_Q*",))])


def test_a_glob_that_matches_nothing_is_named(model: Make, block: type) -> None:
    blocks = [block(0.5, ("*linear_layer.weight", "*linear_layers.weight"))]
    with pytest.raises(UserError) as caught:
        sparsity_by_name(parameter_shapes(model()), blocks)
    assert str(caught.value) == (
        'trainer.init.sparsity.param_filter: "*linear_layers.weight" matches no parameter '
        "(they have names like model.transformer_decoder.layers.1.ffn.ffn.1.linear_layer.bias)"
    )


def test_the_same_filters_as_in_training(model: Make, block: type) -> None:
    from modelzoo_mediswift.sparsity.filters import SparsityRule, match_rules

    shapes = parameter_shapes(model(num_virtual_tokens=3))
    for globs in (None, MATRICES, ("*",), ("*.0.*",), ("prompt*", "*bias")):
        rules = match_rules(shapes, [SparsityRule(0.5, param_filter=globs)])
        assert sparsity_by_name(shapes, [block(0.5, globs)]) == dict.fromkeys(rules, 0.5)


@pytest.mark.parametrize(
    ("numel", "sparsity", "kept"),
    [(16, 0.75, 4), (10, 0.9, 1), (10, 0.7, 3), (10, 0.0, 10), (3, 0.5, 1), (1, 0.5, 0),
     (2048 * 8192, 0.75, 4194304)],
)  # fmt: skip
def test_number_kept(numel: int, sparsity: float, kept: int) -> None:
    assert number_kept(numel, sparsity) == kept


@given(st.integers(1, 2**24), st.floats(0, 1, exclude_max=True))
def test_number_kept_is_that_of_training(numel: int, sparsity: float) -> None:
    from modelzoo_mediswift.sparsity import masks

    assert number_kept(numel, sparsity) == masks.number_kept(numel, sparsity)

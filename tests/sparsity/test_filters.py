import pytest

from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.sparsity.filters import SparsityRule, match_rules

SHAPES = {
    "model.embedding_layer.word_embeddings.weight": (61, 8),
    "layers.0.self_attn.proj_q_dense_layer.weight": (8, 8),
    "layers.0.self_attn.proj_q_dense_layer.bias": (8,),
    "layers.0.norm1.weight": (8,),
    "layers.0.ffn.ffn.0.linear_layer.weight": (32, 8),
    "prompt_embedding.weight": (2, 8),
    "lm_head.weight": (61, 8),
}


def test_without_a_filter_matrices_but_embeddings_norms_and_head_are_sparse():
    assert list(match_rules(SHAPES, [SparsityRule(0.5)])) == [
        "layers.0.self_attn.proj_q_dense_layer.weight",
        "layers.0.ffn.ffn.0.linear_layer.weight",
    ]


def test_first_matching_block_wins():
    first = SparsityRule(0.9, param_filter=("*proj_[qkv]_dense_layer.weight",))
    second = SparsityRule(0.5, param_filter=("*layer.weight",))
    chosen = match_rules(SHAPES, [first, second])
    assert chosen["layers.0.self_attn.proj_q_dense_layer.weight"] is first
    assert chosen["layers.0.ffn.ffn.0.linear_layer.weight"] is second
    assert len(chosen) == 2


def test_a_glob_without_match_is_an_error_even_beside_one_that_matches():
    rule = SparsityRule(0.5, param_filter=("*linear_layer.weight", "*liner_layer.weight"))
    with pytest.raises(UserError, match=r'"\*liner_layer.weight" matches no parameter'):
        match_rules(SHAPES, [rule])

import math
from statistics import NormalDist

import pytest
import torch

from modelzoo_mediswift.model.gpt3 import GPT3, Initializer, truncated
from modelzoo_mediswift.model.loss import LossModule
from modelzoo_mediswift.model.tensors import unique_tensors


def small(**changes) -> GPT3:
    settings = {
        "vocab_size": 61,
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "num_heads": 4,
        "filter_size": 128,
        "max_position_embeddings": 24,
    }
    return GPT3(**{**settings, **changes})


def test_parameter_names_are_model_zoos():
    names = set(small(num_virtual_tokens=2).state_dict())
    layer = "model.transformer_decoder.layers.0."
    assert {
        "model.embedding_layer.word_embeddings.weight",
        "model.embedding_layer.position_embeddings.embed.weight",
        f"{layer}self_attn.proj_q_dense_layer.weight",
        f"{layer}self_attn.proj_output_dense_layer.bias",
        f"{layer}ffn.ffn.0.linear_layer.weight",
        f"{layer}ffn.ffn.1.linear_layer.bias",
        f"{layer}norm1.weight",
        f"{layer}norm3.bias",
        "model.ln_f.weight",
        "model.transformer_decoder.norm.weight",
        "model.lm_head.weight",
        "prompt_embedding.weight",
    } <= names
    assert len(names) == 2 + 3 * 16 + 2 + 2 + 1 + 1


def test_logits_equal_an_independent_gpt2():
    transformers = pytest.importorskip("transformers")
    ours = small(seed=3).eval()
    with torch.no_grad():  # exercise biases and norms too, which start at 0 and 1
        for parameter in ours.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.05)
    theirs = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            vocab_size=61,
            n_positions=24,
            n_embd=32,
            n_layer=3,
            n_head=4,
            n_inner=128,
            activation_function="gelu",
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            bos_token_id=0,
            eos_token_id=0,
        )
    ).eval()
    theirs.load_state_dict(as_gpt2(ours))
    ids = torch.randint(61, (5, 24), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        difference = (ours(ids) - theirs(ids).logits).abs().max()
    assert difference < 1e-5


def as_gpt2(model: GPT3) -> dict[str, torch.Tensor]:
    """Our weights under GPT-2's names; its Conv1D keeps matrices transposed."""
    state = model.state_dict()
    out = {
        "transformer.wte.weight": state["model.embedding_layer.word_embeddings.weight"],
        "transformer.wpe.weight": state["model.embedding_layer.position_embeddings.embed.weight"],
        "transformer.ln_f.weight": state["model.ln_f.weight"],
        "transformer.ln_f.bias": state["model.ln_f.bias"],
        "lm_head.weight": state["model.lm_head.weight"],
    }
    for i in range(len(model.model.transformer_decoder.layers)):
        ours, theirs = f"model.transformer_decoder.layers.{i}.", f"transformer.h.{i}."
        for kind in ("weight", "bias"):
            qkv = [state[f"{ours}self_attn.proj_{p}_dense_layer.{kind}"] for p in "qkv"]
            out[f"{theirs}attn.c_attn.{kind}"] = torch.cat(qkv).t()
            for name, source in {
                "ln_1": "norm1",
                "ln_2": "norm3",
                "attn.c_proj": "self_attn.proj_output_dense_layer",
                "mlp.c_fc": "ffn.ffn.0.linear_layer",
                "mlp.c_proj": "ffn.ffn.1.linear_layer",
            }.items():
                out[f"{theirs}{name}.{kind}"] = state[f"{ours}{source}.{kind}"].t()
    return out


def test_parameter_count_by_hand():
    d, layers, vocab, positions = 32, 3, 61, 24
    matrices = 12 * layers * d * d
    biases = layers * (4 * d + 4 * d + d)  # q, k, v, output; first and second ffn layer
    norms = (2 * layers + 1) * 2 * d
    expected = matrices + biases + norms + (vocab + positions) * d
    assert sum(p.numel() for p in small().parameters()) == expected


def test_the_future_is_not_seen():
    model = small().eval()
    ids = torch.randint(61, (1, 10), generator=torch.Generator().manual_seed(0))
    changed = ids.clone()
    changed[0, 7] = (ids[0, 7] + 1) % 61
    with torch.no_grad():
        a, b = model(ids), model(changed)
    assert torch.equal(a[:, :7], b[:, :7])
    assert not torch.allclose(a[:, 7], b[:, 7])


def test_the_states_of_one_position_are_those_of_the_whole(decoder):
    ids = torch.tensor([[3, 1, 4, 1, 5], [9, 2, 6, 0, 0]])
    with torch.no_grad():
        whole, cache = decoder.hidden_states(ids, keep_cache=True)
        alone, same = decoder.hidden_states(ids, keep_cache=True, at=torch.tensor([4, 2]))
    torch.testing.assert_close(alone, torch.stack([whole[0, 4:], whole[1, 2:3]]))
    for one, other in zip(cache, same, strict=True):
        assert torch.equal(one.keys, other.keys)
        assert torch.equal(one.values, other.values)


def test_virtual_tokens_come_from_the_prompt_and_are_not_predicted():
    model = small(num_virtual_tokens=3).eval()
    ids = torch.tensor([[1, 61, 62, 63, 2]])
    with torch.no_grad():
        before = model(ids)
        model.prompt_embedding.weight[1].add_(1.0)
        after = model(ids)
    assert before.shape == (1, 5, 61)
    assert torch.equal(before[:, :2], after[:, :2])
    assert not torch.allclose(before[:, 2:], after[:, 2:])


def test_the_prompt_learns():
    model = small(num_virtual_tokens=2)
    ids = torch.tensor([[5, 61, 62, 7]])
    loss, _ = LossModule(model)(ids, torch.tensor([7, 8]), torch.tensor([2, 3]))
    loss.backward()
    assert model.prompt_embedding.weight.grad.abs().min() > 0


def test_initialization_is_truncated_scaled_and_seeded():
    model = small(hidden_size=64, filter_size=256, num_heads=4, seed=5)
    layer = model.model.transformer_decoder.layers[0]
    plain, output = layer.self_attn.proj_q_dense_layer.weight, layer.ffn.ffn[1].linear_layer.weight
    scale = 1 / math.sqrt(2 * 3)
    # A normal cut at two standard deviations keeps 0.8796 of its standard deviation.
    assert plain.std().item() == pytest.approx(0.02 * 0.8796, rel=0.05)
    assert output.std().item() == pytest.approx(0.02 * scale * 0.8796, rel=0.05)
    assert plain.abs().max() <= 0.04
    assert output.abs().max() <= 0.04 * scale
    assert torch.count_nonzero(layer.ffn.ffn[0].linear_layer.bias) == 0
    again, other = small(seed=5), small(seed=6)
    first = unique_tensors(small(seed=5))
    assert all(torch.equal(t, first[n]) for n, t in unique_tensors(again).items())
    assert any(not torch.equal(t, first[n]) for n, t in unique_tensors(other).items())


@pytest.mark.parametrize(("low", "high"), [(-0.04, 0.04), (0.01, math.inf), (-math.inf, 0.03)])
def test_cut_normal_numbers_are_the_inverse_of_uniform_ones(low, high):
    """Whatever PyTorch's version makes of a seed."""
    normal = NormalDist(0.01, 0.02)
    drawn = torch.empty(1000)
    Initializer(0.02, 0.01, low, high).fill(drawn, torch.Generator().manual_seed(3))
    shares = torch.rand(1000, generator=torch.Generator().manual_seed(3)).double()
    first, last = normal.cdf(low), normal.cdf(high)
    expected = [normal.inv_cdf(first + u * (last - first)) for u in shares.tolist()]
    assert drawn.tolist() == pytest.approx(expected, rel=1e-3, abs=1e-6)


def test_given_initializers_are_used():
    model = small(initializer=Initializer(0.5), output_layer_initializer=truncated(0.001))
    layer = model.model.transformer_decoder.layers[0]
    assert layer.self_attn.proj_q_dense_layer.weight.std() > 0.4
    assert layer.self_attn.proj_output_dense_layer.weight.abs().max() <= 0.002


def test_loss_of_selected_positions_by_hand():
    model = small().eval()
    ids = torch.tensor([[1, 2, 3], [4, 5, 6]])
    labels = torch.tensor([[2, 3, 4], [5, 6, 7]])
    log_p = torch.log_softmax(model(ids), -1)
    expected = -(log_p[0, 1, 3] + log_p[1, 2, 7])
    loss, _ = LossModule(model)(ids, torch.tensor([3, 7]), torch.tensor([1, 5]))
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    whole, right = LossModule(model)(ids, labels.flatten(), count_right=True)
    every = -log_p.gather(-1, labels.unsqueeze(-1)).sum()
    assert whole.item() == pytest.approx(every.item(), rel=1e-6)
    assert right == (log_p.argmax(-1) == labels).sum()


def test_weights_that_are_loaded_are_not_drawn_before(monkeypatch):
    """Drawing those of the paper's models takes minutes."""
    drawn = small(seed=3)

    def fail(self, weight, generator):
        raise AssertionError("drawn in vain")

    monkeypatch.setattr(Initializer, "fill", fail)
    loaded = small(seed=None)
    loaded.load_state_dict(drawn.state_dict())
    assert loaded.model.lm_head.weight is loaded.model.embedding_layer.word_embeddings.weight
    ids = torch.arange(24).unsqueeze(0)
    assert torch.equal(loaded(ids), drawn(ids))

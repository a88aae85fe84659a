import re

import pytest
import torch

from modelzoo_mediswift.engine import sparse_reading
from modelzoo_mediswift.engine.sparse_reading import CompressedLinear, compress_where_faster
from modelzoo_mediswift.kernels import library
from modelzoo_mediswift.model.generate import greedy, read_prefix
from modelzoo_mediswift.model.gpt3 import GPT3
from modelzoo_mediswift.model.tensors import unique_tensors
from modelzoo_mediswift.sparsity.filters import SparsityRule
from modelzoo_mediswift.sparsity.masking import Masking

needs_kernels = pytest.mark.skipif(
    not library.is_available(), reason="not compiled: python setup.py build_ext --inplace"
)


def make_model() -> GPT3:
    return GPT3(
        vocab_size=40,
        hidden_size=32,
        num_hidden_layers=2,
        num_heads=2,
        filter_size=128,
        max_position_embeddings=32,
        seed=3,
    ).eval()


@pytest.fixture
def loaded() -> tuple[GPT3, dict[str, torch.Tensor]]:
    """A model without masks, and the tensors of its sparse checkpoint."""
    sparse, model = make_model(), make_model()
    Masking(sparse, [SparsityRule(0.75)], seed=0)
    tensors = {n: t.detach().clone() for n, t in unique_tensors(sparse).items()}
    model.load_state_dict(sparse.state_dict(), strict=False)
    return model, tensors


@needs_kernels
@pytest.mark.parametrize("sparse_time", [0.5, 2.0])
def test_compressed_if_faster_and_the_answers_stay(loaded, monkeypatch, capsys, sparse_time):
    model, tensors = loaded
    prompts = [list(range(1, 20)), [8, 9], [10, 11, 12, 13]]  # more than few tokens
    before = read_prefix(model, prompts)
    expected = greedy(model, before, 12, eos_id=39)
    times = iter((1.0, sparse_time))
    monkeypatch.setattr(sparse_reading, "_seconds", lambda layers: next(times))
    faster = sparse_time < 1.0
    assert compress_where_faster(model, tensors) == faster
    masked = {name[: -len(".weight_mask")] for name in tensors if name.endswith("_mask")}
    compressed = {n for n, m in model.named_modules() if isinstance(m, CompressedLinear)}
    assert compressed == (masked if faster else set())
    after = read_prefix(model, prompts)
    torch.testing.assert_close(after.logits, before.logits, rtol=1e-5, atol=1e-6)
    assert greedy(model, after, 12, eos_id=39) == expected
    assert f"dense 1000.0 ms, compressed {1000 * sparse_time:.1f} ms" in capsys.readouterr().err


@needs_kernels
def test_the_measurement_measures(loaded, capsys):
    compress_where_faster(*loaded)
    found = re.search(r"dense ([\d.]+) ms, compressed ([\d.]+) ms", capsys.readouterr().err)
    assert found is not None
    assert float(found[1]) > 0
    assert float(found[2]) > 0


def test_nothing_is_done_without_masks_or_kernels(loaded, monkeypatch, capsys):
    model, tensors = loaded
    dense = {name: tensor for name, tensor in tensors.items() if not name.endswith("_mask")}
    assert not compress_where_faster(model, dense)
    monkeypatch.setattr(sparse_reading, "is_available", lambda: False)
    assert not compress_where_faster(model, tensors)
    assert capsys.readouterr().err == ""

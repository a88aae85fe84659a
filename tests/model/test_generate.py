import pytest
import torch

from modelzoo_mediswift.model.generate import continuation_log_likelihood, greedy, read_prefix
from modelzoo_mediswift.model.gpt3 import GPT3, Initializer

PREFIXES = [[3, 4, 5, 6, 7, 30, 31], [8, 9], [1, 2, 3, 30, 31]]


@pytest.fixture(scope="module")
def model() -> GPT3:
    """Large initial weights, so that predictions differ from token to token."""
    return GPT3(
        vocab_size=30,
        hidden_size=24,
        num_hidden_layers=2,
        num_heads=3,
        filter_size=96,
        max_position_embeddings=16,
        num_virtual_tokens=2,
        initializer=Initializer(0.3),
        embedding_initializer=Initializer(0.5),
    ).eval()


def test_likelihood_equals_one_uncached_pass_per_sequence(model):
    continuation = [11, 12, 13]
    together = continuation_log_likelihood(model, read_prefix(model, PREFIXES), continuation)
    for row, prefix in enumerate(PREFIXES):
        log_p = torch.log_softmax(model(torch.tensor([prefix + continuation])), -1)[0]
        alone = sum(log_p[len(prefix) - 1 + i, t] for i, t in enumerate(continuation))
        assert together[row].item() == pytest.approx(alone.item(), abs=1e-4)


def test_likelihoods_of_all_single_tokens_sum_to_one(model):
    prefix = read_prefix(model, PREFIXES)
    total = sum(continuation_log_likelihood(model, prefix, [t]).exp() for t in range(30))
    assert torch.allclose(total, torch.ones(3), atol=1e-5)


def test_greedy_equals_uncached_argmax(model):
    rows = greedy(model, read_prefix(model, PREFIXES), max_new_tokens=5, eos_id=29)
    for row, prefix in zip(rows, PREFIXES, strict=True):
        ids = list(prefix)
        expected = []
        for _ in range(5):
            token = model(torch.tensor([ids]))[0, -1].argmax().item()
            if token == 29:
                break
            expected.append(token)
            ids.append(token)
        assert row == expected


def test_greedy_stops_at_end_of_text_and_at_the_last_position(model):
    prefix = read_prefix(model, PREFIXES)
    first = greedy(model, prefix, 1, eos_id=29)[0][0]
    assert greedy(model, prefix, 5, eos_id=first)[0] == []
    rows = greedy(model, prefix, 100, eos_id=29)
    assert max(len(p) + len(r) for p, r in zip(PREFIXES, rows, strict=True)) <= 16 + 1

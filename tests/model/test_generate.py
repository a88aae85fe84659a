import pytest
import torch

from modelzoo_mediswift.model.generate import greedy, read_prefix, score_continuations
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


@pytest.mark.parametrize(
    "continuations",
    [
        [[11, 12, 13]],
        [[11]],
        [[11, 12, 13, 29], [11, 12, 14, 15, 29], [11, 12, 13, 15, 29]],
        [[11, 12], [11, 12, 13, 14]],  # one begins the other
        [[11, 29], [12, 13, 29]],  # nothing in common
        [[11], [12]],
    ],
)
def test_likelihood_equals_one_uncached_pass_per_sequence(model, continuations):
    together, _ = score_continuations(model, read_prefix(model, PREFIXES), continuations)
    for row, prefix in enumerate(PREFIXES):
        for column, continuation in enumerate(continuations):
            log_p = torch.log_softmax(model(torch.tensor([prefix + continuation])), -1)[0]
            alone = sum(log_p[len(prefix) - 1 + i, t] for i, t in enumerate(continuation))
            assert together[row, column].item() == pytest.approx(alone.item(), abs=1e-4)


def test_likelihoods_of_all_single_tokens_sum_to_one(model):
    prefix = read_prefix(model, PREFIXES)
    scores, greedily = score_continuations(model, prefix, [[t] for t in range(30)])
    assert torch.allclose(scores.exp().sum(1), torch.ones(3), atol=1e-5)
    assert torch.equal(greedily.sum(1), torch.ones(3, dtype=torch.long))


def test_a_continuation_is_known_to_be_the_greedy_one(model):
    prefix = read_prefix(model, PREFIXES)
    rows = greedy(model, prefix, 4, eos_id=29)
    others = [[*row[:-1], (row[-1] + 1) % 29] for row in rows]
    _, greedily = score_continuations(model, prefix, rows + others)
    for row, produced in enumerate(rows):
        assert greedily[row].tolist() == [r == produced[: len(r)] for r in rows + others]


def test_rows_of_a_prefix_continue_as_before(model):
    prefix = read_prefix(model, PREFIXES)
    chosen = prefix.rows(torch.tensor([2, 0, 2]))
    rows = greedy(model, prefix, 4, eos_id=29)
    assert greedy(model, chosen, 4, eos_id=29) == [rows[2], rows[0], rows[2]]


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

import pytest
import torch

from modelzoo_mediswift.model.generate import greedy, read_prefix, score_continuations

PREFIXES = [[3, 4, 5, 6, 7, 30, 31], [8, 9], [1, 2, 3, 30, 31]]


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
def test_likelihood_equals_one_uncached_pass_per_sequence(decoder, continuations):
    together, _ = score_continuations(decoder, read_prefix(decoder, PREFIXES), continuations)
    for row, prefix in enumerate(PREFIXES):
        for column, continuation in enumerate(continuations):
            log_p = torch.log_softmax(decoder(torch.tensor([prefix + continuation])), -1)[0]
            alone = sum(log_p[len(prefix) - 1 + i, t] for i, t in enumerate(continuation))
            assert together[row, column].item() == pytest.approx(alone.item(), abs=1e-4)


def test_the_last_token_of_a_continuation_needs_no_position(decoder):
    """The decoder has 16, of which the prefix and all other tokens take all."""
    prefix = read_prefix(decoder, [list(range(14))])
    alone, _ = score_continuations(decoder, prefix, [[11, 12, 13]])
    both, _ = score_continuations(decoder, prefix, [[11, 12, 13], [11, 12, 14]])
    assert alone[0, 0].item() == pytest.approx(both[0, 0].item(), abs=1e-5)


def test_likelihoods_of_all_single_tokens_sum_to_one(decoder):
    prefix = read_prefix(decoder, PREFIXES)
    scores, greedily = score_continuations(decoder, prefix, [[t] for t in range(30)])
    assert torch.allclose(scores.exp().sum(1), torch.ones(3), atol=1e-5)
    assert torch.equal(greedily.sum(1), torch.ones(3, dtype=torch.long))


def test_a_continuation_is_known_to_be_the_greedy_one(decoder):
    prefix = read_prefix(decoder, PREFIXES)
    rows = greedy(decoder, prefix, 4, eos_id=29)
    others = [[*row[:-1], (row[-1] + 1) % 29] for row in rows]
    _, greedily = score_continuations(decoder, prefix, rows + others)
    for row, produced in enumerate(rows):
        assert greedily[row].tolist() == [r == produced[: len(r)] for r in rows + others]


def test_rows_of_a_prefix_continue_as_before(decoder):
    prefix = read_prefix(decoder, PREFIXES)
    chosen = prefix.rows(torch.tensor([2, 0, 2]))
    rows = greedy(decoder, prefix, 4, eos_id=29)
    assert greedy(decoder, chosen, 4, eos_id=29) == [rows[2], rows[0], rows[2]]


def test_greedy_equals_uncached_argmax(decoder):
    rows = greedy(decoder, read_prefix(decoder, PREFIXES), max_new_tokens=5, eos_id=29)
    for row, prefix in zip(rows, PREFIXES, strict=True):
        ids = list(prefix)
        expected = []
        for _ in range(5):
            token = decoder(torch.tensor([ids]))[0, -1].argmax().item()
            if token == 29:
                break
            expected.append(token)
            ids.append(token)
        assert row == expected


def test_greedy_stops_at_end_of_text_and_at_the_last_position(decoder):
    prefix = read_prefix(decoder, PREFIXES)
    first = greedy(decoder, prefix, 1, eos_id=29)[0][0]
    assert greedy(decoder, prefix, 5, eos_id=first)[0] == []
    rows = greedy(decoder, prefix, 100, eos_id=29)
    assert max(len(p) + len(r) for p, r in zip(PREFIXES, rows, strict=True)) <= 16 + 1

import itertools

import pytest
import torch

from modelzoo_mediswift.model.beam import beam_search
from modelzoo_mediswift.model.generate import greedy, read_prefix, score_continuations
from modelzoo_mediswift.model.gpt3 import GPT3, Initializer

EOS = 5
PREFIXES = [[3, 4, 0, 1, 2], [2, 1], [4, 4, 6, 7]]


@pytest.fixture(scope="module")
def model() -> GPT3:
    """Six words, so that all continuations can be tried."""
    return GPT3(
        vocab_size=6,
        hidden_size=24,
        num_hidden_layers=2,
        num_heads=3,
        filter_size=96,
        max_position_embeddings=12,
        num_virtual_tokens=2,
        initializer=Initializer(0.3),
        embedding_initializer=Initializer(0.5),
        seed=4,
    ).eval()


def test_enough_beams_find_the_most_likely_of_all(model):
    length = 3
    prefix = read_prefix(model, PREFIXES)
    lengths = set()
    for eos in range(6):
        words = [word for word in range(6) if word != eos]
        whole = [list(c) for n in range(length) for c in itertools.product(words, repeat=n)]
        ended = [[*c, eos] for c in whole]
        cut_off = [list(c) for c in itertools.product(words, repeat=length)]
        scores, _ = score_continuations(model, prefix, ended + cut_off)
        best = [(whole + cut_off)[i] for i in scores.argmax(1).tolist()]
        assert beam_search(model, prefix, 6**length, length, eos) == best
        lengths |= set(map(len, best))
    assert min(lengths) < length == max(lengths)  # some ended before others were cut off


def test_one_beam_is_greedy(model):
    prefix = read_prefix(model, PREFIXES)
    for length in (1, 4, 50):
        assert beam_search(model, prefix, 1, length, EOS) == greedy(model, prefix, length, EOS)


def test_more_beams_are_never_less_likely_here_and_batches_do_not_matter(model):
    together = beam_search(model, read_prefix(model, PREFIXES), 4, 5, EOS)
    for prefix, row in zip(PREFIXES, together, strict=True):
        alone = read_prefix(model, [prefix])
        assert beam_search(model, alone, 4, 5, EOS) == [row]
        plain = greedy(model, alone, 5, EOS)[0]
        both = [[*r, EOS][:5] for r in (row, plain)]
        scores, _ = score_continuations(model, alone, both)
        assert scores[0, 0] >= scores[0, 1] - 1e-5


def test_the_window_is_not_left(model):
    rows = beam_search(model, read_prefix(model, PREFIXES), 3, 100, EOS)
    assert max(len(p) + len(r) for p, r in zip(PREFIXES, rows, strict=True)) <= 12 + 1
    assert all(torch.tensor(row).lt(6).all() for row in rows)

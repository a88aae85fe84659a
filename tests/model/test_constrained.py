import itertools

import pytest
import torch

from modelzoo_mediswift.model.constrained import greedy_within, holds, make_trie
from modelzoo_mediswift.model.generate import greedy, read_prefix
from modelzoo_mediswift.model.gpt3 import GPT3, Initializer

EOS, VOCAB = 0, 12
PROMPTS = [[EOS, 3, 4], [EOS, 5], [EOS, 9, 9, 9, 2], [EOS, 7]]
SEQUENCES = [[1, 2, 3, EOS], [1, 2, 4, 5, EOS], [1, 2, 4, 6, 7, 8, EOS], [1, 2, EOS]]


@pytest.fixture(scope="module")
def model() -> GPT3:
    return GPT3(
        vocab_size=VOCAB,
        hidden_size=16,
        num_hidden_layers=2,
        num_heads=2,
        filter_size=32,
        max_position_embeddings=24,
        initializer=Initializer(0.5),
        embedding_initializer=Initializer(0.7),
    ).eval()


def by_hand(model: GPT3, prompt: list[int]) -> list[int]:
    """The same without cache, trie or batch."""
    said: list[int] = []
    while said[-1:] != [EOS]:
        fitting = [s for s in SEQUENCES if s[: len(said)] == said]
        allowed = sorted({s[len(said)] for s in fitting})
        logits = model(torch.tensor([prompt + said]))[0, -1]
        said.append(max(allowed, key=lambda token: logits[token].item()))
    return said


def test_the_most_likely_allowed_token_each_time(model: GPT3) -> None:
    prefix = read_prefix(model, PROMPTS)
    found = greedy_within(model, prefix, make_trie(SEQUENCES))
    assert found == [by_hand(model, prompt) for prompt in PROMPTS]


def test_where_everything_is_allowed_it_is_greedy_decoding(model: GPT3) -> None:
    prefix = read_prefix(model, PROMPTS)
    words = [list(w) for n in range(3) for w in itertools.product(range(1, VOCAB), repeat=n)]
    free = greedy(model, prefix, 2, EOS)
    found = greedy_within(model, prefix, make_trie([[*w, EOS] for w in words]))
    assert [row[:-1] for row in found] == free


def test_holds_whole_sequences_only() -> None:
    trie = make_trie(SEQUENCES)
    assert all(holds(trie, sequence) for sequence in SEQUENCES)
    assert not holds(trie, [1, 2, 4])
    assert not holds(trie, [1, 2, 3, EOS, EOS])
    assert not holds(trie, [])


def test_no_sequences_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        make_trie([])

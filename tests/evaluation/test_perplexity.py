import math

import pytest
import torch

from modelzoo_mediswift.evaluation.perplexity import text_perplexity, windows
from modelzoo_mediswift.model.gpt3 import GPT3

IDS = [(7 * i * i + i) % 30 for i in range(57)]


def test_windows_by_hand():
    assert windows(8, 16, 8) == [(0, 8, 1)]
    assert windows(5, 4, 2) == [(0, 5, 1)]
    # Four tokens are read at a time, and the one after them is predicted too.
    assert windows(9, 4, 2) == [(0, 5, 1), (2, 7, 5), (4, 9, 7)]
    assert windows(8, 4, 4) == [(0, 5, 1), (3, 8, 5)]


@pytest.mark.parametrize("stride", [1, 5, 8, 16])
@pytest.mark.parametrize("count", [1, 15, 16, 17, 57])
def test_each_token_is_predicted_once_from_what_its_window_reads(decoder, stride, count):
    tokens = [29, *IDS[:count]]
    found = text_perplexity(decoder, IDS[:count], 29, num_bytes=100, stride=stride)
    nats, done = 0.0, 1
    while done < len(tokens):
        end = min(len(tokens), 17 if done == 1 else done + stride)
        start = max(0, end - 17)
        log_p = torch.log_softmax(decoder(torch.tensor([tokens[start : end - 1]])), -1)[0]
        nats -= sum(log_p[i - 1 - start, tokens[i]].item() for i in range(done, end))
        done = end
    assert found.num_tokens == count
    assert found.nats == pytest.approx(nats, rel=1e-5)
    assert found.perplexity == pytest.approx(math.exp(nats / count), rel=1e-5)
    assert found.bits_per_byte == pytest.approx(nats / math.log(2) / 100, rel=1e-5)


def test_a_uniform_model_has_the_vocabulary_as_perplexity():
    even = GPT3(
        vocab_size=30,
        hidden_size=8,
        num_hidden_layers=1,
        num_heads=2,
        filter_size=8,
        max_position_embeddings=16,
    )
    with torch.no_grad():
        even.model.embedding_layer.word_embeddings.weight.zero_()
    assert text_perplexity(even, IDS, 29, num_bytes=57).perplexity == pytest.approx(30)

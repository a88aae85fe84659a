import pytest
import torch

from modelzoo_mediswift.model.generate import greedy, read_prefix
from modelzoo_mediswift.model.sample import Sampling, stream

P = torch.tensor([0.1, 0.5, 0.05, 0.3, 0.05])
N = 4000


def frequencies(sampling: Sampling) -> torch.Tensor:
    drawn = sampling.choose(P.log().expand(N, -1), torch.Generator().manual_seed(0))
    return torch.bincount(drawn, minlength=5) / N


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        (Sampling(), [0, 1, 0, 0, 0]),
        (Sampling(1e-300), [0, 1, 0, 0, 0]),
        (Sampling(1e-29), [0, 1, 0, 0, 0]),
        (Sampling(1.0), [0.1, 0.5, 0.05, 0.3, 0.05]),
        (Sampling(1.0, top_k=2), [0, 5 / 8, 0, 3 / 8, 0]),
        (Sampling(1.0, top_p=0.79), [0, 5 / 8, 0, 3 / 8, 0]),
        (Sampling(1.0, top_p=0.81), [1 / 9, 5 / 9, 0, 3 / 9, 0]),
        (Sampling(1.0, top_p=1e-9), [0, 1, 0, 0, 0]),
        # p^2: 0.01, 0.25, 0.0025, 0.09, 0.0025
        (Sampling(0.5), [0.01 / 0.355, 0.25 / 0.355, 0.0025 / 0.355, 0.09 / 0.355, 0.0025 / 0.355]),
        (Sampling(1.0, top_k=3, top_p=0.6), [0, 5 / 8, 0, 3 / 8, 0]),
    ],
)
def test_tokens_are_drawn_as_often_as_they_are_likely(sampling, expected):
    # Four standard deviations of a frequency of 1/2.
    expected = torch.tensor(expected, dtype=torch.float)
    assert torch.allclose(frequencies(sampling), expected, atol=4 * 0.5 / N**0.5)
    assert (frequencies(sampling)[expected == 0] == 0).all()


def test_of_equals_the_first_suffices_for_its_own_probability():
    generator = torch.Generator().manual_seed(0)
    assert not Sampling(1.0, top_p=0.5).choose(torch.zeros(99, 2), generator).any()


def test_a_stream_is_greedy_or_drawn_by_its_seed(decoder):
    prefix = read_prefix(decoder, [[3, 4, 5]])
    plain = greedy(decoder, prefix, 6, 29)[0]
    assert list(stream(decoder, prefix, Sampling(), 6, 29, seed=0)) == plain
    assert list(stream(decoder, prefix, Sampling(), 6, plain[0], seed=0)) == []
    one, again, other = (
        list(stream(decoder, prefix, Sampling(1.0), 100, 29, seed=seed)) for seed in (1, 1, 2)
    )
    assert one == again != other
    assert len(one) + 3 <= 16 + 1

import torch
from torch import Tensor

from modelzoo_mediswift.model.generate import read_prefix
from modelzoo_mediswift.model.key_values import KeyValues


def pair(length: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(2, 3, length, 4, generator=generator) for _ in range(2))


def test_what_follows_goes_behind_and_both_branches_keep_theirs():
    """The second to be extended from the same place finds it taken, and copies."""
    before, one, other = pair(5, 0), pair(1, 1), pair(1, 2)
    start = KeyValues.of(*before).extended(*pair(1, 3))
    first, second = start.extended(*one), start.extended(*other)
    longer = first.extended(*pair(2, 4))
    for branch, last in ((first, one), (second, other)):
        assert torch.equal(branch.keys[:, :, :5], before[0])
        assert torch.equal(branch.values[:, :, :5], before[1])
        assert torch.equal(branch.keys[:, :, 6:], last[0])
        assert torch.equal(branch.values[:, :, 6:], last[1])
    assert start.keys.shape == (2, 3, 6, 4)
    assert torch.equal(longer.keys[:, :, :7], first.keys)
    assert torch.equal(longer.keys[:, :, 7:], pair(2, 4)[0])


def test_most_extensions_copy_nothing():
    kept = KeyValues.of(*pair(64, 0))
    places = set()
    for n in range(64):
        kept = kept.extended(*pair(1, n))
        places.add(kept.keys.data_ptr())
    assert len(places) <= 4


def test_a_prefix_may_be_extended_in_several_ways(decoder):
    """Each is what reading the whole anew gives, with padding and without."""
    for sequences in ([[1, 2, 3, 4]], [[1, 2, 3], [4, 5, 6]], [[1, 2, 3, 4, 5], [6, 7]]):
        token = {t: torch.full((len(sequences), 1), t) for t in (7, 8, 9)}
        with torch.no_grad():
            prefix = read_prefix(decoder, sequences).extended(decoder, token[7])
            branches = {t: prefix.extended(decoder, token[t]) for t in (8, 9)}
            for t, branch in branches.items():
                found = branch.extended(decoder, token[t])
                expected = read_prefix(decoder, [[*s, 7, t, t] for s in sequences])
                torch.testing.assert_close(found.logits, expected.logits, rtol=1e-4, atol=1e-5)

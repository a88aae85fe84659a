import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.sparsity.filters import SparsityRule
from modelzoo_mediswift.sparsity.gmp import GMP
from modelzoo_mediswift.sparsity.masking import Masking
from modelzoo_mediswift.sparsity.masks import Groups, drop_and_grow, largest, number_kept
from modelzoo_mediswift.sparsity.rigl import RigL
from modelzoo_mediswift.sparsity.schedules import Cycling, Every, Linear, Listed
from modelzoo_mediswift.sparsity.set import SET

SCORES = torch.tensor([[4.0, 3.0], [2.0, -1.0]])


def test_largest_by_hand():
    assert largest(SCORES, 0.5).tolist() == [[True, True], [False, False]]
    assert largest(SCORES, 0.75).tolist() == [[True, False], [False, False]]
    rows, columns = Groups(2), Groups(2, of_inputs=True)
    assert largest(SCORES, 0.5, rows).tolist() == [[True, False], [True, False]]
    assert largest(SCORES, 0.5, columns).tolist() == [[True, True], [False, False]]
    swapped = torch.tensor([[4.0, -1.0], [2.0, 3.0]])
    assert largest(swapped, 0.5, columns).tolist() == [[True, False], [False, True]]


def exchange(weight: list[float], growth: list[float], **settings: float) -> list[int]:
    """Positions kept after an exchange among the non-zero weights."""
    weights = torch.tensor([weight])
    new = drop_and_grow(
        weights.abs(), torch.tensor([growth]).abs(), weights != 0, groups=Groups(), **settings
    )
    return new[0].nonzero().flatten().tolist()


def test_drop_and_grow_by_hand():
    weight = [9.0, -1.0, 0.0, 5.0, 0.0, -7.0, 0.0, 0.0]
    growth = [8.0, 0.0, 1.0, 9.0, -3.0, 0.0, 2.0, 0.0]
    # Of 4 kept, int(0.5 * 4) = 2 stay (9 and -7); 3 has the largest growth score of the others
    # though it was just dropped, then comes 4.
    assert exchange(weight, growth, sparsity=0.5, drop_fraction=0.5) == [0, 3, 4, 5]
    # int((1 - 0.3) * 4) = 2 stay.
    assert exchange(weight, growth, sparsity=0.5, drop_fraction=0.3) == [0, 3, 4, 5]
    # A denser level: 6 of 8 are kept.
    assert exchange(weight, growth, sparsity=0.25, drop_fraction=0.5) == [0, 2, 3, 4, 5, 6]
    # Keeping 2 is more than the level's 1: nothing grows.
    assert exchange(weight, growth, sparsity=0.875, drop_fraction=0.5) == [0, 5]


@given(
    rows=st.sampled_from([2, 4, 8]),
    columns=st.sampled_from([2, 6, 10]),
    sparsity=st.floats(0.0, 0.95),
    drop=st.floats(0.0, 1.0),
    groups=st.sampled_from([Groups(), Groups(2), Groups(2, of_inputs=True)]),
)
def test_an_exchange_keeps_the_number_of_weights_in_each_group(
    rows, columns, sparsity, drop, groups
):
    generator = torch.Generator().manual_seed(rows)
    weight = torch.randn(rows, columns, generator=generator)
    mask = largest(torch.rand(weight.shape, generator=generator), sparsity, groups)
    growth = torch.rand(weight.shape, generator=generator)
    new = drop_and_grow(
        (weight * mask).abs(), growth, mask, sparsity=sparsity, drop_fraction=drop, groups=groups
    )
    size = rows * columns // groups.count
    assert groups.split(new).sum(dim=1).tolist() == [number_kept(size, sparsity)] * groups.count


class Linears(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.first = torch.nn.Linear(8, 8, bias=False)
        self.second = torch.nn.Linear(8, 4, bias=False)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator))


def kept(masking: Masking) -> list[int]:
    return [int(p.mask.sum()) for p in masking.parameters]


def set_gradients(model: torch.nn.Module, step: int) -> None:
    generator = torch.Generator().manual_seed(step)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)


def run(masking: Masking, model: torch.nn.Module, steps: range) -> list[list[int]]:
    """Gradient descent; the numbers kept after each step."""
    counts = []
    for step in steps:
        set_gradients(model, step)
        masking.mask_gradients(step)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= 0.1 * parameter.grad
        masking.change_masks(step)
        counts.append(kept(masking))
        for p in masking.parameters:
            assert torch.count_nonzero(p.weight[~p.mask]) == 0
    return counts


def test_gmp_follows_its_schedule():
    model = Linears()
    rule = SparsityRule(Linear(0.0, 0.125), algorithm="gmp", updates=Every(2, stop=7))
    masking = Masking(model, [rule], seed=0)
    assert kept(masking) == [64, 32]
    assert run(masking, model, range(1, 9)) == [
        [64, 32], [48, 24], [48, 24], [32, 16], [32, 16], [16, 8], [16, 8], [16, 8],
    ]  # fmt: skip


def test_gmp_keeps_the_largest():
    gmp = GMP(SparsityRule(Linear(0.5, 0.0), algorithm="gmp"), seed=0)
    mask = gmp.new_mask("w", SCORES, torch.ones(2, 2, dtype=torch.bool), None, 1)
    assert mask.tolist() == [[True, True], [False, False]]


def test_training_is_dense_until_the_first_change():
    model = Linears()
    rule = SparsityRule(0.75, algorithm="set", updates=Listed(frozenset({2, 3})))
    masking = Masking(model, [rule], seed=0)
    assert kept(masking) == [64, 32]
    # int(0.7 * 64) = 44 stay, which is more than the level's 16; then int(0.7 * 44) = 30.
    assert run(masking, model, range(1, 4)) == [[64, 32], [44, 22], [30, 15]]


def test_a_cycle_counts_the_initial_masks():
    model = Linears()
    rule = SparsityRule(Cycling((0.5, 0.75, 0.25)), algorithm="gmp", updates=Every(2))
    masking = Masking(model, [rule], seed=0)
    assert kept(masking) == [32, 16]
    counts = run(masking, model, range(1, 7))
    assert [c[0] for c in counts] == [32, 16, 16, 48, 48, 32]


@pytest.mark.parametrize("algorithm", ["set", "rigl"])
def test_set_and_rigl_exchange_weights_at_a_constant_level(algorithm):
    model = Linears()
    rule = SparsityRule(0.75, algorithm=algorithm, updates=Every(2, stop=5))
    masking = Masking(model, [rule], seed=0)
    before = [p.mask.clone() for p in masking.parameters]
    assert run(masking, model, range(1, 2)) == [[16, 8]]
    assert all(p.mask.equal(b) for p, b in zip(masking.parameters, before, strict=True))
    assert run(masking, model, range(2, 3)) == [[16, 8]]
    for parameter, mask in zip(masking.parameters, before, strict=True):
        assert not parameter.mask.equal(mask)
        grown = parameter.mask & ~mask
        assert grown.any()
        assert torch.count_nonzero(parameter.weight[grown]) == 0, "grown weights start at zero"


def test_rigl_grows_where_dense_gradients_are_largest():
    rigl = RigL(SparsityRule(0.5, algorithm="rigl", drop_fraction=0.5), seed=0)
    weight = torch.tensor([[3.0, 1.0, 0.0, 0.0]])
    gradient = torch.tensor([[0.0, 0.1, 0.5, -0.9]])
    mask = rigl.new_mask("w", weight, weight != 0, gradient, 1)
    assert mask.tolist() == [[True, False, False, True]]


def test_sets_draws_depend_on_seed_name_and_step_alone():
    rule = SparsityRule(0.5, algorithm="set")
    weight = torch.zeros(4, 4)
    one = SET(rule, 1).growth_scores("a", weight, None, 5)
    assert SET(rule, 1).growth_scores("a", weight, None, 5).equal(one)
    for seed, name, step in ((2, "a", 5), (1, "b", 5), (1, "a", 6)):
        assert not SET(rule, seed).growth_scores(name, weight, None, step).equal(one)


def test_each_block_goes_its_own_way():
    model = Linears()
    rules = [
        SparsityRule(0.5, param_filter=("first*",)),
        SparsityRule(Linear(0.0, 0.25), param_filter=("*",), algorithm="gmp", updates=Every(1)),
    ]
    masking = Masking(model, rules, seed=0)
    assert masking.dynamic
    assert kept(masking) == [32, 32]
    assert run(masking, model, range(1, 4)) == [[32, 24], [32, 16], [32, 8]]


def test_gradients_are_kept_only_for_the_steps_that_need_them():
    model = Linears()
    masking = Masking(model, [SparsityRule(0.5, algorithm="rigl", updates=Every(3))], seed=0)
    for step in (1, 2, 3):
        set_gradients(model, step)
        dense = model.first.weight.grad.clone()
        masking.mask_gradients(step)
        assert torch.count_nonzero(model.first.weight.grad) == 32
        kept_now = masking._gradients.get("first.weight")
        assert (kept_now is not None) == (step == 3)
        if kept_now is not None:
            assert kept_now.equal(dense)
        masking.change_masks(step)
    assert masking._gradients == {}


def test_groups_that_do_not_divide_are_refused():
    rule = SparsityRule(0.5, algorithm="rigl", balance_out_groups=8)
    message = r"balance_out_groups: second.weight of shape \(4, 8\) cannot be divided into 8"
    with pytest.raises(UserError, match=message):
        Masking(Linears(), [rule], seed=0)
    Masking(Linears(), [SparsityRule(0.5, algorithm="rigl", balance_in_groups=8)], seed=0)

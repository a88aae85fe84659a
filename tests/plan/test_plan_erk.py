import math

import pytest

from modelzoo_mediswift.plan.erk import erk_levels

# A layer of width 4: attention 4 x 16 weights, feed-forward 2 x 64, 192 in all.
LAYER = {"q": (4, 4), "k": (4, 4), "v": (4, 4), "o": (4, 4), "up": (16, 4), "down": (4, 16)}


def test_levels_by_hand():
    # (n_in + n_out) is 8 and 20: eps * (4 * 8 + 2 * 20) = 0.25 * 192, so eps = 2/3;
    # densities 2/3 * 8/16 = 1/3 and 2/3 * 20/64 = 5/24.
    levels = erk_levels(LAYER, 0.75)
    assert [levels[n] for n in ("q", "k", "v", "o")] == pytest.approx([2 / 3] * 4)
    assert [levels[n] for n in ("up", "down")] == pytest.approx([19 / 24] * 2)


def test_what_would_exceed_one_is_dense():
    # 0.8 * 192 = 153.6 weights; attention is dense with 64, and 89.6 of 128 are 70 %.
    levels = erk_levels(LAYER, 0.2)
    assert [levels[n] for n in ("q", "k", "v", "o")] == [0.0] * 4
    assert [levels[n] for n in ("up", "down")] == pytest.approx([0.3] * 2)


@pytest.mark.parametrize("sparsity", [0.0, 0.1, 0.5, 0.9, 0.99])
def test_the_whole_has_the_level(sparsity):
    shapes = LAYER | {"thin": (2, 100), "wide": (300, 200)}
    levels = erk_levels(shapes, sparsity)
    zeros = sum(levels[name] * math.prod(shape) for name, shape in shapes.items())
    assert zeros == pytest.approx(sparsity * sum(map(math.prod, shapes.values())), abs=1e-6)
    assert all(0 <= level < 1 for level in levels.values())

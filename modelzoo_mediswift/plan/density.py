"""How sparse masks are over a whole run, where their level changes."""

from collections.abc import Sequence
from itertools import pairwise

from modelzoo_mediswift.plan.inputs import SparsityBlock


def mean_sparsity(block: SparsityBlock, steps: int | None) -> float:
    """The level in force, averaged over the optimizer steps of a run.

    A level is in force from the change of the masks that brings it until the next; before the
    first change training is dense. Where the number of steps is not known, it is the level that
    training starts with.
    """
    steps = steps or 1
    changes = _changes(block, steps)
    if not changes:
        return 0.0
    if isinstance(block.sparsity, float):
        return block.sparsity * (steps - changes[0]) / steps
    last, rest = len(changes) - 1, steps - changes[-1]
    if isinstance(changes, range):  # in closed form: it may have a billion steps
        total = changes.step * block.sparsity.total(changes[:-1])
    else:
        total = sum(
            (after - change) * _level(block, change, i)
            for i, (change, after) in enumerate(pairwise(changes))
        )
    return (total + rest * _level(block, changes[-1], last)) / steps


def gradient_share(block: SparsityBlock, steps: int | None) -> float:
    """The share of a run's steps after which RigL needs the gradients of masked weights."""
    if block.algorithm != "rigl":
        return 0.0
    if block.update is None or not steps:
        return 1.0
    changes = _changes(block, steps + 1)
    return (len(changes) - (0 in changes)) / steps


def _changes(block: SparsityBlock, stop: int) -> Sequence[int]:
    """The steps before `stop` after which masks change."""
    return range(stop) if block.update is None else block.update.before(stop)


def _level(block: SparsityBlock, step: int, changes: int) -> float:
    if isinstance(block.sparsity, float):
        return block.sparsity
    return min(max(block.sparsity.at(step, changes), 0.0), 1.0)

"""How sparse masks are over a whole run, where their level changes."""

from modelzoo_mediswift.plan.inputs import SparsityBlock


def mean_sparsity(block: SparsityBlock, steps: int | None) -> float:
    """The level in force, averaged over the optimizer steps of a run.

    A level is in force from the change of the masks that brings it until the next; before the
    first change training is dense. Where the number of steps is not known, it is the level that
    training starts with.
    """
    if isinstance(block.sparsity, float) and (block.update is None or block.update.has(0)):
        return block.sparsity
    level, changes, total = 0.0, 0, 0.0
    for step in range(steps or 1):
        if block.update is None or block.update.has(step):
            level = _level(block, step, changes)
            changes += 1
        total += level
    return total / (steps or 1)


def gradient_share(block: SparsityBlock, steps: int | None) -> float:
    """The share of a run's steps after which RigL needs the gradients of masked weights."""
    if block.algorithm != "rigl":
        return 0.0
    if block.update is None or not steps:
        return 1.0
    return sum(block.update.has(step) for step in range(1, steps + 1)) / steps


def _level(block: SparsityBlock, step: int, changes: int) -> float:
    if isinstance(block.sparsity, float):
        return block.sparsity
    return min(max(block.sparsity.at(step, changes), 0.0), 1.0)

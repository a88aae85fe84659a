"""Erdos-Renyi-Kernel levels: thin layers keep a larger share of their weights (RigL's paper, 3).

A matrix of n_in inputs and n_out outputs gets the density eps * (n_in + n_out) / (n_in * n_out),
with one eps for all, such that the whole has the level asked for. Where that would exceed 1 the
matrix is dense, and eps is found for the others.
"""

import math
from collections.abc import Mapping

Shape = tuple[int, ...]


def erk_levels(shapes: Mapping[str, Shape], sparsity: float) -> dict[str, float]:
    """Name -> fraction of zeros, 0 for a matrix that stays dense.

    ``sparsity`` is the fraction of zeros of all the matrices together.
    """
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    kept = (1 - sparsity) * sum(sizes.values())
    dense: set[str] = set()
    while True:
        others = [name for name in shapes if name not in dense]
        share = sum(sum(shapes[name]) for name in others)
        eps = (kept - sum(sizes[name] for name in dense)) / share if share else 0.0
        over = {name for name in others if eps * sum(shapes[name]) > sizes[name]}
        if not over:
            break
        dense |= over
    return {
        name: 0.0 if name in dense else 1 - eps * sum(shapes[name]) / sizes[name] for name in shapes
    }

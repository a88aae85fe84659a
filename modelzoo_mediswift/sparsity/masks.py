"""Which weights stay: the masks that a run starts from. True means kept."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor


def number_kept(numel: int, sparsity: float) -> int:
    """int((1 - sparsity) * numel), in single precision as cstorch computes it.

    In double precision 1 - 0.9 falls just short of 0.1, so that 10 weights at 90 % would
    keep none; in single precision they keep one, as on the CS system.
    """
    return int((np.float32(1) - np.float32(sparsity)) * np.float32(numel))


def parameter_generator(seed: int, name: str) -> torch.Generator:
    """A generator of its own for each parameter, so that a mask depends on (seed, name) alone."""
    digest = hashlib.blake2b(f"{seed}:{name}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)


def random_mask(weight: Tensor, sparsity: float, generator: torch.Generator) -> Tensor:
    """Uniformly random positions."""
    scores = torch.rand(weight.numel(), generator=generator)
    return _largest(scores, number_kept(weight.numel(), sparsity)).view(weight.shape)


def topk_mask(weight: Tensor, sparsity: float, generator: torch.Generator) -> Tensor:
    """The weights of largest magnitude."""
    scores = weight.detach().abs().flatten().cpu()
    return _largest(scores, number_kept(weight.numel(), sparsity)).view(weight.shape)


def from_zeros_mask(weight: Tensor, sparsity: float, generator: torch.Generator) -> Tensor:
    """The weights that are not zero now, whatever level was asked for (as in cstorch)."""
    return (weight.detach() != 0).cpu()


def checkerboard_mask(weight: Tensor, sparsity: float, generator: torch.Generator) -> Tensor:
    """Kept weights at even distances along each row, shifted from row to row.

    Column c is kept where floor(c * density) steps up; the shift makes columns even too.
    """
    density = 1.0 - float(np.float32(sparsity))  # cstorch rounds the level to single precision
    columns = weight.shape[-1]
    # One kept weight every 1/density columns: a row that long beyond the end keeps rolls even.
    padding = math.ceil(columns / density + 1e-5)
    steps = torch.floor(torch.arange(columns + padding) * density + 1e-5)
    row = steps[1:] != steps[:-1]
    if weight.dim() != 2:
        return row[:columns].expand(weight.shape).clone()
    shift = -math.floor(1.0 / density - 1e-5)
    return torch.stack([row.roll(i * shift)[:columns] for i in range(weight.shape[0])])


def _largest(scores: Tensor, count: int) -> Tensor:
    """A flat mask with exactly `count` True, at the largest scores."""
    mask = torch.zeros(scores.numel(), dtype=torch.bool)
    mask[torch.topk(scores, count, sorted=False).indices] = True
    return mask


INIT_METHODS: dict[str, Callable[[Tensor, float, torch.Generator], Tensor]] = {
    "random": random_mask,
    "topk": topk_mask,
    "from_zeros": from_zeros_mask,
    "checkerboard": checkerboard_mask,
}

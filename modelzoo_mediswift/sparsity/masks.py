"""Which weights stay: masks from scores. True means kept."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from modelzoo_mediswift.errors import UserError


def number_kept(numel: int, sparsity: float) -> int:
    """int((1 - sparsity) * numel), in single precision as cstorch computes it.

    In double precision 1 - 0.9 falls just short of 0.1, so that 10 weights at 90 % would
    keep none; in single precision they keep one, as on the CS system.
    """
    return int((np.float32(1) - np.float32(sparsity)) * np.float32(numel))


def parameter_generator(seed: int, name: str, step: int = 0) -> torch.Generator:
    """A generator for each parameter and step: what is drawn depends on nothing else."""
    key = f"{seed}:{name}:{step}" if step else f"{seed}:{name}"
    digest = hashlib.blake2b(key.encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)


@dataclass(frozen=True)
class Groups:
    """Equal parts of a matrix that keep equally many weights; one part is the whole."""

    count: int = 1
    of_inputs: bool = False  # else of outputs, the rows of a weight

    def split(self, weight: Tensor) -> Tensor:
        """One row for each part."""
        return (weight.t() if self.of_inputs else weight).reshape(self.count, -1)

    def join(self, parts: Tensor, shape: torch.Size) -> Tensor:
        """The inverse of `split`."""
        if self.of_inputs:
            return parts.view(shape[::-1]).t().contiguous()
        return parts.view(shape)

    def check(self, name: str, shape: torch.Size) -> None:
        """Raise UserError where a parameter cannot be divided so."""
        if self.count == 1:
            return
        key, side = ("in", "inputs") if self.of_inputs else ("out", "outputs")
        size = shape[1 if self.of_inputs else 0] if len(shape) == 2 else 0
        if size == 0 or size % self.count:
            raise UserError(
                f"sparsity.balance_{key}_groups: {name} of shape {tuple(shape)} cannot be divided "
                f"into {self.count} equal groups of {side}"
            )


WHOLE = Groups()


def random_mask(
    weight: Tensor, sparsity: float, generator: torch.Generator, groups: Groups = WHOLE
) -> Tensor:
    """Uniformly random positions."""
    scores = torch.rand(weight.numel(), generator=generator).view(weight.shape)
    return largest(scores, sparsity, groups)


def topk_mask(
    weight: Tensor, sparsity: float, generator: torch.Generator, groups: Groups = WHOLE
) -> Tensor:
    """The weights of largest magnitude."""
    return largest(weight.detach().abs().cpu(), sparsity, groups)


def from_zeros_mask(
    weight: Tensor, sparsity: float, generator: torch.Generator, groups: Groups = WHOLE
) -> Tensor:
    """The weights that are not zero now, whatever level was asked for (as in cstorch)."""
    return (weight.detach() != 0).cpu()


def checkerboard_mask(
    weight: Tensor, sparsity: float, generator: torch.Generator, groups: Groups = WHOLE
) -> Tensor:
    """Kept weights at even distances along each row, shifted from row to row.

    Column c is kept where floor(c * density) steps up; the shift makes columns even too.
    """
    density = 1.0 - float(np.float32(sparsity))  # cstorch rounds the level to single precision
    if density <= 0.0:
        return torch.zeros_like(weight, dtype=torch.bool, device="cpu")
    columns = weight.shape[-1]
    # The row is drawn 1/density columns too long, so that rolling it leaves no uneven seam.
    padding = math.ceil(columns / density + 1e-5)
    steps = torch.floor(torch.arange(columns + padding) * density + 1e-5)
    row = steps[1:] != steps[:-1]
    if weight.dim() != 2:
        return row[:columns].expand(weight.shape).clone()
    shift = -math.floor(1.0 / density - 1e-5)
    return torch.stack([row.roll(i * shift)[:columns] for i in range(weight.shape[0])])


def largest(scores: Tensor, sparsity: float, groups: Groups = WHOLE) -> Tensor:
    """A mask that keeps the positions with the largest scores."""
    parts = groups.split(scores)
    return groups.join(_top(parts, number_kept(parts.shape[1], sparsity)), scores.shape)


def drop_and_grow(
    weight_scores: Tensor,
    growth_scores: Tensor,
    mask: Tensor,
    *,
    sparsity: float,
    drop_fraction: float,
    groups: Groups = WHOLE,
) -> Tensor:
    """Drop the kept weights with the smallest scores, then keep others up to the level.

    Others are the positions with the largest growth scores, those just dropped among them. Where
    more stay than the level allows, as after it has risen, nothing grows.
    """
    weights, grown = groups.split(weight_scores), groups.split(growth_scores)
    kept = np.float32(int(mask.sum())) / np.float32(groups.count)
    stay = int((np.float32(1) - np.float32(drop_fraction)) * kept)
    staying = _top(weights, stay)
    missing = max(number_kept(weights.shape[1], sparsity) - stay, 0)
    new = staying | _top(grown.masked_fill(staying, -math.inf), missing)
    return groups.join(new, mask.shape)


def _top(parts: Tensor, count: int) -> Tensor:
    """In each row exactly `count` True, at the largest scores."""
    mask = torch.zeros_like(parts, dtype=torch.bool)
    return mask.scatter_(1, torch.topk(parts, count, dim=1, sorted=False).indices, True)


INIT_METHODS: dict[str, Callable[[Tensor, float, torch.Generator, Groups], Tensor]] = {
    "random": random_mask,
    "topk": topk_mask,
    "from_zeros": from_zeros_mask,
    "checkerboard": checkerboard_mask,
}

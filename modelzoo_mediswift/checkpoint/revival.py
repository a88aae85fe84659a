"""The weights that a mask held: where they start in dense fine-tuning, and where they went."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from modelzoo_mediswift.checkpoint.tensor_file import write_tensors
from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.model.gpt3 import GPT3
from modelzoo_mediswift.model.tensors import unique_tensors
from modelzoo_mediswift.sparsity.masks import parameter_generator

REVIVED_FILE = "revived.safetensors"
"""In a run's folder: a bit per weight of each matrix that was sparse, 1 where it was revived."""


@dataclass(frozen=True)
class RevivalInit:
    """Where revived weights start: at zero, or drawn with mean zero and a standard deviation of
    `scale` times that of the matrix's kept weights (Evci et al. 2020 compare such draws)."""

    method: str = "zeros"
    scale: float = 1.0
    seed: int = 0

    def draw(self, name: str, weight: Tensor, revived: Tensor) -> Tensor:
        """`weight` with its `revived` places filled; what is drawn depends on seed and name."""
        if self.method == "zeros":
            return weight
        generator = parameter_generator(self.seed, f"revived {name}")
        kept = weight[~revived]
        deviation = self.scale * float(kept.std(correction=0)) if kept.numel() else 0.0
        drawn = torch.empty_like(weight)
        if self.method == "scaled_normal":
            drawn.normal_(0.0, deviation, generator=generator)
        else:
            bound = deviation * 3**0.5  # a uniform draw on [-b, b] deviates by b / sqrt(3)
            drawn.uniform_(-bound, bound, generator=generator)
        return torch.where(revived, drawn, weight)


@dataclass(frozen=True)
class Revival:
    """Which weights were revived, and what that did to the function."""

    revived: dict[str, Tensor] = field(default_factory=dict)
    """Bool, by parameter name: the places that the masks held at zero."""
    init: RevivalInit = RevivalInit()
    max_logit_difference: float = 0.0
    """Between the model with masks and without, on the probe of `densify`."""

    @property
    def count(self) -> int:
        return sum(int(places.sum()) for places in self.revived.values())

    def facts(self) -> dict[str, Any]:
        """Entries of the run record."""
        if not self.count:
            return {"revived_weights": 0}
        check: dict[str, Any] = {"init": self.init.method}
        if self.init.method != "zeros":
            check |= {"scale": self.init.scale, "seed": self.init.seed}
        check["max_logit_difference"] = self.max_logit_difference
        return {"revived_weights": self.count, "revival_check": check}

    def save(self, model_dir: Path) -> None:
        """Keep the places for the end of this run, and for runs that continue from it."""
        if self.revived:
            model_dir.mkdir(parents=True, exist_ok=True)
            packed = {n: torch.from_numpy(_pack(places)) for n, places in self.revived.items()}
            write_tensors(model_dir / REVIVED_FILE, packed)


def _pack(places: Tensor) -> np.ndarray:
    return np.packbits(places.cpu().numpy())


def load_places(model: GPT3, run_dir: Path) -> dict[str, Tensor]:
    """The revived places of the run in `run_dir`, by parameter name; empty where it has none.

    Raises UserError for a damaged file.
    """
    path = run_dir / REVIVED_FILE
    if not path.is_file():
        return {}
    try:
        packed = load_file(path)
    except SafetensorError as error:
        raise UserError(
            f"{path}: damaged ({error}); without it revived weights are not counted"
        ) from error
    shapes = {name: tensor.shape for name, tensor in unique_tensors(model).items()}
    places = {}
    for name, bits in packed.items():
        if name in shapes:
            flat = np.unpackbits(bits.numpy(), count=shapes[name].numel())
            places[name] = torch.from_numpy(flat.astype(bool)).view(shapes[name])
    return places


@torch.no_grad()
def count_moved(tensors: Mapping[str, Tensor], revived: Mapping[str, Tensor]) -> int:
    """How many revived weights are not zero now."""
    return sum(
        int(((tensors[name] != 0) & places.to(tensors[name].device)).sum())
        for name, places in revived.items()
    )

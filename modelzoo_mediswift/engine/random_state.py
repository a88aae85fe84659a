"""The random generators of all processes of a run, as a checkpoint holds them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from modelzoo_mediswift.engine.processes import Processes


def random_state(device: torch.device, processes: Processes) -> dict[str, Tensor]:
    """Each process's generators; the first one's without a number."""
    own = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        own["cuda"] = torch.cuda.get_rng_state(device)
    return {
        key if rank == 0 else f"{key}.{rank}": tensor
        for key, value in own.items()
        for rank, tensor in enumerate(processes.gather(value))
    }


def load_random_state(
    rng: Mapping[str, Tensor], device: torch.device, processes: Processes
) -> None:
    """A process that the saved run did not have keeps the generator that it started with."""
    suffix = "" if processes.first else f".{processes.rank}"
    if f"cpu{suffix}" in rng:
        torch.set_rng_state(rng[f"cpu{suffix}"])
    if f"cuda{suffix}" in rng and device.type == "cuda":
        torch.cuda.set_rng_state(rng[f"cuda{suffix}"], device)

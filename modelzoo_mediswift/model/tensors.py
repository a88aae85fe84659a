"""A model's tensors by name, and loading them strictly."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from modelzoo_mediswift.errors import UserError


def unique_tensors(model: nn.Module) -> dict[str, Tensor]:
    """The state dict with each tied tensor once, under its first name."""
    seen: set[int] = set()
    unique = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            unique[name] = tensor
    return unique


@torch.no_grad()
def load_tensors(model: nn.Module, tensors: Mapping[str, Tensor], strict: bool = True) -> None:
    """Copy `tensors` into the model; raises UserError as `check_fit` does."""
    for name, target in check_fit(model, tensors, strict).items():
        target.copy_(tensors[name])


def check_fit(
    model: nn.Module, tensors: Mapping[str, Tensor], strict: bool = True
) -> dict[str, Tensor]:
    """The tensors of the model that `tensors` has, each once.

    Raises UserError for a tensor of another shape and, if `strict`, for a missing or unexpected
    one.
    """
    wanted = unique_tensors(model)
    known = set(model.state_dict(keep_vars=True))
    missing = sorted(set(wanted) - set(tensors))
    unexpected = sorted(set(tensors) - known)
    if strict and (missing or unexpected):
        raise UserError(f"the checkpoint does not fit the model: {_misfit(missing, unexpected)}")
    present = {name: target for name, target in wanted.items() if name in tensors}
    for name, target in present.items():
        if target.shape != tensors[name].shape:
            raise UserError(
                f"the checkpoint does not fit the model: {name} is "
                f"{tuple(tensors[name].shape)} there, {tuple(target.shape)} here"
            )
    return present


def _misfit(missing: list[str], unexpected: list[str]) -> str:
    """What does not fit, with the usual remedy where there is one."""
    parts = [
        f"{who} {len(names)} tensors ({', '.join(names[:2])}{', ...' * (len(names) > 2)})"
        for who, names in (("it lacks", missing), ("the model lacks", unexpected))
        if names
    ]
    if unexpected and all(name.endswith("_mask") for name in unexpected):
        parts.append("it is sparse and the model is dense: add DensifyOnLoad to the callbacks")
    if missing and all(name.endswith("_mask") for name in missing):
        parts.append("it is dense and the configuration asks for sparsity")
    return "; ".join(parts)

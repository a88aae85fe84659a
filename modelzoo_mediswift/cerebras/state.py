"""Between the library's objects and an engine's state, whose names are every device's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cerebras.pytorch as cstorch
import torch
from torch import Tensor

from modelzoo_mediswift.cerebras.program import TracedGPT3
from modelzoo_mediswift.cerebras.update import Update
from modelzoo_mediswift.engine.base import EngineState
from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.model.tensors import check_fit, unique_tensors
from modelzoo_mediswift.optim.adamw import MOMENTS, POWERS
from modelzoo_mediswift.sparsity.masking import MASK_SUFFIX

SCALER = "grad_scaler"
SCHEDULE = "schedule.last_epoch"


def snapshot(model: TracedGPT3, update: Update | None, step: int) -> dict[str, Any]:
    """What `cstorch.save` is to write: tensors where they are, each once."""
    optimizer: dict[str, Any] = {}
    if update is not None:
        for name, parameter in zip(update.names, update.parameters, strict=True):
            for key, value in update.optimizer.state[parameter].items():
                optimizer[f"{name}.{key}"] = value
        if update.scheduler is not None:
            optimizer[SCHEDULE] = update.scheduler.last_epoch
        if update.scaler is not None:
            for key, value in update.scaler.state_dict().items():
                optimizer[f"{SCALER}.{key}"] = value
    once = unique_tensors(model)
    weights = {name: tensor for name, tensor in model.state_dict().items() if name in once}
    return {"step": step, "model": weights, "optimizer": optimizer}


def read_snapshot(path: Path) -> EngineState:
    saved = cstorch.load(path, map_location="cpu")
    optimizer = {name: _in_memory(value) for name, value in saved["optimizer"].items()}
    step = float(saved["step"])
    for name in [n.removesuffix(".exp_avg") for n in optimizer if n.endswith(".exp_avg")]:
        # PyTorch's AdamW counts its steps; the library keeps beta ** steps instead.
        optimizer[f"{name}.step"] = torch.tensor(step)
    model = {name: _in_memory(tensor) for name, tensor in saved["model"].items()}
    for name in [n for n in model if n.endswith(MASK_SUFFIX)]:
        model[name.removesuffix(MASK_SUFFIX)].mul_(model[name])  # done by the first step otherwise
    return EngineState(
        model=model,
        optimizer=optimizer,
        rng={"cpu": torch.get_rng_state()},
    )


def _in_memory(value: Any) -> Tensor:
    """An ordinary tensor; the library gives one that reads the file when it is used."""
    if not isinstance(value, Tensor):
        return torch.tensor(value)
    return torch.empty(value.shape, dtype=value.dtype).copy_(value)


@torch.no_grad()
def restore(state: EngineState, backend: Any, model: TracedGPT3, update: Update | None) -> int:
    """Put a state on the device; returns the step that it belongs to.

    Raises UserError where names or shapes do not fit.
    """
    check_fit(model, state.model)
    saved = state.optimizer if update is not None else {}
    step, optimizer = _moments(saved, update) if update is not None and saved else (0, None)
    # The library does not count steps that it skipped for a gradient that overflowed.
    done = int(saved[SCHEDULE].item()) if SCHEDULE in saved else step
    scaler = _without_prefix(saved, SCALER)
    with backend.device:  # without it a system's copy of a tensor has no content
        # Not strict, since tied tensors come once; this way the library notes that it has masks.
        model.load_state_dict(state.model, strict=False)
    if update is not None and optimizer is not None:
        update.optimizer.load_state_dict(optimizer)
        if update.scheduler is not None:
            _move_schedule(update.scheduler, done)
        if update.sparsity is not None and done:
            _move_sparsity(update.sparsity, done)
        if update.scaler is not None and scaler:
            update.scaler.load_state_dict(scaler)
    if "cpu" in state.rng:
        torch.set_rng_state(state.rng["cpu"])
    return step


def put_masks(masks: Mapping[str, Tensor], backend: Any, model: TracedGPT3) -> None:
    """Give the masks of a fresh run to the library, which then draws none."""
    state = {name + MASK_SUFFIX: mask for name, mask in masks.items()}
    expected = {name for name in unique_tensors(model) if name.endswith(MASK_SUFFIX)}
    assert state.keys() == expected, "the library masks other parameters"
    with backend.device:
        model.load_state_dict(state, strict=False)


def _moments(saved: dict[str, Tensor], update: Update) -> tuple[int, dict[str, Any]]:
    """The step, and the optimizer's state dict filled from `<parameter>.<slot>`."""
    target = update.optimizer.state_dict()
    names = iter(update.names)
    step = 0
    for group in target["param_groups"]:
        for index in group["params"]:
            name = next(names)
            slots = target["state"][index]
            try:
                step = int(saved[f"{name}.step"].item())
                slots.update({key: saved[f"{name}.{key}"] for key in MOMENTS})
            except KeyError as error:
                raise UserError(f"the checkpoint has no optimizer state {error}") from error
            for key, beta in zip(POWERS, group["betas"], strict=True):
                # Absent in a checkpoint of another device, which counts steps instead.
                power = torch.tensor(beta ** (step + 1), dtype=torch.float32)
                slots[key] = saved.get(f"{name}.{key}", power)
    return step, target


def _move_schedule(scheduler: Any, step: int) -> None:
    """Set a schedule to where it is after `step` steps."""
    state = scheduler.state_dict()
    state["last_epoch"] = torch.tensor(step)
    starts = (0, *state.get("_milestones", ()))
    for part, start in zip(state.get("_schedulers", ()), starts, strict=False):
        part["last_epoch"] = torch.tensor(max(0, step - start))
    scheduler.load_state_dict(state)
    if not cstorch.use_cs():
        scheduler.update_last_value()


def _move_sparsity(sparsity: Any, step: int) -> None:
    """Set the library's count of steps, which says when masks change and how far.

    Raises UserError for cycling levels: the library forgets where it is in them.
    """
    states = sparsity.state_dict()
    if any(state.get("sparsity") for state in states):
        raise UserError(
            "trainer.init.sparsity: the Cerebras library cannot continue a cycling schedule of "
            "levels; expected another type, or a run from step 0"
        )
    sparsity.load_state_dict(
        [s | {"step": torch.tensor(step)} if "step" in s else s for s in states]
    )


def _without_prefix(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    start = prefix + "."
    return {n.removeprefix(start): t for n, t in tensors.items() if n.startswith(start)}

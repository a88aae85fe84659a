"""Between an engine's state and a checkpoint directory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from modelzoo_mediswift.checkpoint.directory import (
    Checkpoint,
    keep_newest,
    save_checkpoint,
    step_path,
)
from modelzoo_mediswift.engine.base import EngineState


@dataclass(frozen=True)
class Checkpointing:
    """Where and how a run saves."""

    model_dir: Path
    config: str = ""
    data: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    keep: int | None = None  # None: all
    writes: bool = True  # of several processes one does

    def save(self, step: int, state: EngineState, loader: dict[str, Any]) -> Path:
        """Write the checkpoint of a step."""
        if not self.writes:
            return step_path(self.model_dir, step)
        training = _prefixed("optimizer", state.optimizer) | _prefixed("rng", state.rng)
        return save_checkpoint(
            Checkpoint(
                step=step,
                model=state.model,
                training=training,
                loader=loader,
                data=self.data,
                config=self.config,
                versions=self.versions,
            ),
            self.model_dir,
        )

    def delete_old(self, best: int | None) -> None:
        """Delete what is too old, but for the checkpoint of step `best`."""
        if self.writes and self.keep is not None:
            keep_newest(self.model_dir, self.keep, best)


def engine_state(checkpoint: Checkpoint) -> EngineState:
    """The engine's part of a checkpoint."""
    return EngineState(
        model=checkpoint.model,
        optimizer=_unprefixed("optimizer", checkpoint.training),
        rng=_unprefixed("rng", checkpoint.training),
    )


def _prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def _unprefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    start = prefix + "."
    return {n.removeprefix(start): t for n, t in tensors.items() if n.startswith(start)}

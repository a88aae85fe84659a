"""From a configuration to where a run starts: the checkpoint, and what is taken from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from modelzoo_mediswift.checkpoint.densify import load_dense, with_prompt
from modelzoo_mediswift.checkpoint.directory import (
    Checkpoint,
    is_of,
    load_checkpoint,
    newest_checkpoint,
)
from modelzoo_mediswift.checkpoint.revival import Revival, RevivalInit, load_places
from modelzoo_mediswift.config.callbacks import LoadCheckpointStates
from modelzoo_mediswift.config.fine_tuning import DensifyOnLoad
from modelzoo_mediswift.config.trainer import NEWEST, InitConfig, TrainerConfig
from modelzoo_mediswift.data.hdf5 import SequenceSource
from modelzoo_mediswift.engine.base import Engine
from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.model.gpt3 import GPT3
from modelzoo_mediswift.model.tensors import load_tensors
from modelzoo_mediswift.trainer.checkpointing import engine_state
from modelzoo_mediswift.trainer.trainer import Loader


@dataclass
class Start:
    """A checkpoint, or the initial weights. First `load_weights`, before there is an engine; then
    `restore`."""

    path: Path | None = None
    checkpoint: Checkpoint | None = None
    weights_only: bool = False  # another run's: its weights are taken, and the steps begin at 0
    step: int = 0  # steps done, known after `restore`
    revival: Revival = field(default_factory=Revival)
    """What `load_weights` made dense."""
    revived: dict[str, Tensor] = field(default_factory=dict)
    """The places that this run revived, or the run that it continues or has its weights from."""

    @property
    def continues(self) -> bool:
        """Whether `restore` takes everything from the checkpoint."""
        return self.checkpoint is not None and not self.weights_only

    def load_weights(self, init: InitConfig, model: GPT3, seed: int) -> None:
        """Take the weights of another run, if that is the start.

        Without DensifyOnLoad the checkpoint's masks are taken too and stay. A soft prompt that it
        does not have keeps its initial values.
        """
        if self.path is None or self.checkpoint is None:
            return
        densify = init.callback(DensifyOnLoad)
        if self.weights_only and densify:
            given = seed if densify.seed is None else densify.seed
            where = RevivalInit(densify.init, densify.scale, given)
            self.revival = load_dense(model, self.checkpoint.model, self.path, where)
        elif self.weights_only:
            strict = not init.checkpoint.disable_strict_checkpoint_loading
            load_tensors(model, with_prompt(model, self.checkpoint.model), strict)
        self.revived = self.revival.revived or load_places(model, self.path.parent)

    def restore(self, engine: Engine, loader: Loader) -> None:
        """Continue the checkpoint's run, if that is the start."""
        if self.checkpoint is None or not self.continues:
            return
        engine.load_state(engine_state(self.checkpoint))
        loader.load_state_dict(self.checkpoint.loader)
        self.step = self.checkpoint.step

    def facts(self) -> dict[str, Any]:
        """Entries of the run record."""
        return {
            "started_from": str(self.path) if self.path else None,
            "started_from_sha256": self.checkpoint.sha256 if self.checkpoint else None,
            **self.revival.facts(),
        }


def find_start(
    config: TrainerConfig,
    source: SequenceSource,
    *,
    resume: bool = False,
    load_states: str | None = None,
) -> Start:
    """With `resume`, the newest checkpoint in model_dir goes before fit.ckpt_path. `load_states`
    ("all" or "model") replaces what the callback LoadCheckpointStates says."""
    model_dir = Path(config.init.model_dir)
    path = _start_path(config, model_dir, resume)
    if path is None:
        return Start()
    checkpoint = load_checkpoint(path)
    _check_tokenizer(checkpoint, source, path)
    callback = config.init.callback(LoadCheckpointStates)
    states = load_states or (callback.load_checkpoint_states if callback else "all")
    weights_only = states == "model" and not is_of(model_dir, path)
    return Start(path, checkpoint, weights_only)


def load_for_evaluation(model: GPT3, path: Path | None) -> int:
    """Load the checkpoint `path`, if any; returns its step."""
    if path is None:
        return 0
    checkpoint = load_checkpoint(path)
    load_dense(model, checkpoint.model, path)  # zeros need no mask to be evaluated
    return checkpoint.step


def _start_path(config: TrainerConfig, model_dir: Path, resume: bool) -> Path | None:
    assert config.fit is not None
    asked = config.fit.ckpt_path
    newest = newest_checkpoint(model_dir)
    if asked is NEWEST or (resume and newest):
        automatic = resume or config.init.checkpoint.autoload_last_checkpoint
        return newest if automatic else None
    if newest and not (isinstance(asked, str) and is_of(model_dir, Path(asked))):
        raise UserError(
            f"{model_dir}: holds {newest.name} of an earlier run; add --resume to continue it, "
            "or choose another --model_dir"
        )
    return Path(asked) if isinstance(asked, str) else None


def _check_tokenizer(checkpoint: Checkpoint, source: SequenceSource, path: Path) -> None:
    """Weights mean nothing with token ids of another vocabulary."""
    trained = checkpoint.data.get("tokenizer_sha256")
    now = (source.params or {}).get("tokenizer_sha256")
    if trained and now and trained != now:
        raise UserError(
            f"{source.files[0].path.parent}: made with another tokenizer than the data of {path} "
            f"(SHA-256 {now!s:.12}..., there {trained!s:.12}...)"
        )

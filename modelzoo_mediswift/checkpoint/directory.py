"""Checkpoints as directories that are either whole or not there.

    checkpoint_<step>/
        model.safetensors      parameters and masks
        training.safetensors   optimizer state and random generators
        meta.json              step, data position, configuration, versions, SHA-256 of the others

A checkpoint is written under a temporary name, flushed to disk and renamed; nothing in it is
executed on loading.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from modelzoo_mediswift.checkpoint.tensor_file import write_tensors
from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.whole_files import file_sha256, flush

FORMAT_VERSION = 1
MODEL_FILE = "model.safetensors"
TRAINING_FILE = "training.safetensors"
META_FILE = "meta.json"
_NAME = re.compile(r"checkpoint_(\d+)")
_META_TYPES = {"step": int, "loader": dict, "data": dict, "config": str, "versions": dict}


@dataclass
class Checkpoint:
    """The content of a checkpoint directory; tensors are on the CPU."""

    step: int
    model: dict[str, Tensor]
    training: dict[str, Tensor] = field(default_factory=dict)
    loader: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)  # data_params.json of the training data
    config: str = ""  # the run's resolved YAML
    versions: dict[str, str] = field(default_factory=dict)
    sha256: str | None = None  # of the model's file, once it is one


def save_checkpoint(checkpoint: Checkpoint, model_dir: Path) -> Path:
    """Write `checkpoint_<step>` in `model_dir`, replacing one of the same step."""
    final = step_path(model_dir, checkpoint.step)
    temporary = model_dir / f".{final.name}.writing"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        write_tensors(temporary / MODEL_FILE, checkpoint.model)
        write_tensors(temporary / TRAINING_FILE, checkpoint.training)
    except UserError:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    meta = {
        "format_version": FORMAT_VERSION,
        "step": checkpoint.step,
        "loader": checkpoint.loader,
        "data": checkpoint.data,
        "versions": checkpoint.versions,
        "sha256": {name: file_sha256(temporary / name) for name in (MODEL_FILE, TRAINING_FILE)},
        "config": checkpoint.config,
    }
    (temporary / META_FILE).write_text(json.dumps(meta, indent=1), encoding="utf-8")
    for path in (*temporary.iterdir(), temporary):
        flush(path)
    if final.exists():
        # Renaming cannot replace a full directory, and the old one must go in one step too.
        stale = model_dir / f".{final.name}.replaced"
        shutil.rmtree(stale, ignore_errors=True)
        final.rename(stale)
        temporary.rename(final)
        shutil.rmtree(stale)
    else:
        temporary.rename(final)
    flush(model_dir)
    return final


def load_checkpoint(path: Path) -> Checkpoint:
    """Read and verify a checkpoint, or convert Model Zoo's `.mdl`; raises UserError that names
    what is damaged."""
    if path.suffix == ".mdl":
        from modelzoo_mediswift.checkpoint.mdl import read_mdl  # here, since it imports this module

        return read_mdl(path)
    meta = _read_meta(path)
    hashes = meta["sha256"]
    for name in (MODEL_FILE, TRAINING_FILE):
        file = path / name
        if not file.is_file():
            raise DamagedCheckpoint(path, f"{name} is missing")
        if file_sha256(file) != hashes.get(name):
            raise DamagedCheckpoint(path, f"{name} does not have the SHA-256 that meta.json names")
    try:
        return Checkpoint(
            step=meta["step"],
            model=load_file(path / MODEL_FILE),
            training=load_file(path / TRAINING_FILE),
            loader=meta["loader"],
            data=meta["data"],
            config=meta["config"],
            versions={name: str(version) for name, version in meta["versions"].items()},
            sha256=hashes[MODEL_FILE],
        )
    except (SafetensorError, ValueError) as error:
        raise DamagedCheckpoint(path, str(error)) from error


class DamagedCheckpoint(UserError):
    """Names the damage and offers the newest whole checkpoint beside it."""

    def __init__(self, path: Path, damage: str) -> None:
        self.path = path
        earlier = [p for p in list_checkpoints(path.parent) if step_of(p) < step_of(path)]
        offer = f"; the one before it is {earlier[-1]} (--checkpoint_path)" if earlier else ""
        super().__init__(f"{path}: damaged checkpoint: {damage}{offer}")


def list_checkpoints(model_dir: Path) -> list[Path]:
    """Checkpoints in `model_dir`, oldest step first."""
    if not model_dir.is_dir():
        return []
    found = [p for p in model_dir.iterdir() if _NAME.fullmatch(p.name) and p.is_dir()]
    return sorted(found, key=step_of)


def newest_checkpoint(model_dir: Path) -> Path | None:
    """The one of the highest step, if there is any."""
    return next(reversed(list_checkpoints(model_dir)), None)


def step_path(model_dir: Path, step: int) -> Path:
    """The folder of a step's checkpoint."""
    return model_dir / f"checkpoint_{step}"


def step_of(path: Path) -> int:
    """The step in a checkpoint's name; -1 for a directory of another name."""
    match = _NAME.fullmatch(path.name)
    return int(match[1]) if match else -1


def is_of(model_dir: Path, checkpoint: Path) -> bool:
    """Whether a checkpoint is the run's own, however its path is written."""
    return checkpoint.parent.resolve() == model_dir.resolve()


def keep_newest(model_dir: Path, count: int, best: int | None = None) -> None:
    """Delete all but the newest `count` checkpoints and the one of step `best`."""
    for path in list_checkpoints(model_dir)[:-count]:
        if step_of(path) == best:
            continue
        # Renamed first, so that a half-deleted one is never taken for whole.
        doomed = path.with_name(f".{path.name}.deleting")
        path.rename(doomed)
        shutil.rmtree(doomed)


def _read_meta(path: Path) -> Mapping[str, Any]:
    if not path.is_dir():
        newest = newest_checkpoint(path.parent)
        hint = f"; the newest beside it is {newest}" if newest else ""
        raise UserError(f"{path}: no such checkpoint directory{hint}")
    try:
        meta = json.loads((path / META_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        newest = newest_checkpoint(path)
        hint = f"; the newest in it is {newest}" if newest else ""
        if (path / "config.json").is_file():
            hint = f"; `mediswift import {path}` makes one of a Hugging Face folder"
        raise UserError(f"{path}: not a checkpoint ({META_FILE} is missing){hint}") from error
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise DamagedCheckpoint(path, f"{META_FILE}: {error}") from error
    if not isinstance(meta, dict) or not isinstance(meta.get("sha256"), dict):
        raise DamagedCheckpoint(path, f"{META_FILE} lacks the files' SHA-256")
    version = meta.get("format_version")
    if version != FORMAT_VERSION:
        raise UserError(f"{path}: checkpoint format {version}, this version reads {FORMAT_VERSION}")
    for key, kind in _META_TYPES.items():
        if not isinstance(meta.get(key), kind):
            raise DamagedCheckpoint(path, f"{META_FILE}: {key} is {meta.get(key)!r}")
    return meta

"""What a killed run leaves in its folder: things that it was writing, replacing or deleting."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

_CHECKPOINT = r"checkpoint_\d+\.(writing|replaced|deleting)"
_SAFETENSORS = r"tmp[A-Za-z0-9]{6}"  # the library's own way to write a file whole


def clear_unfinished(model_dir: Path, files: Sequence[str]) -> None:
    """Delete what is left of checkpoints and of `files`, by name; the caller holds the folder."""
    names = "|".join(map(re.escape, files))
    unfinished = re.compile(rf"\.({_CHECKPOINT}|{_SAFETENSORS}|({names})\.[0-9a-f]+\.writing)")
    for path in model_dir.iterdir():
        if not unfinished.fullmatch(path.name):
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()

"""Writing safetensors files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from modelzoo_mediswift.errors import UserError


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None
) -> None:
    """Write the file, as readable as its folder is: safetensors would keep it to its owner alone.

    Raises UserError where it cannot be written, as on a full disk.
    """
    try:
        save_file(dict(tensors), path, metadata=metadata)
    except SafetensorError as error:
        raise UserError(f"{path}: cannot be written ({error})") from error
    path.chmod(path.parent.stat().st_mode & 0o666)

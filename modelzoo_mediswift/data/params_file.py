"""``data_params.json``, which the stages that write HDF5 leave beside it."""

from pathlib import Path
from typing import Any

from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.whole_files import read_json

PARAMS_FILE = "data_params.json"


def read_params(folder: Path) -> dict[str, Any]:
    """What the file says, with the types that readers rely on; empty if another tool wrote it.

    Raises UserError.
    """
    path = folder / PARAMS_FILE
    params = read_json(path)
    if "tokenizer_sha256" not in params:
        return {}  # such as Model Zoo's own, whose keys mean other things
    for key in ("vocab_size", "num_virtual_tokens"):
        number = params.get(key, 0)
        if not isinstance(number, int) or number < 0:
            raise UserError(f"{path}: {key}: expected a whole number, got {number!r}")
    listed = params.get("files", [])
    if not isinstance(listed, list) or not all(map(_is_entry, listed)):
        raise UserError(f"{path}: files: expected a list of objects with name and sha256")
    return params


def _is_entry(entry: object) -> bool:
    return isinstance(entry, dict) and all(
        isinstance(entry.get(key), str) for key in ("name", "sha256")
    )

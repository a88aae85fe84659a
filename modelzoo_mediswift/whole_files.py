"""Small files that are on the disk whole or not at all, reading them again, and their digests."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from pathlib import Path
from typing import Any

from modelzoo_mediswift.errors import UserError


def write_whole(path: Path, text: str) -> None:
    """Write under another name, flush to the disk, and rename: a reader never sees half a file.

    Raises UserError where `path` is no file: a rename would take /dev/null away from everybody.
    """
    if path.exists() and not path.is_file():
        raise UserError(f"{path}: expected a file to write, found something else")
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.writing")
    try:
        temporary.write_text(text, encoding="utf-8", newline="\n")
        flush(temporary)
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:  # flushing to a full disk
            error.filename = str(path)
        raise


def write_json(path: Path, content: object) -> None:
    """`write_whole` of `content` as indented JSON."""
    write_whole(path, json.dumps(content, indent=1) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object. Raises UserError where the file cannot be read or holds something else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not JSON ({error})") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected a JSON object")
    return content


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes in hexadecimal. Raises UserError where it cannot be read."""
    try:
        with path.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error


def flush(path: Path) -> None:
    """Have a file or a folder on the disk before what follows."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

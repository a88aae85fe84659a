"""Bytes on disk: compressed without time or name, written whole or not at all."""

import gzip
import io
import os
from pathlib import Path


def compress(data: bytes) -> bytes:
    """gzip without the file name and the time."""
    packed = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=packed, compresslevel=6, mtime=0) as stream:
        stream.write(data)
    return packed.getvalue()


def write_whole(path: Path, data: bytes) -> None:
    """Write under a temporary name, then rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.partial")
    with temporary.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)

"""Write token sequences in Model Zoo's two HDF5 layouts, whole or not at all."""

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import DTypeLike, NDArray

from modelzoo_mediswift.data.hdf5 import DATASET, LOSS_MASK, NUM_ROWS, PARAMS_FILE, open_sequences
from modelzoo_mediswift.errors import UserError, missing_package
from modelzoo_mediswift.whole_files import file_sha256, flush

COMPRESSIONS = (None, "gzip", "lz4")
SAMPLES_PER_FILE = 8192
"""100 MB per file at 1,024 tokens; one file is held in memory."""

# Any reader of the last ten years opens these, and the same data gives the same bytes.
_LIBVER = ("earliest", "v110")
_CORPUS_CHUNK = 1 << 16


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path` that takes its place once the block has succeeded.

    Raises UserError if `path` already holds something.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UserError(f"{path}: already there; remove it or choose another place")
    partial = path.with_name(f".{path.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        flush(partial)
        partial.rename(path)
        flush(path.parent)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def written_before(path: Path, wanted: Mapping[str, Any]) -> dict[str, Any] | None:
    """What data_params.json in `path` says if it was made from the same inputs and settings.

    None if there is nothing yet. Raises UserError if there is something else, or if it is damaged.
    """
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return None
    if not (path / PARAMS_FILE).is_file():
        raise UserError(f"{path}: holds other files; remove it or choose another place")
    try:
        params = json.loads((path / PARAMS_FILE).read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path / PARAMS_FILE}: not JSON ({error})") from None
    for key, value in wanted.items():
        if params.get(key) != value:
            raise UserError(
                f"{path}: holds data made otherwise ({_difference(key, params.get(key), value)}); "
                f"remove it or choose another place"
            )
    open_sequences(path, params["max_sequence_length"])
    return params


def write_samples(
    folder: Path,
    samples: Iterable[NDArray[np.int32]],
    *,
    max_sequence_length: int,
    samples_per_file: int = SAMPLES_PER_FILE,
    compression: str | None = None,
) -> dict[str, Any]:
    """Write int32 [3, MSL] arrays as ``data-00000.h5`` ...; return what data_params.json needs."""
    files: list[dict[str, Any]] = []
    n_loss_tokens = 0
    buffer = np.empty((samples_per_file, NUM_ROWS, max_sequence_length), np.int32)
    chunks = (1, NUM_ROWS, max_sequence_length) if compression else None
    for count in _filled(buffer, samples):
        n_loss_tokens += int(buffer[:count, LOSS_MASK].sum(dtype=np.int64))
        path = folder / f"data-{len(files):05d}.h5"
        _write_file(path, buffer[:count], chunks, compression)
        files.append({"name": path.name, "n_examples": count, "sha256": file_sha256(path)})
    return {
        "format": "sample",
        "max_sequence_length": max_sequence_length,
        "n_examples": sum(entry["n_examples"] for entry in files),
        "n_loss_tokens": n_loss_tokens,
        "files": files,
    }


def write_corpus(
    folder: Path,
    pieces: Iterable[NDArray[np.integer]],
    *,
    max_sequence_length: int,
    dtype: DTypeLike,
    samples_per_file: int = SAMPLES_PER_FILE,
    compression: str | None = None,
) -> dict[str, Any]:
    """Write a stream of tokens, given in pieces; return its part of data_params.json.

    `max_sequence_length` only sets the size of a file and what is counted: the data fits any.
    """
    files: list[dict[str, Any]] = []
    buffer = np.empty(samples_per_file * max_sequence_length, dtype)
    for count in _filled_by_pieces(buffer, pieces):
        path = folder / f"data-{len(files):05d}.h5"
        chunks = (min(_CORPUS_CHUNK, count),) if compression else None
        _write_file(path, buffer[:count], chunks, compression)
        files.append({"name": path.name, "n_tokens": count, "sha256": file_sha256(path)})
    n_tokens = sum(entry["n_tokens"] for entry in files)
    n_examples = max(0, n_tokens - 1) // max_sequence_length
    return {
        "format": "corpus",
        "max_sequence_length": max_sequence_length,
        "n_examples": n_examples,
        "n_loss_tokens": n_examples * max_sequence_length,
        "files": files,
    }


def write_params(folder: Path, params: Mapping[str, Any]) -> dict[str, Any]:
    """Write data_params.json, which marks the folder as complete; return its content."""
    content = {**params, "created_by": f"modelzoo-mediswift {version('modelzoo-mediswift')}"}
    write_text(folder / PARAMS_FILE, json.dumps(content, indent=2) + "\n")
    return content


def write_text(path: Path, text: str) -> None:
    """Write a small file and make sure that it is on the disk."""
    path.write_text(text, encoding="utf-8", newline="\n")
    flush(path)


def compression_arguments(compression: str | None) -> dict[str, Any]:
    """h5py's; raises UserError for an unknown compression, or one whose package is missing."""
    if compression not in COMPRESSIONS:
        raise UserError(f"compression: expected gzip, lz4 or none, got {compression!r}")
    if compression != "lz4":
        return {"compression": compression}
    try:
        import hdf5plugin
    except ImportError:
        raise missing_package("compression lz4", "hdf5plugin", "lz4") from None
    return dict(hdf5plugin.LZ4())


def _filled(buffer: NDArray[np.int32], samples: Iterable[NDArray[np.int32]]) -> Iterator[int]:
    """Copy samples into `buffer`; yield how many it holds whenever it is full, and at the end."""
    count = 0
    for sample in samples:
        buffer[count] = sample
        count += 1
        if count == len(buffer):
            yield count
            count = 0
    if count:
        yield count


def _filled_by_pieces(
    buffer: NDArray[np.integer], pieces: Iterable[NDArray[np.integer]]
) -> Iterator[int]:
    count = 0
    for piece in pieces:
        done = 0
        while done < len(piece):
            n = min(len(piece) - done, len(buffer) - count)
            buffer[count : count + n] = piece[done : done + n]
            count, done = count + n, done + n
            if count == len(buffer):
                yield count
                count = 0
    if count:
        yield count


def _write_file(
    path: Path, data: NDArray[np.integer], chunks: tuple[int, ...] | None, compression: str | None
) -> None:
    filters = compression_arguments(compression)
    with h5py.File(path, "w", libver=_LIBVER) as file:
        file.create_dataset(DATASET, data=data, chunks=chunks, track_times=False, **filters)
        if data.ndim > 1:
            file.attrs["n_examples"] = len(data)
    flush(path)


def _difference(key: str, before: Any, now: Any) -> str:
    if isinstance(before, dict) and isinstance(now, dict):
        for inner in sorted(before.keys() | now.keys()):
            if before.get(inner) != now.get(inner):
                return _difference(f"{key}.{inner}", before.get(inner), now.get(inner))
    return f"{key} was {before}, now it is {now}"

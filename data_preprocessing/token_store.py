"""Tokens on the disk between tokenizing and packing: made in parallel, read in random order.

Every row group of a Parquet file becomes one chunk, by whichever process; a chunk that is there
is not made again. To read the documents in a random order, they are first dealt out into buckets
by their place in it, and then one bucket at a time is put in order in memory. So memory holds one
bucket, and some 30 bytes a document; the disk is read and written from front to back.
"""

import functools
import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray
from tokenizers import Tokenizer
from tqdm import tqdm

from data_preprocessing.bpe import (
    document_text,
    encode_documents,
    load_tokenizer,
    tokenizer_sha256,
)
from data_preprocessing.executor import Executor, Local
from data_preprocessing.records import read_group, replacing, row_groups

BUCKET_BYTES = 64 << 20
_MAX_BUCKETS = 256
_MADE_FROM = "made_from.json"


class TokenStore:
    """The tokens of all documents of a Parquet file, in chunks in a folder."""

    def __init__(self, folder: Path, dtype: DTypeLike, chunks: int) -> None:
        self.folder = folder
        self.dtype = np.dtype(dtype)
        lengths = [np.load(_lengths_file(folder, i)) for i in range(chunks)]
        self._documents = [len(part) for part in lengths]
        self.lengths: NDArray[np.int64] = np.concatenate([np.empty(0, np.int64), *lengths])
        """Tokens of each document, in the file's order."""

    def __len__(self) -> int:
        return len(self.lengths)

    def in_order(
        self, order: NDArray[np.int64], bucket_bytes: int = BUCKET_BYTES
    ) -> Iterator[NDArray[np.integer]]:
        """The documents in `order`, a permutation of their numbers."""
        size = int(self.lengths.sum()) * self.dtype.itemsize
        buckets = max(1, min(_MAX_BUCKETS, -(-size // bucket_bytes), len(self)))
        place = np.empty(len(self), np.int64)
        place[order] = np.arange(len(self))
        bucket = (place * buckets // max(1, len(self))).astype(np.int16)
        self._deal(bucket, buckets)
        for number in range(buckets):
            path = self._bucket_file(number)
            tokens = np.fromfile(path, self.dtype)
            here = np.flatnonzero(bucket == number)
            ends = np.cumsum(self.lengths[here])
            for i in np.argsort(place[here]).tolist():
                yield tokens[ends[i] - self.lengths[here[i]] : ends[i]]
            path.unlink()

    def _deal(self, bucket: NDArray[np.int16], buckets: int) -> None:
        """Write every document into its bucket's file, in the order of the documents."""
        first = 0
        with ExitStack() as stack:
            files = [stack.enter_context(self._bucket_file(i).open("wb")) for i in range(buckets)]
            for chunk, count in enumerate(self._documents):
                tokens = np.load(_tokens_file(self.folder, chunk), mmap_mode="r")
                lengths = self.lengths[first : first + count]
                ends = np.cumsum(lengths)
                parts: list[list[NDArray[np.integer]]] = [[] for _ in range(buckets)]
                for number, start, end in zip(
                    bucket[first : first + count].tolist(),
                    (ends - lengths).tolist(),
                    ends.tolist(),
                    strict=True,
                ):
                    parts[number].append(tokens[start:end])
                for file, part in zip(files, parts, strict=True):
                    if part:
                        file.write(np.concatenate(part).tobytes())
                first += count

    def _bucket_file(self, number: int) -> Path:
        return self.folder / f"bucket-{number:03d}"


def tokenize_file(
    path: Path,
    tokenizer_path: Path,
    folder: Path,
    made_from: dict[str, Any],
    executor: Executor | None = None,
) -> TokenStore:
    """Tokenize every record of a Parquet file into chunks in `folder`, in the file's order.

    Chunks of an earlier run are used if `made_from` is the same. Without an `executor`, or with
    one worker, this process's threads share the work; otherwise each process has one thread.
    """
    tokenizer = load_tokenizer(tokenizer_path)
    dtype = np.uint16 if tokenizer.get_vocab_size() <= 1 << 16 else np.int32
    _prepare(folder, made_from)
    chunks = row_groups(path)
    missing = [i for i in range(chunks) if not _tokens_file(folder, i).exists()]
    with tqdm(total=chunks, desc=f"tokenize {path.stem}", unit="chunk", disable=None) as progress:
        progress.update(chunks - len(missing))
        sha256 = tokenizer_sha256(tokenizer_path)
        jobs = [
            _Job(tokenizer_path.absolute(), sha256, path.absolute(), i, folder.absolute(), dtype)
            for i in missing
        ]
        for _ in (executor or Local()).run(_work, jobs):
            progress.update()
    return TokenStore(folder, dtype, chunks)


def _prepare(folder: Path, made_from: dict[str, Any]) -> None:
    """Make the folder, without chunks that were made from something else."""
    note = folder / _MADE_FROM
    wanted = json.dumps(made_from, sort_keys=True)
    if not note.exists() or note.read_text(encoding="utf-8") != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        with replacing(note) as temporary:
            temporary.write_text(wanted, encoding="utf-8")


@dataclass(frozen=True)
class _Job:
    tokenizer: Path
    tokenizer_sha256: str
    path: Path
    chunk: int
    folder: Path
    dtype: DTypeLike


def _work(job: _Job) -> None:
    tokenizer = _tokenizer(job.tokenizer, job.tokenizer_sha256)
    _tokenize_chunk(tokenizer, job.path, job.chunk, job.folder, job.dtype)


@functools.lru_cache(maxsize=1)
def _tokenizer(path: Path, _sha256: str) -> Tokenizer:
    """Loaded once by each process, until the file is another."""
    return load_tokenizer(path)


def _tokenize_chunk(
    tokenizer: Tokenizer, path: Path, chunk: int, folder: Path, dtype: DTypeLike
) -> None:
    texts = (
        document_text(title, text)
        for rows in read_group(path, chunk, columns=["title", "text"])
        for title, text in zip(
            rows.column("title").to_pylist(), rows.column("text").to_pylist(), strict=True
        )
    )
    documents = [tokens.astype(dtype) for tokens in encode_documents(tokenizer, texts)]
    lengths = np.array([len(tokens) for tokens in documents], np.int64)
    _save(_lengths_file(folder, chunk), lengths)
    # The tokens come last: their file says that the chunk is complete.
    _save(_tokens_file(folder, chunk), np.concatenate([np.empty(0, dtype), *documents]))


def _save(path: Path, array: NDArray[np.integer]) -> None:
    """As np.save, whose error on a full disk does not say so."""
    header = np.lib.format.header_data_from_array_1_0(array)
    with replacing(path) as temporary, temporary.open("wb") as handle:
        np.lib.format.write_array_header_1_0(handle, header)
        handle.write(array.tobytes())


def _tokens_file(folder: Path, chunk: int) -> Path:
    return folder / f"{chunk:06d}.tokens.npy"


def _lengths_file(folder: Path, chunk: int) -> Path:
    return folder / f"{chunk:06d}.lengths.npy"

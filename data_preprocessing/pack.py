"""Documents to sequences of one length: shuffle, join with end-of-text between them, cut."""

import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from data_preprocessing.best_fit import pack_best_fit
from data_preprocessing.bpe import (
    END_OF_TEXT,
    document_text,
    load_tokenizer,
    tokenizer_sha256,
)
from data_preprocessing.executor import Executor, Local
from data_preprocessing.records import read_batches
from data_preprocessing.shuffle import shuffled_order
from data_preprocessing.token_store import TokenStore, tokenize_file
from data_preprocessing.write_hdf5 import (
    SAMPLES_PER_FILE,
    new_folder,
    write_corpus,
    write_params,
    write_samples,
    written_before,
)
from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.whole_files import file_sha256

LAYOUTS = ("sample", "corpus")
PACKINGS = ("concatenate", "best_fit")
SPLITS = ("train", "validation")
_BLOCK_SAMPLES = 256


def join_documents(
    documents: Iterable[NDArray[np.integer]], eos_id: int
) -> Iterator[NDArray[np.integer]]:
    """The stream of tokens in pieces: every document, then end-of-text; empty ones are left out."""
    for tokens in documents:
        if len(tokens):
            yield tokens
            yield np.array([eos_id], tokens.dtype)


def pack_documents(
    documents: Iterable[NDArray[np.integer]], max_sequence_length: int, eos_id: int
) -> Iterator[NDArray[np.int32]]:
    """Cut the joined stream x into samples int32 [3, MSL]: input ids, loss mask, labels.

    Sample k has inputs x[k MSL : (k+1) MSL] and, one later, their labels; so every token but the
    stream's first is a label exactly once. The last sample is filled up with end-of-text that does
    not count in the loss.
    """
    msl = max_sequence_length
    waiting: list[NDArray[np.integer]] = []
    size = 0
    for piece in join_documents(documents, eos_id):
        waiting.append(piece)
        size += len(piece)
        if size > _BLOCK_SAMPLES * msl:
            stream = np.concatenate(waiting)
            whole = (size - 1) // msl
            yield from _cut(stream[: whole * msl + 1], msl)
            waiting = [stream[whole * msl :]]
            size -= whole * msl
    if size > 1:
        stream = np.concatenate(waiting)
        whole = (size - 1) // msl
        yield from _cut(stream[: whole * msl + 1], msl)
        left = stream[whole * msl :]
        if len(left) > 1:
            filled = np.full(msl + 1, eos_id, left.dtype)
            filled[: len(left)] = left
            (sample,) = _cut(filled, msl)
            sample[1, len(left) - 1 :] = 0
            yield sample


def _cut(stream: NDArray[np.integer], msl: int) -> NDArray[np.int32]:
    """Samples [n, 3, MSL] from n MSL + 1 tokens."""
    samples = np.ones(((len(stream) - 1) // msl, 3, msl), np.int32)
    samples[:, 0] = stream[:-1].reshape(-1, msl)
    samples[:, 2] = stream[1:].reshape(-1, msl)
    return samples


def read_texts(path: Path) -> Iterator[str]:
    """What the model reads of each record of a Parquet file, in the file's order."""
    for rows in read_batches(path, columns=["title", "text"]):
        titles, texts = rows.column("title").to_pylist(), rows.column("text").to_pylist()
        yield from map(document_text, titles, texts)


def pack_corpus(
    records_dir: Path,
    tokenizer_path: Path,
    out_dir: Path,
    *,
    max_sequence_length: int,
    layout: str = "sample",
    seed: int = 0,
    samples_per_file: int = SAMPLES_PER_FILE,
    compression: str | None = None,
    packing: str = "concatenate",
    workers: int = 1,
    executor: Executor | None = None,
) -> dict[str, dict[str, Any]]:
    """Pack ``train.parquet`` and ``validation.parquet`` into `out_dir`/train and /validation.

    Returns each split's data_params.json. A split that is there already, made from the same files
    with the same settings, is left as it is; one that was interrupted is continued with the tokens
    it had, in ``.SPLIT.tokens``. The files are the same to the byte for any number of local
    `workers`, or on the `executor` that takes their place.
    Raises UserError if a split is another one's, or if there is nothing to train on.
    """
    if layout not in LAYOUTS:
        raise UserError(f"layout: expected {' or '.join(LAYOUTS)}, got {layout!r}")
    if packing not in PACKINGS:
        raise UserError(f"packing: expected {' or '.join(PACKINGS)}, got {packing!r}")
    if packing == "best_fit" and layout == "corpus":
        raise UserError("packing: best_fit needs the sample layout; corpus is one stream")
    if max_sequence_length < 1 or samples_per_file < 1:
        raise UserError("max_sequence_length and samples_per_file: expected positive numbers")
    tokenizer = load_tokenizer(tokenizer_path)
    jobs = executor or Local(workers)
    done = {}
    for split in SPLITS:
        path = records_dir / f"{split}.parquet"
        wanted = {
            "format": layout,
            "max_sequence_length": max_sequence_length,
            "vocab_size": tokenizer.get_vocab_size(),
            "num_virtual_tokens": 0,
            "tokenizer_sha256": tokenizer_sha256(tokenizer_path),
            "eos_token_id": tokenizer.token_to_id(END_OF_TEXT),
            "sources": {path.name: file_sha256(path)},
            "seed": seed,
            "settings": {"samples_per_file": samples_per_file, "compression": compression},
            "packing": packing,
        }
        params = written_before(out_dir / split, wanted)
        if params is None:
            scratch = out_dir / f".{split}.tokens"
            made_from = {key: wanted[key] for key in ("tokenizer_sha256", "sources")}
            documents = tokenize_file(path, tokenizer_path, scratch, made_from, jobs)
            if documents.lengths.sum() == 0:
                shutil.rmtree(scratch)
                if split == "train":
                    raise UserError(f"{path}: no documents in it, nothing to pack")
                continue
            params = _write_split(out_dir / split, documents, wanted, _by_source(path, documents))
            shutil.rmtree(scratch)
        done[split] = params
    return done


def _write_split(
    folder: Path, documents: TokenStore, wanted: dict[str, Any], by_source: dict[str, int]
) -> dict[str, Any]:
    msl, eos_id = wanted["max_sequence_length"], wanted["eos_token_id"]
    settings = wanted["settings"]
    in_order = tqdm(
        documents.in_order(shuffled_order(len(documents), wanted["seed"])),
        desc=f"pack {folder.name}",
        unit="doc",
        total=len(documents),
        disable=None,
    )
    pack = pack_best_fit if wanted["packing"] == "best_fit" else pack_documents
    with new_folder(folder) as partial:
        if wanted["format"] == "sample":
            listing = write_samples(
                partial,
                pack(in_order, msl, eos_id),
                max_sequence_length=msl,
                **settings,
            )
        else:
            listing = write_corpus(
                partial,
                join_documents(in_order, eos_id),
                max_sequence_length=msl,
                dtype=documents.dtype,
                **settings,
            )
        lengths = documents.lengths
        places = listing["n_examples"] * msl
        counts = {
            "documents": len(documents),
            "empty_documents": int((lengths == 0).sum()),
            "padding": places - listing["n_loss_tokens"],
        }
        if wanted["packing"] == "best_fit":
            counts["cut_documents"] = int((lengths >= msl).sum())
            counts["padding_share"] = round(counts["padding"] / places, 6)
        n_tokens = int(lengths.sum()) + len(documents) - counts["empty_documents"]
        totals = {"n_tokens": n_tokens, "tokens_by_source": by_source, "counts": counts}
        return write_params(partial, {**wanted, **listing, **totals})


def _by_source(path: Path, documents: TokenStore) -> dict[str, int]:
    """Tokens of each source, without end-of-text."""
    tokens: Counter[str] = Counter()
    row = 0
    for batch in read_batches(path, columns=["source"]):
        lengths = documents.lengths[row : row + batch.num_rows].tolist()
        for source, length in zip(batch["source"].to_pylist(), lengths, strict=True):
            tokens[source] += length
        row += batch.num_rows
    return dict(sorted(tokens.items()))

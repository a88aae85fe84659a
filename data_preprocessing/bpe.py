"""Byte pair encoding on Moses tokens: train, save, load and run one tokenizer.json."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from data_preprocessing.moses import moses_decoder, moses_normalizer, moses_pre_tokenizer
from data_preprocessing.records import replacing
from data_preprocessing.tokenizer_sample import chosen_rows, texts_of
from modelzoo_mediswift.errors import UserError

END_OF_TEXT = "<|endoftext|>"
"""Stands between documents and ends a generated text; always id 0."""
VOCAB_SIZE = 42_384
"""The paper's vocabulary (and BioGPT's)."""
MAX_VOCAB_SIZE = 512_000
"""The most that a model may have; the tokenizer's own code aborts the process far above it."""

_BATCH_CHARACTERS = 1 << 20


def document_text(title: str, text: str) -> str:
    """What the model reads of a record: the title on a line of its own, then the text."""
    return f"{title}\n{text}" if title else text


def train_tokenizer(
    texts: Iterable[str],
    vocab_size: int = VOCAB_SIZE,
    *,
    min_frequency: int = 2,
    progress: bool = True,
    length: int | None = None,
) -> Tokenizer:
    """Learn BPE merges on the Moses tokens of `texts`; same texts in any order, same tokenizer.

    The vocabulary is END_OF_TEXT, the 256 bytes, and merges of pairs that occur `min_frequency`
    times or more; a small corpus gives fewer than `vocab_size` entries: `get_vocab_size()` tells.
    Every text can be encoded, since every byte has an entry. `length` is for the progress bar.
    """
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    if vocab_size <= len(alphabet):
        raise UserError(
            f"vocab_size: expected at least {len(alphabet) + 1} ({END_OF_TEXT} and the "
            f"{len(alphabet)} bytes), got {vocab_size}"
        )
    if vocab_size > MAX_VOCAB_SIZE:
        raise UserError(f"vocab_size: expected at most {MAX_VOCAB_SIZE}, got {vocab_size}")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = moses_normalizer()
    tokenizer.pre_tokenizer = moses_pre_tokenizer()
    tokenizer.decoder = moses_decoder()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=alphabet,
        show_progress=progress and sys.stderr.isatty(),
    )
    tokenizer.train_from_iterator(texts, trainer, length=length)
    tokenizer.encode_special_tokens = True  # as load_tokenizer does
    return tokenizer


def train_tokenizer_from_parquet(
    records_dir: Path,
    out: Path,
    vocab_size: int = VOCAB_SIZE,
    max_documents: int | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Train on `records_dir`/train.parquet, write tokenizer.json to `out`, return the counts, with
    a `note` if there are too few documents for `vocab_size` entries.

    With `max_documents`, on a sample of so many: as many of each source, spread over the years as
    the source's documents are, those of a stratum chosen by `seed` (see `tokenizer_sample`).

    Raises:
        UserError: the file is missing, damaged or without documents, or `vocab_size` is too small
            or too large.
    """
    path = records_dir / "train.parquet"
    chosen, by_source = chosen_rows(path, max_documents, seed)
    count = by_source.total()
    if count == 0:
        raise UserError(f"{path}: no documents to train a tokenizer on")
    texts = (document_text(title, text) for title, text in texts_of(path, chosen))
    tokenizer = train_tokenizer(texts, vocab_size, length=count)
    save_tokenizer(tokenizer, out)
    size = tokenizer.get_vocab_size()
    counts = {
        "documents": count,
        "sources": dict(sorted(by_source.items())),
        "vocab_size": size,
    }
    if size < vocab_size:
        counts["note"] = (
            f"{size:,} entries, not the {vocab_size:,} asked for: in so little text no other pair "
            f"occurs twice. A model for it has vocab_size {size}; for one with more, `finetune` "
            "needs that --vocab_size too"
        )
    return counts


def save_tokenizer(tokenizer: Tokenizer, path: Path) -> None:
    """Write tokenizer.json; `path` appears, or is replaced, only when all of it is on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(tokenizer.to_str(pretty=True), encoding="utf-8", newline="\n")


def load_tokenizer(path: Path) -> Tokenizer:
    """Read tokenizer.json, and have it take END_OF_TEXT in a text for the characters it is.

    A document that holds these characters would otherwise forge a document boundary.

    Raises:
        UserError: the file is missing, damaged, or has no END_OF_TEXT.
    """
    content = _read(path)
    try:
        json.loads(content)
        tokenizer: Tokenizer = Tokenizer.from_buffer(content)
    except Exception as error:  # `tokenizers` raises nothing more specific
        raise UserError(f"{path}: not a tokenizer.json, or a damaged one ({error})") from error
    if tokenizer.token_to_id(END_OF_TEXT) is None:
        raise UserError(f"{path}: expected a tokenizer with {END_OF_TEXT}, found none")
    tokenizer.encode_special_tokens = True
    return tokenizer


def tokenizer_sha256(path: Path) -> str:
    """SHA-256 of the file's bytes in hex, as data_params.json records it. Raises UserError."""
    return hashlib.sha256(_read(path)).hexdigest()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file, expected a tokenizer.json") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error


def encode_documents(tokenizer: Tokenizer, texts: Iterable[str]) -> Iterator[NDArray[np.int32]]:
    """Yield the token ids of each text in order, without END_OF_TEXT.

    Uses all cores, in batches of about a million characters: encodings take far more room than
    text.
    """
    batch: list[str] = []
    characters = 0
    for text in texts:
        batch.append(text)
        characters += len(text)
        if characters >= _BATCH_CHARACTERS:
            yield from _encode(tokenizer, batch)
            batch, characters = [], 0
    yield from _encode(tokenizer, batch)


def _encode(tokenizer: Tokenizer, batch: list[str]) -> Iterator[NDArray[np.int32]]:
    for encoding in tokenizer.encode_batch_fast(batch, add_special_tokens=False):
        yield np.array(encoding.ids, dtype=np.int32)

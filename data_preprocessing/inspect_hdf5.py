"""Show a sequence of an HDF5 file as text: where documents end, and where the loss is."""

from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from data_preprocessing.bpe import END_OF_TEXT
from modelzoo_mediswift.data.hdf5 import (
    INPUT_IDS,
    LABELS,
    LOSS_MASK,
    LengthNeeded,
    SequenceSource,
    open_file,
    open_sequences,
)
from modelzoo_mediswift.errors import UserError

DEFAULT_CORPUS_LENGTH = 128

# Select graphic rendition codes: dim, cyan, magenta.
_DIM, _CYAN, _MAGENTA = 2, 36, 35


def open_any(path: Path, max_sequence_length: int | None = None) -> SequenceSource:
    """Open a file, a folder of ``*.h5``, or a folder with a ``train`` folder of them in it."""
    if path.is_dir() and not any(path.glob("*.h5")) and (path / "train").is_dir():
        path = path / "train"
    opener: Callable[[Path, int | None], SequenceSource]
    opener = open_sequences if path.is_dir() else open_file
    try:
        return opener(path, max_sequence_length)
    except LengthNeeded:
        return opener(path, DEFAULT_CORPUS_LENGTH)


def describe_sequence(
    source: SequenceSource, index: int, tokenizer: Tokenizer | None, *, colour: bool
) -> str:
    """One sequence in words; without a tokenizer as numbers.

    What does not count in the loss is dim if `colour`, and stands in ``[- -]`` if not.
    Raises UserError if there is no such sequence.
    """
    if not 0 <= index < len(source):
        raise UserError(f"sequence {index}: expected 0 to {len(source) - 1}")
    rows = source.read([index])[0]
    params = source.params or {}
    eos_id, vocab_size = params.get("eos_token_id"), params.get("vocab_size")
    if tokenizer is not None:
        eos_id = tokenizer.token_to_id(END_OF_TEXT)
        vocab_size = vocab_size or tokenizer.get_vocab_size()
    virtual_from = np.iinfo(np.int32).max if vocab_size is None else vocab_size
    # The first input has no prediction of its own here; it goes with the second.
    tokens = np.append(rows[INPUT_IDS], rows[LABELS, -1])
    counts = np.append(rows[LOSS_MASK, :1], rows[LOSS_MASK])
    pieces = []
    for kind, counted, ids in _runs(tokens, counts, eos_id, virtual_from):
        if kind == "end":
            text, code = _repeated(END_OF_TEXT, len(ids)), _CYAN
        elif kind == "virtual":
            first, last = ids[0] - virtual_from + 1, ids[-1] - virtual_from + 1
            text, code = f"<v{first}..v{last}>", _MAGENTA
        elif tokenizer is None:
            text, code = " ".join(map(str, ids)), 0
        else:
            text, code = tokenizer.decode(ids, skip_special_tokens=False), 0
        pieces.append(_marked(text, code, counted, colour) + ("\n" if kind == "end" else ""))
    return f"{_heading(source, index, rows, eos_id, virtual_from)}\n\n{''.join(pieces).rstrip()}\n"


def _runs(
    tokens: NDArray[np.int32], counts: NDArray[np.int32], eos_id: int | None, virtual_from: int
) -> Iterator[tuple[str, bool, list[int]]]:
    """Neighbours of one kind ("text", "end", "virtual") that all count or all do not."""

    def key(item: tuple[int, int]) -> tuple[str, bool]:
        token, counted = item
        if token == eos_id:
            return "end", bool(counted)
        return ("virtual" if token >= virtual_from else "text"), bool(counted)

    pairs = zip(tokens.tolist(), counts.tolist(), strict=True)
    for (kind, counted), run in groupby(pairs, key):
        yield kind, counted, [token for token, _ in run]


def _repeated(text: str, times: int) -> str:
    return text if times == 1 else f"{text} x {times}"


def _marked(text: str, code: int, counted: bool, colour: bool) -> str:
    if not colour:
        return text if counted else f"[-{text}-]"
    codes = [str(c) for c in (code, 0 if counted else _DIM) if c]
    return f"\x1b[{';'.join(codes)}m{text}\x1b[0m" if codes else text


def _heading(
    source: SequenceSource,
    index: int,
    rows: NDArray[np.int32],
    eos_id: int | None,
    virtual_from: int,
) -> str:
    inputs, mask, labels = rows[INPUT_IDS], rows[LOSS_MASK], rows[LABELS]
    shifted = np.append(inputs[1:], labels[-1])
    wrong = int(((shifted != labels) & (mask > 0)).sum())
    facts = [
        f"{int((mask > 0).sum())} of {len(mask)} positions count in the loss",
        f"{int((inputs == eos_id).sum()) if eos_id is not None else '?'} end-of-text",
        f"{int((inputs >= virtual_from).sum())} virtual",
        "labels are the inputs shifted by one"
        if not wrong
        else f"LABELS ARE NOT THE SHIFTED INPUTS at {wrong} positions",
    ]
    place = f"{source.locate(index)} ({source.layout} layout)"
    return f"{place}: sequence {index} of {len(source)}\n{', '.join(facts)}"

"""The pass of `merge` over the texts themselves: what is in each that a rule asks for."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from data_preprocessing.decontaminate import NGRAM, Contamination
from data_preprocessing.deduplicate import (
    PERMUTATIONS,
    Signatures,
    minhash_library,
    signature,
    text_hash,
)
from data_preprocessing.executor import Executor
from data_preprocessing.merge_index import Mask
from data_preprocessing.records import read_batches
from modelzoo_mediswift.errors import UserError


@dataclass(frozen=True)
class TextRules:
    """Which texts to leave out."""

    duplicates: bool = False
    """Of records with the same words in the same order, all but the first."""
    near_duplicates: float | None = None
    """The same for texts that share so much of their shingles, in (0, 1]; needs rensa."""
    decontaminate: tuple[Path, ...] = ()
    """Evaluation files: what shares a run of `ngram` words with one of them goes."""
    ngram: int = NGRAM

    def __post_init__(self) -> None:
        if self.near_duplicates is not None and not 0 < self.near_duplicates <= 1:
            raise UserError(
                f"near_duplicates: expected a number in (0, 1], got {self.near_duplicates}"
            )
        if self.ngram < 1:
            raise UserError(f"ngram: expected a positive number, got {self.ngram}")

    @property
    def any(self) -> bool:
        """Whether there is a rule at all."""
        return self.duplicates or self.near_duplicates is not None or bool(self.decontaminate)

    def described(self) -> dict[str, Any]:
        """For the record of a run."""
        return {
            "duplicates": self.duplicates,
            "near_duplicates": self.near_duplicates,
            "decontaminate": [path.name for path in self.decontaminate],
            "ngram": self.ngram if self.decontaminate else None,
        }


@dataclass
class TextFindings:
    """One entry per record; those that were no candidates have zeros."""

    without_text: Mask
    empty: Mask
    """Neither text nor title."""
    contaminated: Mask
    hashes: NDArray[np.uint64]
    signatures: Signatures
    """[records, PERMUTATIONS], on the disk; no rows unless near duplicates are looked for."""


@contextmanager
def read_the_texts(
    paths: list[Path],
    starts: list[int],
    candidates: Mask,
    rules: TextRules,
    work_dir: Path,
    executor: Executor,
) -> Iterator[TextFindings]:
    """Look at the text of every candidate; `starts` are the files' first records.

    The signatures lie in a file of `work_dir`, 512 bytes a record, until the block ends.
    """
    total = len(candidates)
    if rules.near_duplicates is not None:
        minhash_library()
    _contamination(rules)  # a mistake in an evaluation file is told before the work begins
    scratch = work_dir / ".signatures.tmp"
    rows = total if rules.near_duplicates is not None else 0
    try:
        with scratch.open("wb") as handle:
            handle.truncate(rows * PERMUTATIONS * 4)
        found = TextFindings(
            without_text=np.zeros(total, bool),
            empty=np.zeros(total, bool),
            contaminated=np.zeros(total, bool),
            hashes=np.zeros(total, np.uint64),
            signatures=_mapped(scratch, rows),
        )
        jobs = [
            _Job(path.absolute(), candidates[start:end], rules)
            for path, start, end in zip(paths, starts[:-1], starts[1:], strict=True)
        ]
        with tqdm(total=total, desc="merge: texts", unit="record", disable=None) as progress:
            for number, (flags, hashes, signatures) in executor.run(_look, jobs):
                here = slice(starts[number], starts[number + 1])
                found.without_text[here] = flags & 1
                found.empty[here] = flags & 2
                found.contaminated[here] = flags & 4
                found.hashes[here] = hashes
                if rows:
                    found.signatures[here] = signatures
                progress.update(len(hashes))
        yield found
    finally:
        scratch.unlink(missing_ok=True)


@dataclass(frozen=True)
class _Job:
    path: Path
    candidates: Mask
    rules: TextRules


_Result = tuple[NDArray[np.uint8], NDArray[np.uint64], Signatures]


def _look(job: _Job) -> _Result:
    """One file: flags (1 without text, 2 without title too, 4 contaminated), hashes, signatures
    (without rows unless near duplicates are looked for)."""
    rules = job.rules
    contamination = _contamination(rules)
    count = len(job.candidates)
    library = minhash_library() if rules.near_duplicates is not None else None
    signatures = np.zeros((count if library is not None else 0, PERMUTATIONS), np.uint32)
    flags = np.zeros(count, np.uint8)
    hashes = np.zeros(count, np.uint64)
    row = 0
    for batch in read_batches(job.path, columns=["title", "text"]):
        for at in np.flatnonzero(job.candidates[row : row + batch.num_rows]).tolist():
            text: str = batch["text"][at].as_py()
            if not text:
                flags[row + at] = 1 if batch["title"][at].as_py() else 3
                continue
            if contamination.touches(text):
                flags[row + at] = 4
            if rules.duplicates:
                hashes[row + at] = text_hash(text)
            if library is not None:
                signatures[row + at] = signature(library, text)
        row += batch.num_rows
    return flags, hashes, signatures


@functools.lru_cache(maxsize=1)
def _contamination(rules: TextRules) -> Contamination:
    return Contamination(rules.decontaminate, rules.ngram)


def _mapped(scratch: Path, rows: int) -> Signatures:
    if rows == 0:
        return np.empty((0, PERMUTATIONS), np.uint32)
    return np.memmap(scratch, np.uint32, "r+", shape=(rows, PERMUTATIONS))

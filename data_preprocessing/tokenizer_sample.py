"""Which documents a tokenizer is trained on: some of every source and year."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from data_preprocessing.records import read_batches
from data_preprocessing.shuffle import random_keys

Stratum = tuple[str, int]
"""Source, and year of publication or 0."""


def read_strata(path: Path) -> tuple[list[Stratum], NDArray[np.int32]]:
    """The strata of a Parquet file of records, and which of them each row is in (4 bytes a row)."""
    known: dict[Stratum, int] = {}
    rows = [np.empty(0, np.int32)]
    for batch in read_batches(path, ["source", "year"]):
        pairs = zip(batch["source"].to_pylist(), batch["year"].to_pylist(), strict=True)
        numbers = [known.setdefault((source, year or 0), len(known)) for source, year in pairs]
        rows.append(np.array(numbers, np.int32))
    return list(known), np.concatenate(rows)


def shares(sizes: Mapping[Stratum, int], wanted: int) -> dict[Stratum, int]:
    """How many documents to take of each stratum, `wanted` in all or all that there are.

    Sources get the same number each, or all they have; the years of a source get their share of
    it, rounded so that the sum is right.
    """
    sources: Counter[str] = Counter()
    for (source, _), size in sizes.items():
        sources[source] += size
    taken: dict[Stratum, int] = {}
    left = min(wanted, sources.total())
    # From the smallest source on: what it lacks is shared by the others.
    for rank, (source, size) in enumerate(sorted(sources.items(), key=lambda s: (s[1], s[0]))):
        quota = min(size, left // (len(sources) - rank))
        years = sorted(stratum for stratum in sizes if stratum[0] == source)
        ends = np.cumsum([sizes[year] for year in years], dtype=np.int64) * quota // size
        taken |= dict(zip(years, np.diff(ends, prepend=0).tolist(), strict=True))
        left -= quota
    return taken


def chosen_rows(
    path: Path, wanted: int | None, seed: int
) -> tuple[NDArray[np.bool_], Counter[str]]:
    """Which rows of a Parquet file of records to train on, and how many of each source.

    The same file, number and seed choose the same rows; 12 bytes a row of memory.
    """
    strata, of_row = read_strata(path)
    counts = np.bincount(of_row, minlength=len(strata)).tolist()
    sizes = dict(zip(strata, counts, strict=True))
    take = shares(sizes, len(of_row) if wanted is None else wanted)
    keys = random_keys(len(of_row), seed)
    chosen = np.zeros(len(of_row), np.bool_)
    by_source: Counter[str] = Counter()
    for number, stratum in enumerate(strata):
        rows = np.flatnonzero(of_row == number)
        chosen[rows[np.argsort(keys[rows])[: take[stratum]]]] = True
        by_source[stratum[0]] += take[stratum]
    return chosen, by_source


def texts_of(path: Path, chosen: NDArray[np.bool_]) -> Iterator[tuple[str, str]]:
    """Title and text of the chosen rows, in the file's order."""
    row = 0
    for batch in read_batches(path, ["title", "text"]):
        here = batch.filter(pa.array(chosen[row : row + batch.num_rows]))
        yield from zip(here["title"].to_pylist(), here["text"].to_pylist(), strict=True)
        row += batch.num_rows

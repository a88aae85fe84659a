"""What `merge` decides by: identifiers, dates and flags of every record, in NumPy arrays."""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from tqdm import tqdm

from data_preprocessing.parse import METADATA_KEY
from data_preprocessing.records import PUBMED_ABSTRACT, RETRACTED, read_batches, read_metadata
from modelzoo_mediswift.errors import UserError

_INDEX_COLUMNS = (
    "pmid",
    "pmcid",
    "version",
    "source",
    "date_revised",
    "language",
    "licence",
    "publication_types",
)
_INDEX_TYPES: dict[str, type[np.generic]] = {
    "file": np.int32,
    "row": np.int32,
    "pmid": np.int64,
    "pmcid": np.int64,
    "version": np.int32,
    "date": np.int32,
    "pubmed": np.bool_,
    "retracted": np.bool_,
    "foreign": np.bool_,
    "unlicensed": np.bool_,
}

Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]


class Index:
    """One entry per record, in file order: what the decisions need."""

    def __init__(
        self,
        paths: list[Path],
        languages: Collection[str] | None,
        licences: Collection[str] | None,
    ) -> None:
        parts: dict[str, list[NDArray[Any]]] = {
            name: [np.zeros(0, dtype)] for name, dtype in _INDEX_TYPES.items()
        }
        self.starts = [0]
        self.deletions: list[tuple[int, int, int]] = []
        """(PMID, file, row before which it applies)."""
        self.languages: set[str | None] = set()
        self.licences: set[str | None] = set()
        for number, path in enumerate(tqdm(paths, desc="merge: ids", unit="file", disable=None)):
            rows = 0
            for batch in read_batches(path, columns=list(_INDEX_COLUMNS)):
                columns = _index_columns(batch, languages, licences)
                self.languages.update(batch["language"].unique().to_pylist())
                self.licences.update(batch["licence"].unique().to_pylist())
                columns["file"] = np.full(batch.num_rows, number)
                columns["row"] = np.arange(rows, rows + batch.num_rows)
                for name, dtype in _INDEX_TYPES.items():
                    parts[name].append(columns[name].astype(dtype))
                rows += batch.num_rows
            self.starts.append(self.starts[-1] + rows)
            self.deletions += [(pmid, number, row) for pmid, row in _deletions(path)]
        self.file, self.row = np.concatenate(parts["file"]), np.concatenate(parts["row"])
        self.pmid, self.pmcid = np.concatenate(parts["pmid"]), np.concatenate(parts["pmcid"])
        self.version, self.date = np.concatenate(parts["version"]), np.concatenate(parts["date"])
        self.pubmed = np.concatenate(parts["pubmed"])
        self.retracted = np.concatenate(parts["retracted"])
        self.foreign = np.concatenate(parts["foreign"])
        self.unlicensed = np.concatenate(parts["unlicensed"])
        # A citation's key is its PMID, a full text's its PMCID; the few full texts that have
        # only a PMID get its negative, so that the two numberings cannot meet.
        pmc_key = np.where(self.pmcid > 0, self.pmcid, -self.pmid)
        self.key = np.where(self.pubmed, self.pmid, pmc_key)

    def __len__(self) -> int:
        return len(self.key)


def _index_columns(
    batch: pa.RecordBatch, languages: Collection[str] | None, licences: Collection[str] | None
) -> dict[str, NDArray[Any]]:
    foreign: Mask = np.zeros(batch.num_rows, bool)
    if languages is not None:
        wanted = pa.array(sorted(languages), pa.string())
        foreign = ~booleans(pc.is_in(batch["language"], wanted))
    pubmed = booleans(pc.equal(batch["source"], PUBMED_ABSTRACT))
    unlicensed: Mask = np.zeros(batch.num_rows, bool)
    if licences is not None:  # PubMed states none for abstracts
        allowed = pa.array(sorted(licences), pa.string())
        unlicensed = ~booleans(pc.is_in(batch["licence"], allowed)) & ~pubmed
    return {
        "pmid": _integers(batch["pmid"]),
        "pmcid": _integers(batch["pmcid"]),
        "version": _integers(batch["version"]),
        "date": _dates(batch["date_revised"]),
        "pubmed": pubmed,
        "retracted": _contains(batch["publication_types"], RETRACTED),
        "foreign": foreign,
        "unlicensed": unlicensed,
    }


def _integers(column: pa.Array) -> Integers:
    values: Integers = pc.fill_null(column, 0).to_numpy(zero_copy_only=False).astype(np.int64)
    return values


def booleans(column: pa.Array) -> Mask:
    values: Mask = pc.fill_null(column, False).to_numpy(zero_copy_only=False).astype(bool)
    return values


def _dates(column: pa.Array) -> Integers:
    """ISO dates as numbers like 20240131, missing ones as 0."""
    digits = pc.fill_null(pc.replace_substring(column, "-", ""), "0")
    values: Integers = digits.cast(pa.int64()).to_numpy(zero_copy_only=False)
    return values


def _contains(lists: pa.ListArray, word: str) -> Mask:
    """Tell for each list of strings whether `word` is in it."""
    mask: Mask = np.zeros(len(lists), bool)
    found = pc.equal(lists.flatten(), word)
    mask[pc.list_parent_indices(lists).filter(found).to_numpy(zero_copy_only=False)] = True
    return mask


def _deletions(path: Path) -> list[tuple[int, int]]:
    metadata = read_metadata(path).get(METADATA_KEY)
    if metadata is None:
        raise UserError(f"{path}: not written by `parse`")
    return [(pmid, row) for pmid, row in json.loads(metadata)["deletions"]]

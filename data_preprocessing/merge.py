"""The `merge` stage: the last word on every article, without what must not be trained on.

Two passes. The first reads only identifiers and dates of all records into NumPy arrays (some 40
bytes a record) and decides; the second streams the records that stay. A document is identified
by (source, id), so that an article's abstract and its full text are both kept, as in the paper.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from tqdm import tqdm

from data_preprocessing.parse import METADATA_KEY
from data_preprocessing.records import (
    PMC_FULLTEXT,
    PUBMED_ABSTRACT,
    RETRACTED,
    RecordSink,
    read_batches,
    read_metadata,
    replacing,
)
from modelzoo_mediswift.errors import UserError

SOURCES = (PUBMED_ABSTRACT, PMC_FULLTEXT)
# Why a record is dropped, in the order in which the reasons are tried; 0 is "kept".
REASONS = (
    "kept",
    "no_id",  # neither PMID nor PMCID
    "deleted",  # by a later DeleteCitation
    "superseded",  # by a later revision or version, or the same record again
    "retracted",
    "language",
    "excluded_pmid",
    "title_only",
    "empty",  # neither title nor text
)
_CODE = {reason: code for code, reason in enumerate(REASONS)}
_INDEX_COLUMNS = (
    "pmid",
    "pmcid",
    "version",
    "source",
    "date_revised",
    "language",
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
}

Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]


def merge_records(
    parsed_dir: Path,
    out_dir: Path,
    *,
    validation_share: float = 0.03,
    seed: int = 0,
    languages: Collection[str] | None = None,
    exclude_pmids: Collection[int] | None = None,
    keep_retracted: bool = False,
) -> dict[str, Any]:
    """Merge what `parse` wrote into train.parquet, validation.parquet and counts.json.

    For each (source, id) the last word wins: the later file; in one file the higher version,
    then the later DateRevised, then the later record. Then out go: articles that any of their
    records calls retracted (unless `keep_retracted`), other languages than `languages` (default:
    all stay), `exclude_pmids` (such as an evaluation's test set) and entries without text.
    Retraction and exclusion reach an article's abstract and full text alike. The order is file
    order. Returns the counts; every record is in `out` or in one of the reasons.

    Raises:
        UserError: `parsed_dir` is not a finished `parse`, or an option is out of range.
    """
    if not 0 <= validation_share < 1:
        raise UserError(f"validation_share: expected a number in [0, 1), got {validation_share}")
    if out_dir.resolve() == parsed_dir.resolve():
        raise UserError(f"{out_dir}: merge needs another folder than the one it reads")
    paths = _parsed_files(parsed_dir)
    index = _Index(paths, languages)
    reasons = _decide(index, exclude_pmids or (), keep_retracted)
    out_dir.mkdir(parents=True, exist_ok=True)
    (out_dir / "counts.json").unlink(missing_ok=True)
    written = _write(paths, index, reasons, out_dir, validation_share, seed)
    counts = _counts(index, reasons, written)
    options = {
        "validation_share": validation_share,
        "seed": seed,
        "languages": sorted(languages) if languages is not None else None,
        "exclude_pmids": len(set(exclude_pmids or ())),
        "keep_retracted": keep_retracted,
    }
    with replacing(out_dir / "counts.json") as temporary:
        temporary.write_text(json.dumps({**counts, "options": options}, indent=1) + "\n")
    return counts


def in_validation(pmid: int | None, pmcid: int | None, share: float, seed: int) -> bool:
    """Tell whether an article belongs to the validation split.

    A function of its PMID (its PMCID if it has no PMID) and the seed alone, so that abstract and
    full text fall on the same side, and adding articles moves none.
    """
    key = f"{seed}:PMID:{pmid}" if pmid is not None else f"{seed}:PMC{pmcid}"
    digest = hashlib.blake2b(key.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") < share * 2.0**64


def _parsed_files(parsed_dir: Path) -> list[Path]:
    manifest = parsed_dir / "counts.json"
    try:
        files = json.loads(manifest.read_text())["files"]
        return [parsed_dir / file["parquet"] for file in files]
    except FileNotFoundError:
        raise UserError(f"{manifest}: not found; `parse` writes it when it has finished") from None
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{manifest}: not written by `parse`") from None


class _Index:
    """One entry per record, in file order: what the decisions need."""

    def __init__(self, paths: list[Path], languages: Collection[str] | None) -> None:
        parts: dict[str, list[NDArray[Any]]] = {
            name: [np.zeros(0, dtype)] for name, dtype in _INDEX_TYPES.items()
        }
        self.starts = [0]
        self.deletions: list[tuple[int, int, int]] = []
        """(PMID, file, row before which it applies)."""
        for number, path in enumerate(tqdm(paths, desc="merge: ids", unit="file", disable=None)):
            rows = 0
            for batch in read_batches(path, columns=list(_INDEX_COLUMNS)):
                columns = _index_columns(batch, languages)
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
        # A citation's key is its PMID, a full text's its PMCID; the few full texts that have
        # only a PMID get its negative, so that the two numberings cannot meet.
        pmc_key = np.where(self.pmcid > 0, self.pmcid, -self.pmid)
        self.key = np.where(self.pubmed, self.pmid, pmc_key)

    def __len__(self) -> int:
        return len(self.key)


def _index_columns(
    batch: pa.RecordBatch, languages: Collection[str] | None
) -> dict[str, NDArray[Any]]:
    foreign: Mask = np.zeros(batch.num_rows, bool)
    if languages is not None:
        wanted = pa.array(sorted(languages), pa.string())
        foreign = ~_booleans(pc.is_in(batch["language"], wanted))
    return {
        "pmid": _integers(batch["pmid"]),
        "pmcid": _integers(batch["pmcid"]),
        "version": _integers(batch["version"]),
        "date": _dates(batch["date_revised"]),
        "pubmed": _booleans(pc.equal(batch["source"], PUBMED_ABSTRACT)),
        "retracted": _contains(batch["publication_types"], RETRACTED),
        "foreign": foreign,
    }


def _integers(column: pa.Array) -> Integers:
    values: Integers = pc.fill_null(column, 0).to_numpy(zero_copy_only=False).astype(np.int64)
    return values


def _booleans(column: pa.Array) -> Mask:
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


def _decide(
    index: _Index, exclude_pmids: Collection[int], keep_retracted: bool
) -> NDArray[np.int8]:
    """Return a reason code for every record; those without text are not found out here."""
    reasons = np.zeros(len(index), np.int8)

    def drop(mask: Mask, reason: str) -> None:
        reasons[mask & (reasons == 0)] = _CODE[reason]

    drop(index.key == 0, "no_id")
    drop(_deleted(index), "deleted")
    drop(~_last_words(index, reasons == 0), "superseded")
    if not keep_retracted:
        drop(_same_articles(index, index.retracted & (reasons == 0)), "retracted")
    drop(index.foreign, "language")
    excluded = np.isin(index.pmid, np.array(sorted(exclude_pmids), np.int64))
    drop(_same_articles(index, excluded & (index.pmid > 0)), "excluded_pmid")
    return reasons


def _deleted(index: _Index) -> Mask:
    """Mark the citations that stand before a deletion of their PMID."""
    last: dict[int, tuple[int, int]] = {}
    for pmid, file, row in index.deletions:
        last[pmid] = max(last.get(pmid, (-1, -1)), (file, row))
    marked: Mask = np.zeros(len(index), bool)
    concerned = np.isin(index.pmid, np.array(sorted(last), np.int64)) & index.pubmed
    for position in np.flatnonzero(concerned):
        here = (int(index.file[position]), int(index.row[position]))
        marked[position] = here < last[int(index.pmid[position])]
    return marked


def _last_words(index: _Index, candidates: Mask) -> Mask:
    """Mark, of each (source, id), the record that stays."""
    positions = np.flatnonzero(candidates)
    sort_by = ("row", "date", "version", "file", "key", "pubmed")  # the last matters most
    order = positions[np.lexsort([getattr(index, name)[positions] for name in sort_by])]
    last = np.ones(len(order), bool)
    last[:-1] = (np.diff(index.key[order]) != 0) | (np.diff(index.pubmed[order].astype(int)) != 0)
    marked: Mask = np.zeros(len(index), bool)
    marked[order[last]] = True
    return marked


def _same_articles(index: _Index, mask: Mask) -> Mask:
    """Extend a mask to all records that share a PMID or PMCID with a marked one."""
    pmids, pmcids = index.pmid[mask], index.pmcid[mask]
    same: Mask = np.isin(index.pmid, pmids[pmids > 0]) | np.isin(index.pmcid, pmcids[pmcids > 0])
    return same


def _write(
    paths: list[Path],
    index: _Index,
    reasons: NDArray[np.int8],
    out_dir: Path,
    share: float,
    seed: int,
) -> Counter[tuple[str, str]]:
    """Stream the records that stay, and count them by (split, source).

    Records without text are dropped here, and their reason is entered.
    """
    written: Counter[tuple[str, str]] = Counter()
    with ExitStack() as stack:
        sinks = {
            split: stack.enter_context(RecordSink(out_dir / f"{split}.parquet"))
            for split in ("train", "validation")
        }
        for start, batch in _batches(paths, index):
            codes = reasons[start : start + batch.num_rows]
            no_text = _booleans(pc.equal(pc.binary_length(batch["text"]), 0))
            no_title = _booleans(pc.equal(pc.binary_length(batch["title"]), 0))
            codes[(codes == 0) & no_text & ~no_title] = _CODE["title_only"]
            codes[(codes == 0) & no_text] = _CODE["empty"]
            kept = batch.filter(pa.array(codes == 0))
            ids = zip(kept["pmid"].to_pylist(), kept["pmcid"].to_pylist(), strict=True)
            held_out = np.array([in_validation(*pair, share, seed) for pair in ids], bool)
            for split, mask in (("train", ~held_out), ("validation", held_out)):
                part = kept.filter(pa.array(mask))
                sinks[split].write(part)
                written.update((split, source) for source in part["source"].to_pylist())
    return written


def _batches(paths: list[Path], index: _Index) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yield every batch with the position of its first record in the index."""
    for number, path in enumerate(tqdm(paths, desc="merge: write", unit="file", disable=None)):
        start = index.starts[number]
        for batch in read_batches(path):
            yield start, batch
            start += batch.num_rows


def _counts(
    index: _Index, reasons: NDArray[np.int8], written: Counter[tuple[str, str]]
) -> dict[str, Any]:
    def count(mask: Mask) -> dict[str, Any]:
        codes = np.bincount(reasons[mask], minlength=len(REASONS))
        dropped = {r: int(n) for r, n in zip(REASONS[1:], codes[1:], strict=True) if n}
        return {"in": int(mask.sum()), "dropped": dropped, "out": int(codes[0])}

    counts = count(np.ones(len(index), bool))
    counts["train"] = sum(n for (split, _), n in written.items() if split == "train")
    counts["validation"] = written.total() - counts["train"]
    counts["sources"] = {}
    for source, mask in zip(SOURCES, (index.pubmed, ~index.pubmed), strict=True):
        if mask.any():
            counts["sources"][source] = {
                **count(mask),
                "train": written["train", source],
                "validation": written["validation", source],
            }
    for part in (counts, *counts["sources"].values()):
        assert part["in"] == part["out"] + sum(part["dropped"].values()), part
        assert part["out"] == part["train"] + part["validation"], part
    counts["deletions"] = len(index.deletions)
    return counts

"""The `merge` stage: the last word on every article, without what must not be trained on.

Two passes. The first reads only identifiers and dates of all records into NumPy arrays (some 45
bytes a record) and decides; the last streams the records that stay. Rules about the texts
themselves (copies, contamination) take a pass between them, which keeps 10 bytes a record, and 50
more with near copies. A document is identified by (source, id), so that an article's abstract and
its full text are both kept, as in the paper, unless `prefer_fulltext`.
"""

import hashlib
import json
import re
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

from data_preprocessing.deduplicate import later_copies, near_copies
from data_preprocessing.executor import Executor, Local
from data_preprocessing.merge_index import Index, Mask, booleans
from data_preprocessing.merge_texts import TextFindings, TextRules, read_the_texts
from data_preprocessing.records import (
    SOURCES,
    RecordSink,
    read_batches,
    replacing,
)
from modelzoo_mediswift.errors import UserError

# Why a record is dropped, in the order in which the reasons are tried; 0 is "kept".
REASONS = (
    "kept",
    "no_id",  # neither PMID nor PMCID
    "deleted",  # by a later DeleteCitation
    "superseded",  # by a later revision or version, or the same record again
    "retracted",
    "language",
    "licence",
    "excluded_pmid",
    "title_only",
    "empty",  # neither title nor text
    "contaminated",  # shares a run of words with an evaluation file
    "duplicate",  # the text of an earlier record, to the letter
    "near_duplicate",
    "has_fulltext",  # an abstract whose article's full text stays (prefer_fulltext)
)
_LANGUAGE = re.compile("[a-z]{3}")
_LICENCE = re.compile("CC0|PD|CC-BY(?:-NC)?(?:-ND|-SA)?")
_CODE = {reason: code for code, reason in enumerate(REASONS)}


def merge_records(
    parsed_dir: Path,
    out_dir: Path,
    *,
    validation_share: float = 0.03,
    seed: int = 0,
    languages: Collection[str] | None = None,
    licences: Collection[str] | None = None,
    exclude_pmids: Collection[int] | None = None,
    keep_retracted: bool = False,
    prefer_fulltext: bool = False,
    text_rules: TextRules | None = None,
    workers: int = 1,
    executor: Executor | None = None,
) -> dict[str, Any]:
    """Merge what `parse` wrote into train.parquet, validation.parquet and counts.json.

    For each (source, id) the last word wins: the later file; in one file the higher version,
    then the later DateRevised, then the later record. Then out go: articles that any of their
    records calls retracted (unless `keep_retracted`), other languages than `languages` (default:
    all stay), full texts under other licences than `licences`, `exclude_pmids` (such as an
    evaluation's test set), entries without text, what `text_rules` say, and with
    `prefer_fulltext` abstracts whose full text stays. Retraction and exclusion reach an article's
    abstract and full text alike. The order is file order, whatever the number of `workers` or the
    `executor` that takes their place.
    Returns the counts; every record is in `out` or in one of the reasons.

    Raises:
        UserError: `parsed_dir` is not a finished `parse`, an option is out of range, or a
            language or licence is none.
    """
    if not 0 <= validation_share < 1:
        raise UserError(f"validation_share: expected a number in [0, 1), got {validation_share}")
    if out_dir.resolve() == parsed_dir.resolve():
        raise UserError(f"{out_dir}: merge needs another folder than the one it reads")
    rules = text_rules or TextRules()
    paths = _parsed_files(parsed_dir)
    index = Index(paths, languages, licences)
    _check_codes("languages", languages, _LANGUAGE, index.languages)
    _check_codes("licences", licences, _LICENCE, index.licences)
    reasons = _decide(index, exclude_pmids or (), keep_retracted)
    out_dir.mkdir(parents=True, exist_ok=True)
    (out_dir / "counts.json").unlink(missing_ok=True)
    if rules.any or prefer_fulltext:
        staying = reasons == 0
        with read_the_texts(
            paths, index.starts, staying, rules, out_dir, executor or Local(workers)
        ) as found:
            _decide_by_text(index, reasons, found, rules, prefer_fulltext)
    written = _write(paths, index, reasons, out_dir, validation_share, seed)
    asked_for = {
        "language": languages is not None,
        "licence": licences is not None,
        "excluded_pmid": bool(exclude_pmids),
        "contaminated": bool(rules.decontaminate),
        "duplicate": rules.duplicates,
        "near_duplicate": rules.near_duplicates is not None,
        "has_fulltext": prefer_fulltext,
    }
    counts = _counts(index, reasons, written, {reason for reason, on in asked_for.items() if on})
    options = {
        "validation_share": validation_share,
        "seed": seed,
        "languages": sorted(languages) if languages is not None else None,
        "licences": sorted(licences) if licences is not None else None,
        "exclude_pmids": len(set(exclude_pmids or ())),
        "keep_retracted": keep_retracted,
        "prefer_fulltext": prefer_fulltext,
        **rules.described(),
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


def _check_codes(
    option: str, wanted: Collection[str] | None, form: re.Pattern[str], found: set[str | None]
) -> None:
    """Raise UserError for a name that is no code and that no record has: it would keep nothing."""
    for name in sorted(wanted or ()):
        if not form.fullmatch(name) and name not in found:
            known = ", ".join(sorted(filter(None, found))) or "none"
            raise UserError(f"{option}: no record has {name}; they have {known}")


def _decide(index: Index, exclude_pmids: Collection[int], keep_retracted: bool) -> NDArray[np.int8]:
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
    drop(index.unlicensed, "licence")
    excluded = np.isin(index.pmid, np.array(sorted(exclude_pmids), np.int64))
    drop(_same_articles(index, excluded & (index.pmid > 0)), "excluded_pmid")
    return reasons


def _decide_by_text(
    index: Index,
    reasons: NDArray[np.int8],
    found: TextFindings,
    rules: TextRules,
    prefer_fulltext: bool,
) -> None:
    """Enter the reasons that only the texts give."""
    staying = reasons == 0
    reasons[staying & found.without_text] = _CODE["title_only"]
    reasons[staying & found.empty] = _CODE["empty"]
    reasons[(reasons == 0) & found.contaminated] = _CODE["contaminated"]
    if rules.duplicates:
        copies = later_copies(found.hashes, np.flatnonzero(reasons == 0))
        reasons[copies] = _CODE["duplicate"]
    if rules.near_duplicates is not None:
        candidates = np.flatnonzero(reasons == 0)
        copies = near_copies(found.signatures, candidates, rules.near_duplicates)
        reasons[copies] = _CODE["near_duplicate"]
    if prefer_fulltext:
        full = _same_articles(index, (reasons == 0) & ~index.pubmed)
        reasons[(reasons == 0) & full & index.pubmed] = _CODE["has_fulltext"]


def _deleted(index: Index) -> Mask:
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


def _last_words(index: Index, candidates: Mask) -> Mask:
    """Mark, of each (source, id), the record that stays."""
    positions = np.flatnonzero(candidates)
    sort_by = ("row", "date", "version", "file", "key", "pubmed")  # the last matters most
    order = positions[np.lexsort([getattr(index, name)[positions] for name in sort_by])]
    last = np.ones(len(order), bool)
    last[:-1] = (np.diff(index.key[order]) != 0) | (np.diff(index.pubmed[order].astype(int)) != 0)
    marked: Mask = np.zeros(len(index), bool)
    marked[order[last]] = True
    return marked


def _same_articles(index: Index, mask: Mask) -> Mask:
    """Extend a mask to all records that share a PMID or PMCID with a marked one."""
    pmids, pmcids = index.pmid[mask], index.pmcid[mask]
    same: Mask = np.isin(index.pmid, pmids[pmids > 0]) | np.isin(index.pmcid, pmcids[pmcids > 0])
    return same


def _write(
    paths: list[Path],
    index: Index,
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
            no_text = booleans(pc.equal(pc.binary_length(batch["text"]), 0))
            no_title = booleans(pc.equal(pc.binary_length(batch["title"]), 0))
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


def _batches(paths: list[Path], index: Index) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yield every batch with the position of its first record in the index."""
    for number, path in enumerate(tqdm(paths, desc="merge: write", unit="file", disable=None)):
        start = index.starts[number]
        for batch in read_batches(path):
            yield start, batch
            start += batch.num_rows


def _counts(
    index: Index,
    reasons: NDArray[np.int8],
    written: Counter[tuple[str, str]],
    asked_for: Collection[str],
) -> dict[str, Any]:
    """Count what stayed and what did not; a rule that was asked for is listed with 0 too."""

    def count(mask: Mask) -> dict[str, Any]:
        codes = np.bincount(reasons[mask], minlength=len(REASONS))
        named = zip(REASONS[1:], codes[1:].tolist(), strict=True)
        dropped = {reason: n for reason, n in named if n or reason in asked_for}
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

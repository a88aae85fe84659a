"""The `parse` stage: PubMed XML and PMC JATS files to one Parquet file of records each."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from data_preprocessing.byte_streams import head_of, root_element
from data_preprocessing.executor import Executor, Local
from data_preprocessing.jats_rules import JatsOptions
from data_preprocessing.pmc_jats import ROOTS, filelist_of, read_jats, read_jats_tar
from data_preprocessing.pubmed_xml import RECORD_NAMES, read_pubmed
from data_preprocessing.records import (
    Deletion,
    Record,
    read_metadata,
    replacing,
    write_parquet,
)
from data_preprocessing.xml_reading import ReadLog
from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.whole_files import file_sha256

# Part of a finished file's identity: raise it when the same input gives other records.
PARSER_VERSION = 7
METADATA_KEY = "mediswift.parse"

_TAR_SUFFIXES = (".tar.gz", ".tgz", ".tar")
SUFFIXES = (".xml", ".xml.gz", ".nxml", ".nxml.gz", *_TAR_SUFFIXES)


@dataclass(frozen=True, slots=True)
class _Job:
    path: Path
    output: Path
    jats: JatsOptions


def parse_files(
    inputs: Sequence[Path],
    out_dir: Path,
    workers: int = 1,
    executor: Executor | None = None,
    jats: JatsOptions | None = None,
) -> dict[str, Any]:
    """Parse all PubMed and JATS files in `inputs` (files or folders) into `out_dir`.

    Writes one Parquet file per input, numbered in file order (by name, numbers by value), each
    with its counts, problems and deletions in the footer, and counts.json with all of them.
    A file already parsed from the same bytes with the same options is not parsed again; one that
    cannot be read to its end keeps the records before the damage and gets an `error`. Files in
    `out_dir` that belong to other inputs of an earlier run are removed. An `executor` takes the
    place of local `workers`. Returns the totals.

    Raises:
        UserError: an input does not exist or is of no known kind, or a worker process died.
    """
    jobs = _jobs(inputs, out_dir, jats)
    out_dir.mkdir(parents=True, exist_ok=True)
    # A missing counts.json says that the stage is not finished.
    (out_dir / "counts.json").unlink(missing_ok=True)
    _remove_others(out_dir, jobs)
    files = _run(jobs, executor or Local(workers))
    totals = _totals(files)
    with replacing(out_dir / "counts.json") as temporary:
        document = {"totals": totals, "files": files}
        # As ASCII: the names of files and archive members need not be UTF-8.
        temporary.write_text(json.dumps(document, indent=1) + "\n")
    return totals


def parsed_before(
    inputs: Sequence[Path], out_dir: Path, jats: JatsOptions | None = None
) -> list[tuple[Path, bool]]:
    """Each input file, and whether `out_dir` has it, going by name and options, not by its bytes.

    Raises UserError as `parse_files` does.
    """
    found = []
    for job in _jobs(inputs, out_dir, jats):
        known = (_finished(job.output) or {}).get("identity", {})
        wanted = _identity_but_for_bytes(job)
        found.append((job.path, {key: known.get(key) for key in wanted} == wanted))
    return found


def _jobs(inputs: Sequence[Path], out_dir: Path, jats: JatsOptions | None) -> list[_Job]:
    options = jats or JatsOptions()
    return [
        _Job(path, out_dir.absolute() / f"{index:05d}-{_stem(path)}.parquet", options)
        for index, path in enumerate(find_files(inputs))
    ]


def find_files(inputs: Sequence[Path]) -> list[Path]:
    """Return the PubMed and JATS files among and below `inputs` in file order.

    Raises:
        UserError: a path does not exist, is a file of another kind, or nothing was found.
    """
    found: dict[Path, Path] = {}
    for path in inputs:
        if path.is_dir():
            below = [p for p in path.rglob("*") if _is_input(p) and p.is_file()]
        elif not path.exists():
            raise UserError(f"{path}: no such file or folder")
        elif not _is_input(path):
            raise UserError(f"{path}: expected a name ending in {', '.join(SUFFIXES)}")
        elif not path.is_file():
            raise UserError(f"{path}: neither a file nor a folder")
        else:
            below = [path]
        found |= {p.resolve(): p for p in below}
    if not found:
        names = ", ".join(str(path) for path in inputs)
        raise UserError(f"{names}: no file ending in {', '.join(SUFFIXES)}")
    return sorted(found.values(), key=_file_order)


def _is_input(path: Path) -> bool:
    return path.name.lower().endswith(SUFFIXES) and not path.name.startswith(".")


def _file_order(path: Path) -> tuple[list[tuple[int, str]], str]:
    """Sort key: the name with its numbers by value, so that 9 comes before 10."""
    parts = re.split(r"(\d+)", path.name)
    return [(int(part), "") if part.isdecimal() else (0, part) for part in parts], str(path)


def _stem(path: Path) -> str:
    suffix = max((s for s in SUFFIXES if path.name.lower().endswith(s)), key=len)
    return re.sub(r"[^\w.-]", "_", path.name[: -len(suffix)])


def _remove_others(out_dir: Path, jobs: list[_Job]) -> None:
    """Remove what an earlier run made of other inputs: `merge` must not find it."""
    expected = {job.output.name for job in jobs}
    for path in out_dir.glob("[0-9][0-9][0-9][0-9][0-9]-*.parquet"):
        if path.name not in expected and _finished(path) is not None:
            path.unlink()


def _run(jobs: list[_Job], executor: Executor) -> list[dict[str, Any]]:
    sizes = [job.path.stat().st_size for job in jobs]
    results: dict[int, dict[str, Any]] = {}
    with tqdm(total=sum(sizes), desc="parse", unit="B", unit_scale=True, disable=None) as progress:
        for index, entry in executor.run(_parse_one, jobs):
            results[index] = entry
            progress.update(sizes[index])
    return [results[index] for index in range(len(jobs))]


def _parse_one(job: _Job) -> dict[str, Any]:
    """Parse one file, unless its output is there already, and return its entry for counts.json."""
    identity = _identity(job)
    summary = _finished(job.output)
    if summary is None or summary["identity"] != identity:
        summary = _parse(job, identity)
    return {
        "input": job.path.name,
        "parquet": job.output.name,
        "kind": summary["kind"],
        "sha256": identity["sha256"],
        "counts": summary["counts"],
        "problems": summary["problems"],
        "error": summary["error"],
    }


def _identity(job: _Job) -> dict[str, Any]:
    filelist = filelist_of(job.path)
    return {
        **_identity_but_for_bytes(job),
        "sha256": file_sha256(job.path),
        "filelist_sha256": file_sha256(filelist) if filelist.is_file() else None,
    }


def _identity_but_for_bytes(job: _Job) -> dict[str, Any]:
    return {
        "parser_version": PARSER_VERSION,
        "input": job.path.name,
        "jats_options": job.jats.as_dict(),
    }


def _finished(output: Path) -> dict[str, Any] | None:
    """Return the summary in a finished output's footer; None if there is no such output."""
    try:
        summary: dict[str, Any] = json.loads(read_metadata(output)[METADATA_KEY])
    except (UserError, KeyError, ValueError):
        return None
    return summary


def _parse(job: _Job, identity: dict[str, Any]) -> dict[str, Any]:
    log = ReadLog()
    summary: dict[str, Any] = {"identity": identity, "kind": None, "error": None}
    deletions: list[tuple[int, int]] = []
    footer: dict[str, str] = {}

    def records() -> Iterator[Record]:
        rows = 0
        try:
            summary["kind"] = kind = kind_of(job.path)
            for item in _read(kind, job, log):
                if isinstance(item, Deletion):
                    deletions.append((item.pmid, rows))
                else:
                    rows += 1
                    yield item
        except (UserError, OSError) as error:
            summary["error"] = str(error).replace(str(job.path), job.path.name)
        counts = {name: count for name, count in sorted(log.counts.items()) if count}
        summary.update(counts=counts, problems=log.problems, deletions=deletions)
        footer[METADATA_KEY] = json.dumps(summary)

    write_parquet(job.output, records(), footer)
    return summary


def _read(kind: str, job: _Job, log: ReadLog) -> Iterator[Record | Deletion]:
    if kind == "pubmed":
        return read_pubmed(job.path, log)
    read = read_jats if kind == "jats" else read_jats_tar
    return read(job.path, log, job.jats)


def kind_of(path: Path) -> str:
    """Return "pubmed", "jats" or "jats_tar" by what is in the file.

    Raises:
        UserError: it is none of them.
    """
    head = head_of(path)
    if head[257:262] == b"ustar" or path.name.lower().endswith(_TAR_SUFFIXES):
        return "jats_tar"
    if not head:
        raise UserError(f"{path}: the file is empty")
    root = root_element(head)
    if root in RECORD_NAMES:
        return "pubmed"
    if root in ROOTS:
        return "jats"
    raise UserError(
        f"{path}: neither PubMed XML nor JATS: "
        + (f"its root element is <{root}>" if root else "no XML root element found")
    )


def _totals(files: list[dict[str, Any]]) -> dict[str, Any]:
    """Sum the files' counts; the names' dots become levels (paragraphs.dropped.figure)."""
    counts: Counter[str] = Counter()
    for file in files:
        counts.update(file["counts"])
    totals: dict[str, Any] = {
        "files": len(files),
        "files_with_errors": sum(file["error"] is not None for file in files),
        "records": counts.pop("records", 0),
        "deletions": counts.pop("deletions", 0),
        "damaged_record": counts.pop("damaged_record", 0),
    }
    for name, count in sorted(counts.items()):
        level = totals
        *outer, last = name.split(".")
        for part in outer:
            level = level.setdefault(part, {})
        level[last] = count
    _check_ledger(totals.get("paragraphs", {}))
    return totals


def _check_ledger(paragraphs: dict[str, Any]) -> None:
    dropped = sum(paragraphs.get("dropped", {}).values())
    assert paragraphs.get("in", 0) == paragraphs.get("out", 0) + dropped, paragraphs

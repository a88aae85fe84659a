"""The `fetch` stage: PubMed's baseline and updates, PMC's packages of old, verified.

A PubMed file must have the MD5 of its .md5 file. A PMC package must be a whole archive with
exactly the articles of its .filelist.csv, which also gives every article's licence.
"""

import hashlib
import re
import tarfile
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from tqdm import tqdm

from data_preprocessing.byte_streams import open_bytes
from data_preprocessing.download import BadContent, Patience, download, patiently
from data_preprocessing.fetch_state import FetchState
from data_preprocessing.file_sets import FILE_SETS, NLM, PUBMED, FileSet
from data_preprocessing.mirror import Mirror, mirror_of
from data_preprocessing.only_one import only_one
from data_preprocessing.pmc_jats import filelist_of, read_filelist
from modelzoo_mediswift.errors import UserError

STATE = "fetched.json"
_MD5 = re.compile(rb"(?<![0-9a-fA-F])[0-9a-fA-F]{32}(?![0-9a-fA-F])")
_MAX_MD5_BYTES = 4096
_PMCID = re.compile(r"PMC(\d{1,18})(?!\d)")


def fetch_files(
    out_dir: Path,
    sets: Collection[str] = PUBMED,
    *,
    base_url: str = NLM,
    names: Collection[str] | None = None,
    newest: int | None = None,
    connections: int = 3,
    interval: float = 0.34,
    timeout: float = 60.0,
    patience: Patience | None = None,
    prune: bool = False,
) -> dict[str, Any]:
    """Bring `out_dir`/SET up to date with the mirror at `base_url` (a URL or a folder).

    `names` replaces the server's listing; `newest` takes only so many files of each set, the last
    by name. At most `connections` at a time, and one request every `interval` seconds. A file that
    the listing shows unchanged is not asked for again. `prune` removes files that the mirror no
    longer lists. Returns what happened, by set; ``failed`` names the files that could not be had.

    Raises:
        UserError: no such set, or the mirror cannot be listed, or another run is at work.
    """
    if unknown := sorted(set(sets) - FILE_SETS.keys()):
        raise UserError(f"{unknown[0]}: no such set of files; expected {', '.join(FILE_SETS)}")
    mirror = mirror_of(base_url, timeout=timeout, interval=interval)
    patience = patience or Patience()
    with only_one(out_dir):
        state = FetchState(out_dir / STATE)
        report: dict[str, Any] = {}
        jobs = []
        for name in sets:
            listing = _listing(mirror, FILE_SETS[name], names, patience)
            chosen = sorted(listing)[-newest:] if newest else sorted(listing)
            report[name] = {"listed": len(listing), "new": [], "changed": [], "unchanged": 0}
            gone = state.gone(name, listing) if names is None else []
            report[name] |= {"gone": gone, "failed": {}}
            jobs += [_Job(name, file, listing[file]) for file in chosen]
        worker = _Worker(mirror, out_dir, state, patience)
        _run(worker, jobs, connections, report)
        if prune:
            for name, told in report.items():
                for file in told["gone"]:
                    (out_dir / name / file).unlink(missing_ok=True)
                    (out_dir / name / f"{file}.md5").unlink(missing_ok=True)
                    filelist_of(out_dir / name / file).unlink(missing_ok=True)
                    state.forget(f"{name}/{file}")
    return report


@dataclass(frozen=True)
class _Job:
    set_name: str
    file: str
    signature: str
    """What the mirror's listing says of the file."""

    @property
    def key(self) -> str:
        return f"{self.set_name}/{self.file}"


def _listing(
    mirror: Mirror, files: FileSet, names: Collection[str] | None, patience: Patience
) -> dict[str, str]:
    pattern = re.compile(files.pattern)
    if names is not None:
        return {name: "" for name in names if pattern.fullmatch(name)}
    try:
        listing = patiently(lambda: mirror.listing(files.folder), patience)
    except UserError as error:
        raise UserError("; ".join(filter(None, (str(error), files.if_missing)))) from None
    found = {name: mark for name, mark in listing.items() if pattern.fullmatch(name)}
    if not found:
        raise UserError(
            f"{mirror.where(files.folder)}: lists no file like {files.pattern}; "
            "if it has none yet, name the other sets only (--sets)"
        )
    return found


def _run(worker: "_Worker", jobs: list[_Job], connections: int, report: dict[str, Any]) -> None:
    with (
        tqdm(total=len(jobs), desc="fetch", unit="file", disable=None) as progress,
        ThreadPoolExecutor(connections) as pool,
    ):
        worker.progress = progress
        futures = {pool.submit(worker.fetch, job): job for job in jobs}
        try:
            for future in as_completed(futures):
                job = futures[future]
                told = report[job.set_name]
                try:
                    outcome = future.result()
                except UserError as error:
                    told["failed"][job.file] = str(error)
                else:
                    if outcome == "unchanged":
                        told["unchanged"] += 1
                    else:
                        told[outcome].append(job.file)
                progress.update()
        except BaseException:
            worker.patience.stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    for told in report.values():
        told["new"].sort()
        told["changed"].sort()
        told["failed"] = dict(sorted(told["failed"].items()))


class _Worker:
    """Fetches one file after another; all threads share it."""

    def __init__(
        self, mirror: Mirror, out_dir: Path, state: FetchState, patience: Patience
    ) -> None:
        self.mirror = mirror
        self.out_dir = out_dir
        self.state = state
        self.patience = patience
        self.progress: Any = None
        self._bytes = 0

    def fetch(self, job: _Job) -> str:
        """Return "new", "changed" or "unchanged"; raises UserError."""
        target = self.out_dir / job.set_name / job.file
        target.parent.mkdir(parents=True, exist_ok=True)
        known = self.state.files.get(job.key)
        here = target.is_file() and known is not None and known["size"] == target.stat().st_size
        if here and known and job.signature and known["listing"] == job.signature:
            return "unchanged"
        if FILE_SETS[job.set_name].listed:
            checksum, changed = self._package(job, target, known if here else None)
        else:
            checksum, changed = self._pubmed(job, target)
        entry = {"size": target.stat().st_size, "listing": job.signature, "checksum": checksum}
        self.state.note(job.key, entry)
        if not changed:
            return "unchanged"
        return "new" if known is None else "changed"

    def _pubmed(self, job: _Job, target: Path) -> tuple[str, bool]:
        expected = self._md5(job, target)
        if target.is_file() and _digest(target, "md5") == expected:
            return f"md5:{expected}", False

        def verify(part: Path) -> None:
            found = _digest(part, "md5")
            if found != expected:
                raise BadContent(f"MD5 is {found}, expected {expected}")

        self._download(job, job.file, target, verify)
        return f"md5:{expected}", True

    def _md5(self, job: _Job, target: Path) -> str:
        found: list[str] = []

        def verify(part: Path) -> None:
            content = part.read_bytes()[:_MAX_MD5_BYTES]
            match = _MD5.search(content)
            if match is None:
                raise BadContent("holds no MD5")
            found[:] = [match[0].decode().lower()]

        self._download(job, f"{job.file}.md5", target.with_name(f"{job.file}.md5"), verify)
        return found[0]

    def _package(self, job: _Job, target: Path, known: dict[str, Any] | None) -> tuple[str, bool]:
        filelist = filelist_of(target)
        articles: set[int] = set()

        def verify_list(part: Path) -> None:
            try:
                articles.update(read_filelist(part))
            except UserError as error:
                raise BadContent(f"not a file list ({error})") from None
            if not articles:
                raise BadContent("a file list without articles")

        self._download(job, filelist.name, filelist, verify_list)
        checksum = f"filelist-sha256:{_digest(filelist, 'sha256')}"
        if known is not None and known["checksum"] == checksum:
            return checksum, False
        if known is None and target.is_file():
            try:
                check_package(target, articles)
                return checksum, False
            except BadContent:
                pass  # not the one that is listed: fetched below

        self._download(job, job.file, target, lambda part: check_package(part, articles))
        return checksum, True

    def _download(self, job: _Job, file: str, target: Path, verify: Any) -> None:
        path = f"{FILE_SETS[job.set_name].folder}/{file}"
        download(self.mirror, path, target, verify, self.patience, self._received)

    def _received(self, count: int) -> None:
        self._bytes += count  # for show alone: threads may lose a count
        if self.progress is not None:
            self.progress.set_postfix_str(f"{self._bytes / 1e6:,.0f} MB", refresh=False)


def check_package(path: Path, articles: Collection[int]) -> None:
    """Read a .tar.gz to its end; raises BadContent unless it has exactly `articles` (PMCIDs)."""
    try:
        found = set(_packed_articles(path))
    except (tarfile.TarError, UserError) as error:
        raise BadContent(f"not a whole .tar.gz ({error})") from None
    if missing := sorted(set(articles) - found):
        raise BadContent(f"{len(missing)} listed articles are missing, the first PMC{missing[0]}")
    if surplus := sorted(found - set(articles)):
        raise BadContent(f"{len(surplus)} articles are not listed, the first PMC{surplus[0]}")


def _packed_articles(path: Path) -> Iterator[int]:
    with open_bytes(path) as stream:
        source: Any = stream
        with tarfile.open(fileobj=source, mode="r|") as archive:
            for member in archive:
                name = PurePosixPath(member.name)
                match = _PMCID.search(name.name)
                if member.isreg() and name.suffix in (".xml", ".nxml") and match:
                    yield int(match[1])
        while stream.read(1 << 20):
            pass  # gzip's own checksum stands at the end


def _digest(path: Path, algorithm: str) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, algorithm).hexdigest()

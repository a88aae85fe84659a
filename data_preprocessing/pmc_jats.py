"""PMC full texts (JATS, NLM DTD 1.0 to 3.0) to records: single files and NLM's bulk packages."""

import csv
import os
import re
import tarfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from lxml import etree

from data_preprocessing import entities
from data_preprocessing import jats_metadata as metadata
from data_preprocessing.byte_streams import (
    encoding_of,
    head_of,
    open_bytes,
    root_element,
    to_utf8,
    utf8_chunks,
)
from data_preprocessing.inline_text import first_child, local_name
from data_preprocessing.jats_cut import without_unread
from data_preprocessing.jats_rules import JatsOptions
from data_preprocessing.jats_text import ALL_KEPT, KEPT, LedgerError, article_text
from data_preprocessing.records import PMC_FULLTEXT, RETRACTED, Record
from data_preprocessing.xml_reading import (
    MAX_RECORD_BYTES,
    DamagedRecord,
    ReadLog,
    RecordSplitter,
    parse_record,
)
from modelzoo_mediswift.errors import UserError

ROOTS = ("article", "pmc-articleset", "OAI-PMH")
"""A single article; what efetch and PMC's OAI service answer with."""
_FOREIGN_NAMESPACES = ("{http://www.w3.org/", "{http://www.niso.org/schemas/ali")
_AT_ONCE = 8 << 20
"""Files up to this size are read whole; nearly all articles are smaller by far."""
_TAR_BYTES = 1 << 16
"""tarfile moves so many bytes for each header it reads."""
_PROLOG = 1 << 16  # where an article begins, at the latest, and ends, for `_Reader.only`
_EPILOG = 1 << 10
MAX_TABLE_TEXT = 4 << 20
"""In longer articles the tables are data; they are left out whatever the option says."""
_PMCID_IN_NAME = re.compile(r"PMC(\d{1,18})(?!\d)")


@dataclass(frozen=True, slots=True)
class ListedArticle:
    """What a bulk package's file list says about one article."""

    pmid: int | None
    licence: str | None
    retracted: bool


def read_jats(
    path: Path, log: ReadLog | None = None, options: JatsOptions | None = None
) -> Iterator[Record]:
    """Stream the article or articles of a JATS file (plain or gzip).

    `log` collects counts: `records`, `damaged_record`, and the ledger of paragraphs, summed
    (`paragraphs.in`, `paragraphs.out`, `paragraphs.dropped.RULE`; see jats_text).

    Raises:
        UserError: after the last readable article, if the file is truncated or damaged; at
            once, if it is not JATS.
    """
    reader = _Reader(log if log is not None else ReadLog(), options or JatsOptions(), {})
    with path.open("rb") as file:
        whole = file.read() if os.fstat(file.fileno()).st_size <= _AT_ONCE else b""
    if whole and (record := reader.only(whole, path.name)):
        yield record
        return
    head = head_of(path)
    reader.declared = entities.declared(head)
    root = root_element(head)
    if root not in ROOTS:
        raise UserError(
            f"{path}: root element {root or 'missing'}; expected one of {', '.join(ROOTS)}"
        )
    splitter = RecordSplitter(path, root, ("article",), reader.log)
    for _, raw in splitter.records(utf8_chunks(path)):
        if record := reader.article(raw, path.name):
            yield record


def read_jats_tar(
    path: Path, log: ReadLog | None = None, options: JatsOptions | None = None
) -> Iterator[Record]:
    """Stream the articles of a .tar or .tar.gz of JATS files, in the archive's order.

    Nothing is extracted to disk. Members with absolute names, "..", and links or devices are
    skipped (`members.unsafe`), as are files that are not XML (`members.other`). A file list
    beside the archive (NAME.filelist.csv beside NAME.tar.gz) overrides licence, and supplies
    PMID and retraction. `log` as in `read_jats`.

    Raises:
        UserError: after the last readable article, if the archive is truncated or damaged.
    """
    log = log if log is not None else ReadLog()
    reader = _Reader(log, options or JatsOptions(), read_filelist(filelist_of(path)))
    for name, data in _members(path, log):
        if record := reader.only(data, name):
            yield record
            continue
        if root_element(data[: 1 << 16]) not in ROOTS:
            log.damaged(f"{path.name}: {name}: not a JATS article")
            continue
        reader.declared = entities.declared(data[: 1 << 16])
        splitter = RecordSplitter(Path(name), "article", ("article",), log)
        try:
            for _, raw in splitter.records([to_utf8(data)]):
                if record := reader.article(raw, name):
                    yield record
        except UserError:
            continue  # a truncated member: already counted as damaged


class _ArchiveBytes:
    """An archive's bytes for tarfile, which takes a cut between two members for the end."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._last = b""

    def read(self, size: int) -> bytes:
        data: bytes = self._stream.read(size)
        self._last = (self._last + data[-tarfile.BLOCKSIZE :])[-tarfile.BLOCKSIZE :]
        return data

    def at_end(self) -> bool:
        """Tell whether the last bytes read are the zeros that end an archive."""
        return not self._last.strip(b"\0")


def _members(path: Path, log: ReadLog) -> Iterator[tuple[str, bytes]]:
    with open_bytes(path) as stream:
        source: Any = _ArchiveBytes(stream)
        try:
            with tarfile.open(fileobj=source, mode="r|", bufsize=_TAR_BYTES) as archive:
                while (member := archive.next()) is not None:
                    # tarfile would keep every header it has seen (python/typeshed lacks `members`)
                    archive.members.clear()  # type: ignore[attr-defined]
                    if reason := _why_not(member):
                        log.counts[f"members.{reason}"] += reason != "folder"
                        continue
                    content = archive.extractfile(member)
                    assert content is not None  # a regular file
                    data = content.read()
                    if len(data) < member.size:
                        raise tarfile.ReadError("unexpected end of data")
                    yield member.name, data
            if not source.at_end():
                raise tarfile.ReadError("unexpected end of archive")
        except (tarfile.TarError, EOFError) as error:
            raise UserError(f"{path}: the archive is damaged or truncated ({error})") from error


def _why_not(member: tarfile.TarInfo) -> str | None:
    """Return the reason for not reading a member of an archive, or None."""
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts or not (member.isreg() or member.isdir()):
        return "unsafe"
    if member.isdir():
        return "folder"
    if name.suffix.lower() not in (".xml", ".nxml"):
        return "other"
    return "too_long" if member.size > MAX_RECORD_BYTES else None


def filelist_of(archive: Path) -> Path:
    """Return where the file list of a bulk package would be."""
    stem = re.sub(r"\.(?:tar\.gz|tgz|tar)$", "", archive.name, flags=re.IGNORECASE)
    return archive.with_name(f"{stem}.filelist.csv")


def read_filelist(path: Path) -> dict[int, ListedArticle]:
    """Read a bulk package's file list into {PMCID: what it says}; {} if there is none.

    Raises:
        UserError: the file is not a list with the columns AccessionID and License.
    """
    if not path.is_file():
        return {}
    listed: dict[int, ListedArticle] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as handle:
            rows = csv.DictReader(handle)
            columns = rows.fieldnames or []
            if missing := {"AccessionID", "License"} - set(columns):
                raise UserError(f"{path}: no column {', '.join(sorted(missing))}; found {columns}")
            for row in rows:
                pmcid = _PMCID_IN_NAME.match(row["AccessionID"] or "")
                if pmcid is None:
                    continue
                pmid = re.fullmatch(r"\s*([1-9]\d{0,17})\s*", row.get("PMID") or "")
                listed[int(pmcid[1])] = ListedArticle(
                    pmid=int(pmid[1]) if pmid else None,
                    licence=metadata.licence_code(row["License"] or ""),
                    retracted=(row.get("Retracted") or "").strip().lower() == "yes",
                )
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: not a readable CSV file ({error})") from error
    return listed


class _Reader:
    """Turns the bytes of articles into records and keeps the ledger."""

    def __init__(
        self, log: ReadLog, options: JatsOptions, listed: dict[int, ListedArticle]
    ) -> None:
        self.log = log
        self.declared: dict[bytes, bytes] = {}
        """Entities that the document at hand declares."""
        self._options = options
        self._listed = listed

    def only(self, document: bytes, name: str) -> Record | None:
        """Read a file that is one article and nothing else; None if it is not, or is damaged."""
        if encoding_of(document[:1024]) not in ("utf-8", "ascii"):
            return None
        start = document.find(b"<article", 0, _PROLOG)
        end = document.rfind(b"</article>", -_EPILOG) + len(b"</article>")
        if (
            start < 0
            or end < start
            or document[start + 8 : start + 9] not in (b">", b" ", b"\n", b"\r", b"\t")
            or document[end:].strip()
        ):
            return None
        self.declared = entities.declared(document[:start])
        for version in self._versions(document, start, end):
            try:
                return self._read(version, name)
            except DamagedRecord:
                continue
        return None

    def article(self, raw: bytes, name: str) -> Record | None:
        """Read an article; None, and an entry in the log, if it is damaged."""
        why = ""
        for version in self._versions(raw, 0, len(raw)):
            try:
                return self._read(version, name)
            except DamagedRecord as error:
                why = str(error)
        self.log.damaged(f"{name}: {why}")
        return None

    def _versions(self, document: bytes, start: int, end: int) -> Iterator[bytes]:
        """Yield an article without what is not read; then all of it, should that be damaged."""
        tables = not self._options.table_text or end - start > MAX_TABLE_TEXT
        smaller = without_unread(document, start, end, tables=tables)
        yield smaller
        if (whole := document[start:end]) != smaller:
            yield whole

    def _read(self, raw: bytes, name: str) -> Record:
        article = parse_record(raw, self.log, self.declared)
        if article.tag.startswith("{"):
            _drop_namespace(article)
        try:
            text, ledger = article_text(article, self._options)
        except RecursionError:
            raise DamagedRecord("nested too deeply") from None
        except LedgerError as error:
            raise LedgerError(f"{name}: {error}") from None
        self._count(ledger)
        if not text:
            self.log.counts["without_text"] += 1
        return _record(article, text, name, self._listed)

    def _count(self, ledger: Counter[str]) -> None:
        counts = self.log.counts
        counts["records"] += 1
        counts["paragraphs.in"] += ledger.total()
        counts["paragraphs.out"] += sum(ledger[place] for place in ALL_KEPT)
        for rule, paragraphs in ledger.items():
            if rule not in ALL_KEPT:
                counts[f"paragraphs.dropped.{rule}"] += paragraphs
            elif rule != KEPT:
                counts[f"paragraphs.{rule}"] += paragraphs


def _record(article: Any, text: str, name: str, listed: dict[int, ListedArticle]) -> Record:
    front = first_child(article, "front")
    meta = first_child(front, "article-meta") if front is not None else None
    if meta is None:
        meta = etree.Element("article-meta")
    pmid, pmcid = metadata.article_ids(meta)
    if pmcid is None and (match := _PMCID_IN_NAME.search(PurePosixPath(name).name)):
        pmcid = int(match[1])
    title = metadata.title(meta)
    types = metadata.publication_types(article, meta, title)
    licence = metadata.licence(meta)
    if pmcid is not None and (entry := listed.get(pmcid)):
        pmid = pmid or entry.pmid
        licence = entry.licence or licence
        if entry.retracted and RETRACTED not in types:
            types.append(RETRACTED)
    return Record(
        pmid=pmid,
        pmcid=pmcid,
        title=title,
        text=text,
        source=PMC_FULLTEXT,
        licence=licence,
        year=metadata.year(meta),
        language=metadata.language(article),
        publication_types=types,
    )


def _drop_namespace(article: Any) -> None:
    """Give the elements of a namespaced JATS article (PMC's OAI service) their plain names."""
    for element in article.iter():
        if element.tag.startswith("{") and not element.tag.startswith(_FOREIGN_NAMESPACES):
            element.tag = local_name(element)

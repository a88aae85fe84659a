"""The one record type of the pipeline, and its Parquet form."""

import os
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq

from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.whole_files import flush

PUBMED_ABSTRACT = "pubmed_abstract"
PMC_FULLTEXT = "pmc_fulltext"
SOURCES = (PUBMED_ABSTRACT, PMC_FULLTEXT)

# PubMed's own name for an article that has been withdrawn; the JATS reader uses it too.
RETRACTED = "Retracted Publication"

# A row group is closed at whichever comes first, so that full texts cost no more memory than
# abstracts. Both depend on the rows alone: the same rows give the same bytes.
ROW_GROUP_ROWS = 8192
ROW_GROUP_BYTES = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One document: a PubMed citation with its abstract, or a PMC article's full text."""

    pmid: int | None
    pmcid: int | None = None
    """The number alone, without "PMC"."""
    version: int = 1
    """PMID@Version; 1 where the source has no versions."""
    title: str
    text: str
    """Abstract or full text without the title, one paragraph per line; "" if there is none."""
    source: str
    """PUBMED_ABSTRACT or PMC_FULLTEXT."""
    licence: str | None = None
    """"CC-BY", "CC-BY-NC", "CC0" ...; None where the source does not say."""
    year: int | None = None
    date_revised: str | None = None
    """ISO 8601 date."""
    language: str = "eng"
    """ISO 639-2 code as PubMed writes it ("eng", "fre"); "und" if the source does not say."""
    publication_types: list[str] = field(default_factory=list)

    @property
    def document_id(self) -> str:
        """ "PMC123" for a full text that has a PMCID, "PMID:123" otherwise."""
        if self.pmcid is not None and (self.source == PMC_FULLTEXT or self.pmid is None):
            return f"PMC{self.pmcid}"
        return f"PMID:{self.pmid}"


@dataclass(frozen=True, slots=True)
class Deletion:
    """A citation that NLM withdraws: whatever came before it under this PMID is void."""

    pmid: int


SCHEMA = pa.schema(
    [
        pa.field("pmid", pa.int64()),
        pa.field("pmcid", pa.int64()),
        pa.field("version", pa.int32(), nullable=False),
        pa.field("title", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("licence", pa.string()),
        pa.field("year", pa.int32()),
        pa.field("date_revised", pa.string()),
        pa.field("language", pa.string(), nullable=False),
        pa.field("publication_types", pa.list_(pa.string()), nullable=False),
    ]
)
_COLUMNS = tuple(f.name for f in fields(Record))


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` that takes its place once the block has succeeded."""
    temporary = path.with_name(f".{path.name}.{socket.gethostname()}-{os.getpid()}.tmp")
    try:
        yield temporary
        flush(temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    flush(path.parent)  # the rename itself must survive a power cut


class RecordSink:
    """A Parquet file of records that appears under its name only when it is complete.

    Use as a context manager; rows are buffered up to one row group. Same rows, same bytes.
    """

    def __init__(self, path: Path) -> None:
        self.rows = 0
        self._replacing = replacing(path)
        self._writer: pq.ParquetWriter | None = None
        self._pending: list[pa.RecordBatch] = []
        self._pending_rows = 0
        self._pending_bytes = 0

    def __enter__(self) -> Self:
        self._writer = pq.ParquetWriter(
            self._replacing.__enter__(),
            SCHEMA,
            compression="zstd",
            use_dictionary=["source", "licence", "language"],
        )
        return self

    def write(self, batch: pa.RecordBatch) -> None:
        """Append the rows of `batch`, which has SCHEMA's columns."""
        if batch.num_rows == 0:
            return
        self._pending.append(batch)
        self._pending_rows += batch.num_rows
        self._pending_bytes += batch.nbytes
        self.rows += batch.num_rows
        if self._pending_rows >= ROW_GROUP_ROWS or self._pending_bytes >= ROW_GROUP_BYTES:
            self._flush()

    def add_metadata(self, metadata: Mapping[str, str]) -> None:
        """Store key-value pairs in the file's footer; `read_metadata` gives them back."""
        assert self._writer is not None
        self._writer.add_key_value_metadata(dict(metadata))

    def _flush(self) -> None:
        assert self._writer is not None
        if self._pending:
            table = pa.Table.from_batches(self._pending, SCHEMA)
            self._writer.write_table(table, row_group_size=table.num_rows)
        self._pending, self._pending_rows, self._pending_bytes = [], 0, 0

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._writer is not None
        try:
            if kind is None:
                self._flush()
            self._writer.close()
        except BaseException as late:  # the disk is full: what is there is no file of records
            self._replacing.__exit__(type(late), late, late.__traceback__)
            raise
        self._replacing.__exit__(kind, error, trace)


def to_batch(records: list[Record]) -> pa.RecordBatch:
    """Return the records as one Arrow batch with SCHEMA's columns."""
    columns = [
        pa.array([getattr(record, name) for record in records], type=SCHEMA.field(name).type)
        for name in _COLUMNS
    ]
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


def write_parquet(
    path: Path, records: Iterable[Record], metadata: Mapping[str, str] | None = None
) -> int:
    """Stream `records` into `path` and return how many there were.

    The file appears only when all records are in it. `metadata` goes into its footer, and is
    looked at only after the last record.
    """
    with RecordSink(path) as sink:
        waiting: list[Record] = []
        size = 0
        for record in records:
            waiting.append(record)
            size += len(record.text)
            if len(waiting) == 512 or size > 4 << 20:
                sink.write(to_batch(waiting))
                waiting, size = [], 0
        if waiting:
            sink.write(to_batch(waiting))
        if metadata:
            sink.add_metadata(metadata)
        return sink.rows


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path}: not a readable Parquet file of records ({reason})") from error


def read_batches(path: Path, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
    """Stream the rows of a Parquet file of records in order, a few thousand at a time.

    Raises:
        UserError: the file is missing, damaged, or has other columns than SCHEMA.
    """
    with _opened(path) as file:
        for group in range(file.num_row_groups):
            yield from _group_batches(file, group, columns)


def read_group(
    path: Path, group: int, columns: list[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """Stream the rows of one row group; raises UserError as `read_batches` does."""
    with _opened(path) as file:
        yield from _group_batches(file, group, columns)


def row_groups(path: Path) -> int:
    """How many row groups a file of records has; raises UserError as `read_batches` does."""
    with _opened(path) as file:
        count: int = file.num_row_groups
    return count


@contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    with _reading(path), pq.ParquetFile(path) as file:
        found = file.schema_arrow.remove_metadata()
        if not found.equals(SCHEMA):
            raise UserError(
                f"{path}: not a file of records: columns {', '.join(found.names)}; "
                f"expected {', '.join(SCHEMA.names)} with the types of records.SCHEMA"
            )
        yield file


def _group_batches(
    file: pq.ParquetFile, group: int, columns: list[str] | None
) -> Iterator[pa.RecordBatch]:
    # One row group at a time: a batch would otherwise join many groups of long texts.
    return file.iter_batches(
        batch_size=2048, row_groups=[group], columns=columns, use_threads=False
    )


def read_parquet(path: Path) -> Iterator[Record]:
    """Stream the records of a Parquet file in order; raises UserError as `read_batches` does."""
    for batch in read_batches(path):
        for row in batch.to_pylist():
            yield Record(**row)


def read_metadata(path: Path) -> dict[str, str]:
    """Return the key-value pairs in the footer of a Parquet file.

    Raises:
        UserError: the file is missing or damaged.
    """
    with _reading(path):
        pairs = pq.read_metadata(path).metadata or {}
    return {key.decode(): value.decode() for key, value in pairs.items()}

"""Cutting a stream of XML into its records, and parsing each record by itself.

A record (one `<PubmedArticle>`, one `<article>`) is found by its tags in the bytes and parsed
alone. That keeps memory constant, confines damage to the record that has it, and no document
type ever reaches the parser: nothing is fetched, no entity is expanded.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lxml import etree

from data_preprocessing import entities
from modelzoo_mediswift.errors import UserError

# The largest real records (collaborations with thousands of authors, articles with whole
# data sets as tables) have some 20 MB.
MAX_RECORD_BYTES = 64 << 20
_BLOCK_BYTES = 1 << 20
# A tag takes some 150 bytes of memory, whatever its own, and an attribute three times that. Real
# articles without their tables and references have a tenth as many.
MAX_TAGS = 1_800_000
_FEW = 2 << 20  # bytes that cannot hold so many
_LONGEST_TAG = 64
_MAX_PROBLEMS = 20
_AFTER_NAME = (b">", b" ", b"/", b"\n", b"\r", b"\t")

_PARSER = etree.XMLParser(
    resolve_entities=False,
    load_dtd=False,
    no_network=True,
    huge_tree=False,  # keeps libxml2's limits: depth 256, 10 MB in one text node
    remove_comments=True,
    remove_pis=True,
    collect_ids=False,
)
# A record may use a prefix that the file's root declares.
_NAMESPACES = {
    b"mml": b"http://www.w3.org/1998/Math/MathML",
    b"xlink": b"http://www.w3.org/1999/xlink",
    b"xsi": b"http://www.w3.org/2001/XMLSchema-instance",
    b"ali": b"http://www.niso.org/schemas/ali/1.0/",
    b"oasis": b"http://www.niso.org/standards/z39-96/ns/oasis-exchange/table",
}


@dataclass
class ReadLog:
    """What happened while a file was read: counts by name, and the first damaged records."""

    counts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def damaged(self, why: str) -> None:
        """Count a record that could not be read."""
        self.counts["damaged_record"] += 1
        if len(self.problems) < _MAX_PROBLEMS:
            self.problems.append(why)


class DamagedRecord(Exception):
    """One record is not well-formed; the records around it are not concerned."""


def _blocks(chunks: Iterable[bytes]) -> Iterator[bytes | UserError]:
    """Join small chunks; an error of the stream comes last, after all bytes before it."""
    waiting: list[bytes] = []
    size = 0
    try:
        for chunk in chunks:
            waiting.append(chunk)
            size += len(chunk)
            if size >= _BLOCK_BYTES:
                yield b"".join(waiting)
                waiting, size = [], 0
    except UserError as error:
        yield b"".join(waiting)
        yield error
        return
    yield b"".join(waiting)


class RecordSplitter:
    """The records of one XML file, as bytes."""

    def __init__(self, path: Path, root: str, names: tuple[str, ...], log: ReadLog) -> None:
        """Set up for a file whose root element is `root` and whose records are called `names`."""
        self.path = path
        self.root = root
        self.names = names
        self.log = log
        alternatives = "|".join(names).encode()
        self._tag = re.compile(rb"<(/?)(" + alternatives + rb")(?=[\s>/])")
        self._closing = b"</" + root.encode()
        self._closed = root in names
        self._buffer = b""
        self._position = 0
        self._skipping = False  # inside a record that is too long

    def records(self, chunks: Iterable[bytes]) -> Iterator[tuple[str, bytes]]:
        """Yield (name, bytes) of each record in order.

        Raises:
            UserError: after the last readable record, if the file is truncated or damaged.
        """
        for block in _blocks(chunks):
            if isinstance(block, UserError):
                self._end_of_file(error=block)
                raise block
            self._buffer = self._buffer[self._position :] + block
            self._position = 0
            yield from self._complete_records()
        self._end_of_file(error=None)

    def _complete_records(self) -> Iterator[tuple[str, bytes]]:
        buffer = self._buffer
        while tag := self._next_tag():
            closing, name = tag[1], tag[2]
            if closing:
                if not self._skipping:
                    self.log.damaged(f"{self.path.name}: </{name.decode()}> without a start tag")
                self._skipping = False
                self._position = tag.end()
                continue
            self._skipping = False
            end = _end_of_element(buffer, name, tag.end())
            inner = _start_of_element(buffer, name, tag.end(), end if end > 0 else len(buffer))
            if inner > 0:
                self.log.damaged(f"{self.path.name}: a <{name.decode()}> has no end tag")
                self._position = inner
                continue
            if end > 0:
                self._position = end
                if end - tag.start() > MAX_RECORD_BYTES:
                    self._too_long(name)
                else:
                    yield name.decode(), buffer[tag.start() : end]
                continue
            if len(buffer) - tag.start() <= MAX_RECORD_BYTES:
                self._position = tag.start()
                return  # more bytes are needed
            self._too_long(name)
            self._skipping = True
            self._position = tag.end()

    def _too_long(self, name: bytes) -> None:
        self.log.damaged(
            f"{self.path.name}: a <{name.decode()}> longer than {MAX_RECORD_BYTES >> 20} MiB"
        )

    def _next_tag(self) -> re.Match[bytes] | None:
        """Find the next start or end tag of a record that is not inside a comment."""
        buffer, start = self._buffer, self._position
        while tag := self._tag.search(buffer, start):
            comment = buffer.rfind(b"<!--", self._position, tag.start())
            if comment < 0 or buffer.find(b"-->", comment, tag.start()) > 0:
                self._closed = self._closed or self._closing in buffer[self._position : tag.start()]
                return tag
            after = buffer.find(b"-->", tag.end())
            if after < 0:
                if len(buffer) - self._position > MAX_RECORD_BYTES:
                    return tag  # no comment is that long
                break
            start = after
        self._closed = self._closed or self._closing in buffer[self._position :]
        if tag is None:
            self._position = max(self._position, len(buffer) - _LONGEST_TAG)
        return None

    def _end_of_file(self, error: UserError | None) -> None:
        rest = self._tag.search(self._buffer, self._position)
        if rest and not rest[1]:
            self.log.damaged(f"{self.path.name}: ends inside a <{rest[2].decode()}>")
            if error is None:
                raise UserError(f"{self.path}: truncated: it ends inside a <{rest[2].decode()}>")
        empty = rb"<%s(?:\s[^<>]*)?/>\s*\Z" % self.root.encode()  # an update without news
        if error is None and not self._closed and not re.search(empty, self._buffer):
            raise UserError(f"{self.path}: truncated: it does not end with </{self.root}>")


def _start_of_element(buffer: bytes, name: bytes, start: int, end: int) -> int:
    """Return the position of the first `<name` that is a whole tag name in a slice, or -1."""
    tag = b"<" + name
    position = buffer.find(tag, start, end)
    while (
        position >= 0 and buffer[position + len(tag) : position + len(tag) + 1] not in _AFTER_NAME
    ):
        position = buffer.find(tag, position + 1, end)
    return position


def _end_of_element(buffer: bytes, name: bytes, start: int) -> int:
    """Return the position after the first `</name>` from `start` on, or -1."""
    # A self-closing start tag ends where it begins.
    close = buffer.find(b">", start)
    if close > 0 and buffer[close - 1 : close] == b"/":
        return close + 1
    tag = b"</" + name
    position = buffer.find(tag, start)
    while position >= 0:
        close = buffer.find(b">", position)
        if close < 0:
            return -1
        if not buffer[position + len(tag) : close].strip():
            return close + 1
        position = buffer.find(tag, position + 1)
    return -1


def parse_record(record: bytes, log: ReadLog, declared: Mapping[bytes, bytes] | None = None) -> Any:
    """Parse the bytes of one record into an lxml element.

    Entities that only the DTD defines, those that the file has `declared`, and namespace prefixes
    that the file's root declares are supplied; unknown entities are removed and counted as
    `unknown_entity`.

    Raises:
        DamagedRecord: it is not well-formed even so, or has more than MAX_TAGS tags.
    """
    if len(record) > _FEW and record.count(b"<") + 3 * record.count(b"=") > MAX_TAGS:
        raise DamagedRecord(f"more than {MAX_TAGS:,} tags")
    try:
        return etree.fromstring(record, _PARSER)
    except etree.XMLSyntaxError:
        pass  # the usual reasons can be repaired
    longest = len(record) + record.count(b"&") * entities.LONGEST_DECLARED
    known = declared if declared and longest <= MAX_RECORD_BYTES else {}
    repaired, unknown = entities.resolve(_declare_prefixes(record), known)
    try:
        element = etree.fromstring(repaired, _PARSER)
    except etree.XMLSyntaxError as error:
        raise DamagedRecord(str(error)) from None
    log.counts["unknown_entity"] += unknown
    return element


def _declare_prefixes(record: bytes) -> bytes:
    start_tag = record[: record.find(b">")]
    missing = b"".join(
        b' xmlns:%s="%s"' % (prefix, uri)
        for prefix, uri in _NAMESPACES.items()
        if b"xmlns:" + prefix not in start_tag
    )
    name_end = re.match(rb"<[^\s/>]+", record)
    assert name_end is not None
    return record[: name_end.end()] + missing + record[name_end.end() :]

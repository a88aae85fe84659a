"""Files as streams of UTF-8 bytes: plain or gzip, any declared encoding, bounded expansion."""

import codecs
import gzip
import io
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from modelzoo_mediswift.errors import UserError

CHUNK_BYTES = 1 << 20
_GZIP_MAGIC = b"\x1f\x8b"

# XML compresses 5 to 15 times; gzip's maximum is 1032. A file may always expand to
# FREE_EXPANSION, so that a small file of many equal records is not taken for an attack.
FREE_EXPANSION = 1 << 30
MAX_EXPANSION_RATIO = 200

_DECLARED_ENCODING = re.compile(rb"""^\s*<\?xml[^>]*?\bencoding\s*=\s*["']([\w.-]+)["']""")
_PROLOG = re.compile(
    rb"<\?.*?\?>"  # XML declaration, processing instructions
    rb"|<!--.*?-->"
    rb"|<!DOCTYPE[^\[>]*(?:\[.*?\]\s*)?>",
    re.DOTALL,
)
_ROOT = re.compile(rb"<(?:[\w.-]+:)?([A-Za-z_][\w.-]*)(?=[\s/>])")  # not half a name


class GzipReader(io.RawIOBase):
    """The decompressed bytes of a gzip file.

    `read` gives what is left before any damage, and raises UserError only when it gets there:
    a truncated or corrupt file, or one that expands beyond reason.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._raw = path.open("rb")
        self._gzip = gzip.GzipFile(fileobj=self._raw)
        self._expanded = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = CHUNK_BYTES) -> bytes:
        try:
            # read1 stops at the first short read; read would lose bytes it had before an error.
            data = self._gzip.read1(size)
        except EOFError:
            raise UserError(f"{self.path}: the gzip file is truncated") from None
        except (gzip.BadGzipFile, zlib.error) as error:
            raise UserError(f"{self.path}: the gzip file is damaged ({error})") from error
        self._expanded += len(data)
        if self._expanded > max(FREE_EXPANSION, MAX_EXPANSION_RATIO * self._raw.tell()):
            raise UserError(
                f"{self.path}: expands more than {MAX_EXPANSION_RATIO} times; "
                "refused as a decompression bomb"
            )
        return data

    def close(self) -> None:
        self._gzip.close()
        self._raw.close()
        super().close()


def open_bytes(path: Path) -> BinaryIO | GzipReader:
    """Open a plain or gzip file for reading; its first bytes decide, not its name."""
    with path.open("rb") as probe:
        magic = probe.read(2)
    return GzipReader(path) if magic == _GZIP_MAGIC else path.open("rb")


def encoding_of(head: bytes) -> str:
    """Return the encoding that a byte-order mark or an XML declaration in `head` names.

    UTF-16 is also known by the zero beside the first `<`. UTF-8 where nothing else is known: no
    name, one that Python does not know as a text's, or one in which the declaration itself could
    not be read, such as UTF-16's in a file that was converted.
    """
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if head.startswith((b"<\0", b"\0<")):
        return "utf-16-le" if head.startswith(b"<") else "utf-16-be"
    if head.startswith(codecs.BOM_UTF8):
        return "utf-8-sig"
    declared = _DECLARED_ENCODING.match(head[:1024])
    if declared is None:
        return "utf-8"
    try:
        name = codecs.lookup(declared[1].decode()).name
        # Python's "zlib", "hex" and "idna" are no encodings of texts, and raise here.
        return name if b"<?xml".decode(name, errors="replace") == "<?xml" else "utf-8"
    except (LookupError, ValueError):
        return "utf-8"


def to_utf8(data: bytes) -> bytes:
    """Return a whole XML document as UTF-8 bytes, whatever encoding it declares."""
    encoding = encoding_of(data)
    if encoding in ("utf-8", "ascii"):
        return data
    return data.decode(encoding, errors="replace").encode()


def utf8_chunks(path: Path) -> Iterator[bytes]:
    """Stream a plain or gzip XML file as UTF-8 bytes.

    UTF-8 passes through untouched, so that a damaged character costs its record and not the file.
    """
    with open_bytes(path) as stream:
        first = stream.read(CHUNK_BYTES)
        encoding = encoding_of(first)
        if encoding in ("utf-8", "ascii"):
            while first:
                yield first
                first = stream.read(CHUNK_BYTES)
            return
        decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
        while first:
            yield decoder.decode(first).encode()
            first = stream.read(CHUNK_BYTES)


def head_of(path: Path, size: int = 1 << 16) -> bytes:
    """Return the first `size` decompressed bytes of a file, or what there is before its damage."""
    head = b""
    with open_bytes(path) as stream:
        while len(head) < size:
            try:
                piece = stream.read(size - len(head))
            except UserError:
                if not head:
                    raise
                break
            if not piece:
                break
            head += piece
    return head


def root_element(head: bytes) -> str | None:
    """Return the name of an XML document's root element, without prefix; None if there is none.

    Comments, processing instructions and the document type (also one with declarations of its
    own) are skipped, not read.
    """
    text = to_utf8(head).removeprefix(codecs.BOM_UTF8)
    position = 0
    while True:
        position += len(text[position:]) - len(text[position:].lstrip())
        prolog = _PROLOG.match(text, position)
        if prolog is None:
            break
        position = prolog.end()
    root = _ROOT.match(text, position)
    return root[1].decode() if root else None

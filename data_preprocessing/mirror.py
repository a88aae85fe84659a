"""Where NLM's files come from: an HTTP server or a folder, listed and read in the same way."""

import email.utils
import http.client
import re
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from data_preprocessing.kept_connections import Answer, KeptConnections
from data_preprocessing.listing_pages import DirectoryPage, bucket_folders
from modelzoo_mediswift.errors import UserError

_HEADERS = {
    "User-Agent": "modelzoo-mediswift (data_preprocessing fetch)",
    "Accept-Encoding": "identity",
}
_MAX_INDEX_BYTES = 64 << 20
_PASSING = frozenset((408, 425, 429, 500, 502, 503, 504))
_CONTENT_RANGE = re.compile(r"bytes\s+(\d+)-\d+/(\d+|\*)")


class PassingError(Exception):
    """The network or the server failed in a way that may be over soon."""

    def __init__(self, message: str, wait: float = 0.0) -> None:
        super().__init__(message)
        self.wait = wait
        """Seconds that the server asked to be left alone."""


class MissingError(UserError):
    """The mirror has no such file."""


@dataclass(frozen=True)
class Opened:
    """An open file of a mirror, from `start` on."""

    stream: BinaryIO
    start: int
    total: int | None
    """Bytes of the whole file, where the server says."""
    validator: str | None
    """Changes when the file does: an ETag, a date."""


@dataclass(frozen=True)
class Whole:
    """A small file, read whole."""

    content: bytes
    etag: str = ""
    """As the server gave it, without quotes; in S3 the MD5 of an object that came in one part."""


class Mirror(Protocol):
    """A tree of files."""

    def listing(self, folder: str) -> dict[str, str]:
        """File name -> what the listing says of it (date, size), which changes with the file."""

    def open(self, path: str, start: int = 0, validator: str | None = None) -> Opened:
        """Open a file from byte `start`, or from its beginning if it is no longer `validator`'s.

        Raises PassingError, or UserError if there is no such file.
        """

    def get(self, path: str, limit: int) -> Whole:
        """Read a file of at most `limit` bytes.

        Raises PassingError, MissingError, or UserError if it is longer or refused.
        """

    def folders(self, folder: str) -> list[str]:
        """The names of the folders in `folder`; raises PassingError or UserError."""

    def where(self, path: str) -> str:
        """The full name, for messages."""

    def close(self) -> None:
        """Let go of what `get` has kept open."""


def mirror_of(base: str, *, timeout: float = 60.0, interval: float = 0.34) -> Mirror:
    """The mirror at an http(s) URL or in a local folder; `interval` seconds between requests."""
    if base.startswith(("http://", "https://")):
        try:
            host = urllib.parse.urlsplit(base).hostname
        except ValueError:  # "http://["
            host = None
        if not host:
            raise UserError(f"{base}: names no host")
        return HttpMirror(base, timeout=timeout, interval=interval)
    if "://" in base:
        raise UserError(f"{base}: expected an http(s) URL or a folder")
    if not Path(base).is_dir():
        raise UserError(f"{base}: no such folder")
    return FolderMirror(Path(base))


class FolderMirror:
    """A copy of the tree on a disk."""

    def __init__(self, base: Path) -> None:
        self.base = base

    def where(self, path: str) -> str:
        return str(self.base / path)

    def close(self) -> None:
        pass

    def listing(self, folder: str) -> dict[str, str]:
        try:
            files = [path for path in (self.base / folder).iterdir() if path.is_file()]
        except OSError as error:
            raise UserError(f"{self.where(folder)}: cannot be listed ({error.strerror})") from None
        return {path.name: self._validator(path) for path in files}

    def folders(self, folder: str) -> list[str]:
        try:
            return sorted(path.name for path in (self.base / folder).iterdir() if path.is_dir())
        except OSError as error:
            raise UserError(f"{self.where(folder)}: cannot be listed ({error.strerror})") from None

    def get(self, path: str, limit: int) -> Whole:
        with self.open(path).stream as stream:
            content = stream.read(limit + 1)
        if len(content) > limit:
            raise UserError(f"{self.where(path)}: longer than {limit >> 20} MiB")
        return Whole(content)

    def open(self, path: str, start: int = 0, validator: str | None = None) -> Opened:
        source = self.base / path
        try:
            now, total = self._validator(source), source.stat().st_size
            start = start if validator in (None, now) and start <= total else 0
            stream = source.open("rb")
            stream.seek(start)
        except FileNotFoundError as error:
            raise MissingError(f"{source}: cannot be read ({error.strerror})") from None
        except OSError as error:
            raise UserError(f"{source}: cannot be read ({error.strerror})") from None
        return Opened(stream, start, total, now)

    @staticmethod
    def _validator(path: Path) -> str:
        status = path.stat()
        return f"{status.st_size}-{status.st_mtime_ns}"


class HttpMirror:
    """A server with directory pages, such as NLM's or anybody's copy of it, or an S3 bucket."""

    def __init__(self, base: str, *, timeout: float, interval: float) -> None:
        self.base = base.rstrip("/") + "/"
        self.timeout = timeout
        self.interval = interval
        self._kept = KeptConnections(timeout)
        self._turn = threading.Lock()
        self._next = 0.0

    def where(self, path: str) -> str:
        return urllib.parse.urljoin(self.base, urllib.parse.quote(path))

    def close(self) -> None:
        self._kept.close()

    def listing(self, folder: str) -> dict[str, str]:
        index = self._index(folder)
        return {name: " ".join(text.split()) for name, text in index.files.items()}

    def folders(self, folder: str) -> list[str]:
        prefix = folder.rstrip("/") + "/"
        question = {"list-type": "2", "delimiter": "/", "prefix": prefix}
        try:
            page = self._page(f"{self.base}?{urllib.parse.urlencode(question)}")
        except UserError:
            page = b""
        found = bucket_folders(page)
        return self._index(folder).folders if found is None else found

    def get(self, path: str, limit: int) -> Whole:
        url = self.where(path)
        self._wait_for_turn()
        with network(url):
            answer, content = self._kept.get(url, _HEADERS, limit)
        if (answer.status or 0) >= http.HTTPStatus.BAD_REQUEST:
            raise _refusal(url, answer)
        if len(content) > limit:
            raise UserError(f"{url}: longer than {limit >> 20} MiB")
        return Whole(content, answer.headers.get("ETag", "").strip('"'))

    def _index(self, folder: str) -> DirectoryPage:
        url = self.where(folder.rstrip("/") + "/")
        index = DirectoryPage(url)
        index.feed(self._page(url).decode("utf-8", errors="replace"))
        index.close()
        return index

    def _page(self, url: str) -> bytes:
        with self._request(url, {}) as answer, network(url):
            page: bytes = answer.read(_MAX_INDEX_BYTES + 1)
        if len(page) > _MAX_INDEX_BYTES:
            raise UserError(f"{url}: the listing is longer than {_MAX_INDEX_BYTES >> 20} MiB")
        return page

    def open(self, path: str, start: int = 0, validator: str | None = None) -> Opened:
        headers = {}
        if start:
            headers["Range"] = f"bytes={start}-"
            if validator:
                headers["If-Range"] = validator
        try:
            answer = self._request(self.where(path), headers)
        except _NoSuchRange:
            return self.open(path)
        length = answer.headers.get("Content-Length")
        total = int(length) if length is not None and length.isdecimal() else None
        began = 0
        if answer.status == http.HTTPStatus.PARTIAL_CONTENT:
            given = _CONTENT_RANGE.match(answer.headers.get("Content-Range", ""))
            if given is None or int(given[1]) != start:
                answer.close()
                return self.open(path)
            began, total = start, int(given[2]) if given[2] != "*" else None
        etag = answer.headers.get("ETag", "")
        # Only a strong ETag speaks for every byte.
        known = etag if etag.startswith('"') else answer.headers.get("Last-Modified")
        return Opened(cast(BinaryIO, answer), began, total, known)

    def _request(self, url: str, headers: dict[str, str]) -> http.client.HTTPResponse:
        self._wait_for_turn()
        request = urllib.request.Request(url, headers=_HEADERS | headers)
        with network(url):
            try:
                answer = urllib.request.urlopen(request, timeout=self.timeout)
                return cast(http.client.HTTPResponse, answer)
            except urllib.error.HTTPError as error:
                with error:
                    if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                        raise _NoSuchRange from None
                    raise _refusal(url, error) from None

    def _wait_for_turn(self) -> None:
        with self._turn:
            now = time.monotonic()
            turn = max(now, self._next)
            self._next = turn + self.interval
        time.sleep(turn - now)


def _refusal(url: str, answer: Answer) -> Exception:
    said = f"{url}: the server answered {answer.status} {answer.reason}"
    if answer.status in _PASSING:
        return PassingError(said, _seconds(answer.headers.get("Retry-After", "")))
    if answer.status in (http.HTTPStatus.NOT_FOUND, http.HTTPStatus.GONE):
        return MissingError(said)
    return UserError(said)


class _NoSuchRange(Exception):
    """The server has no bytes there: the file is shorter now."""


@contextmanager
def network(where: str) -> Iterator[None]:
    """Turn what the network does wrong into PassingError."""
    try:
        yield
    except http.client.HTTPException as error:
        raise PassingError(f"{where}: {type(error).__name__} {error}".rstrip()) from None
    except urllib.error.URLError as error:
        raise PassingError(f"{where}: {error.reason}") from None
    except (ConnectionError, TimeoutError) as error:
        raise PassingError(f"{where}: {error or type(error).__name__}") from None


def _seconds(retry_after: str) -> float:
    """The Retry-After header, a number or a date, as seconds from now; at most ten minutes."""
    if retry_after.strip().isdecimal():
        return min(600.0, float(retry_after))
    try:
        until = email.utils.parsedate_to_datetime(retry_after).timestamp()
    except ValueError:
        return 0.0
    return min(600.0, max(0.0, until - time.time()))

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
from html.parser import HTMLParser
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from modelzoo_mediswift.errors import UserError

_AGENT = "modelzoo-mediswift (data_preprocessing fetch)"
_MAX_INDEX_BYTES = 64 << 20
_PASSING = frozenset((408, 425, 429, 500, 502, 503, 504))
_CONTENT_RANGE = re.compile(r"bytes\s+(\d+)-\d+/(\d+|\*)")


class PassingError(Exception):
    """The network or the server failed in a way that may be over soon."""

    def __init__(self, message: str, wait: float = 0.0) -> None:
        super().__init__(message)
        self.wait = wait
        """Seconds that the server asked to be left alone."""


@dataclass(frozen=True)
class Opened:
    """An open file of a mirror, from `start` on."""

    stream: BinaryIO
    start: int
    total: int | None
    """Bytes of the whole file, where the server says."""
    validator: str | None
    """Changes when the file does: an ETag, a date."""


class Mirror(Protocol):
    """A tree of files."""

    def listing(self, folder: str) -> dict[str, str]:
        """File name -> what the listing says of it (date, size), which changes with the file."""

    def open(self, path: str, start: int = 0, validator: str | None = None) -> Opened:
        """Open a file from byte `start`, or from its beginning if it is no longer `validator`'s.

        Raises PassingError, or UserError if there is no such file.
        """

    def where(self, path: str) -> str:
        """The full name, for messages."""


def mirror_of(base: str, *, timeout: float = 60.0, interval: float = 0.34) -> Mirror:
    """The mirror at an http(s) URL or in a local folder; `interval` seconds between requests."""
    if base.startswith(("http://", "https://")):
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

    def listing(self, folder: str) -> dict[str, str]:
        try:
            files = [path for path in (self.base / folder).iterdir() if path.is_file()]
        except OSError as error:
            raise UserError(f"{self.where(folder)}: cannot be listed ({error.strerror})") from None
        return {path.name: self._validator(path) for path in files}

    def open(self, path: str, start: int = 0, validator: str | None = None) -> Opened:
        source = self.base / path
        try:
            now, total = self._validator(source), source.stat().st_size
            start = start if validator in (None, now) and start <= total else 0
            stream = source.open("rb")
            stream.seek(start)
        except OSError as error:
            raise UserError(f"{source}: cannot be read ({error.strerror})") from None
        return Opened(stream, start, total, now)

    @staticmethod
    def _validator(path: Path) -> str:
        status = path.stat()
        return f"{status.st_size}-{status.st_mtime_ns}"


class HttpMirror:
    """A server with directory pages, such as NLM's or anybody's copy of it."""

    def __init__(self, base: str, *, timeout: float, interval: float) -> None:
        self.base = base.rstrip("/") + "/"
        self.timeout = timeout
        self.interval = interval
        self._turn = threading.Lock()
        self._next = 0.0

    def where(self, path: str) -> str:
        return urllib.parse.urljoin(self.base, urllib.parse.quote(path))

    def listing(self, folder: str) -> dict[str, str]:
        url = self.where(folder.rstrip("/") + "/")
        with self._request(url, {}) as answer:
            page = answer.read(_MAX_INDEX_BYTES + 1)
        if len(page) > _MAX_INDEX_BYTES:
            raise UserError(f"{url}: the listing is longer than {_MAX_INDEX_BYTES >> 20} MiB")
        index = _Index(url)
        index.feed(page.decode("utf-8", errors="replace"))
        index.close()
        return {name: " ".join(text.split()) for name, text in index.files.items()}

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
        total = int(length) if length is not None and length.isdigit() else None
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
        request = urllib.request.Request(
            url, headers={"User-Agent": _AGENT, "Accept-Encoding": "identity", **headers}
        )
        with network(url):
            try:
                answer = urllib.request.urlopen(request, timeout=self.timeout)
                return cast(http.client.HTTPResponse, answer)
            except urllib.error.HTTPError as error:
                with error:
                    if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                        raise _NoSuchRange from None
                    said = f"{url}: the server answered {error.code} {error.reason}"
                    if error.code in _PASSING:
                        wait = _seconds(error.headers.get("Retry-After", ""))
                        raise PassingError(said, wait) from None
                    raise UserError(said) from None

    def _wait_for_turn(self) -> None:
        with self._turn:
            now = time.monotonic()
            turn = max(now, self._next)
            self._next = turn + self.interval
        time.sleep(turn - now)


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
    if retry_after.strip().isdigit():
        return min(600.0, float(retry_after))
    try:
        until = email.utils.parsedate_to_datetime(retry_after).timestamp()
    except ValueError:
        return 0.0
    return min(600.0, max(0.0, until - time.time()))


class _Index(HTMLParser):
    """The files of a directory page: links to the page's own folder, and the text after each."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url
        self._name: str | None = None
        self._inside = False
        self.files: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        href = dict(attrs).get("href")
        if tag != "a" or not href:
            return
        target = urllib.parse.urljoin(self._url, href)
        name = urllib.parse.unquote(target.removeprefix(self._url))
        self._name = None
        if target.startswith(self._url) and name and not set(name) & set('/\\?#"\0'):
            self._name, self._inside = name, True
            self.files.setdefault(name, "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "a":
            self._inside = False

    def handle_data(self, data: str) -> None:
        if self._name is not None and not self._inside:
            self.files[self._name] += data

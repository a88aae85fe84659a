"""An HTTP server on loopback that serves a folder, and misbehaves as it is told."""

import hashlib
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, root: Path, handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.root = root
        self.requests: list[tuple[str, str | None]] = []
        """(path, Range) of every request, in order."""
        self.faults: dict[str, list[str]] = defaultdict(list)
        """Path -> what goes wrong with its next requests: drop, short, 503, 404, slow, lie."""
        self.ranges = True
        self.etags = True
        self.connections = 0
        self.busy = 0
        self.most_busy = 0
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def asked(self) -> Counter[str]:
        return Counter(path for path, _ in self.requests)


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        with self.server.lock:
            self.server.busy += 1
            self.server.most_busy = max(self.server.busy, self.server.most_busy)
        try:
            self._answer()
        finally:
            with self.server.lock:
                self.server.busy -= 1

    def _answer(self) -> None:
        path = unquote(self.path).strip("/")
        self.server.requests.append((path, self.headers.get("Range")))
        fault = self.server.faults[path].pop(0) if self.server.faults[path] else ""
        target = self.server.root / path
        if fault.isdigit():
            self.send_error(int(fault))
            return
        if target.is_dir():
            self._send(_index(target), fault)
        elif target.is_file():
            self._send(target.read_bytes(), fault, etag=self.etag_of(target))
        else:
            self.send_error(404)

    def etag_of(self, target: Path) -> str:
        return f'"{target.stat().st_mtime_ns}"'

    def _send(self, body: bytes, fault: str, etag: str = "") -> None:
        start = 0
        wanted = self.headers.get("Range")
        current = self.headers.get("If-Range") in (None, etag)
        if wanted and self.server.ranges and current:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            if start >= len(body):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        else:
            self.send_response(200)
        if etag and self.server.etags:
            self.send_header("ETag", etag)
        if fault == "lie":
            body = body[:-1] + bytes([body[-1] ^ 1])
        rest = body[start:]
        if fault in ("drop", "short"):
            self.close_connection = True
        if fault != "short":  # without a length, a cut cannot be told from the end
            self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        if fault in ("drop", "short"):
            rest = rest[: len(rest) // 2]
        if fault == "slow":
            time.sleep(1.0)
        if fault == "busy":
            time.sleep(0.05)
        self.wfile.write(rest)


class BucketHandler(_Handler):
    """As S3 answers: kept connections, listings by prefix, ETags that are MD5s."""

    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        question = parse_qs(self.path.partition("?")[2])
        if "list-type" not in question:
            super()._answer()
            return
        prefix = question["prefix"][0]
        self.server.requests.append((f"list {prefix}", None))
        faults = self.server.faults[f"list {prefix}"]
        folder = self.server.root / prefix
        below = sorted(p.name for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []
        listed = "".join(
            f"<CommonPrefixes><Prefix>{prefix}{n}/</Prefix></CommonPrefixes>" for n in below
        )
        xmlns = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
        body = f"<ListBucketResult {xmlns}><Prefix>{prefix}</Prefix>{listed}</ListBucketResult>"
        if faults:
            self.send_error(int(faults.pop(0)))
        else:
            self._send(body.encode(), "")

    def etag_of(self, target: Path) -> str:
        return f'"{hashlib.md5(target.read_bytes()).hexdigest()}"'


def _index(folder: Path) -> bytes:
    """A page as NLM's server writes it."""
    rows = "".join(
        f'<a href="{p.name}{"/" * p.is_dir()}">{p.name}</a>'
        f"  {p.stat().st_mtime_ns}  {p.stat().st_size >> 10}K\n"
        for p in sorted(folder.iterdir())
    )
    page = f'<html><body><a href="?C=N;O=D">Name</a><pre><a href="/">Up</a>\n{rows}</pre></body>'
    return page.encode()


@contextmanager
def serving(root: Path, handler: type[_Handler] = _Handler) -> Iterator[Server]:
    """Serve `root` on a free port of 127.0.0.1 until the block ends."""
    with Server(root, handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()

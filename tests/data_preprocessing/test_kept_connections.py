"""Connections that are kept: one per thread, through redirects and proxies, never out of step."""

import http.client
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from data_preprocessing.kept_connections import KeptConnections

LIMIT = 1000


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def setup(self) -> None:
        super().setup()
        self.server.opened += 1  # type: ignore[attr-defined]

    def do_GET(self) -> None:
        status = {"/moved": 302, "/gone": 410}.get(self.path, 200)
        body = self.path.encode() * (500 if self.path == "/long" else 1)
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", str(len(body) + (self.path == "/short")))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = self.path in ("/short", "/last")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadingHTTPServer]:
    for name in ("http_proxy", "HTTP_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.opened = 0  # type: ignore[attr-defined]
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def kept() -> Iterator[KeptConnections]:
    connections = KeptConnections(timeout=5)
    yield connections
    connections.close()


def get(kept: KeptConnections, server: ThreadingHTTPServer, path: str) -> tuple[int, bytes]:
    answer, content = kept.get(f"http://127.0.0.1:{server.server_port}{path}", {}, LIMIT)
    return answer.status or 0, content


def opened(server: ThreadingHTTPServer) -> int:
    count: int = server.opened  # type: ignore[attr-defined]
    return count


def test_one_connection_for_many_requests(
    server: ThreadingHTTPServer, kept: KeptConnections
) -> None:
    for path in ("/a", "/gone", "/b?c=d", "/e"):
        assert get(kept, server, path) == (410 if path == "/gone" else 200, path.encode())
    assert opened(server) == 1


def test_a_server_that_hangs_up_after_an_answer(
    server: ThreadingHTTPServer, kept: KeptConnections
) -> None:
    for _ in range(3):
        assert get(kept, server, "/last") == (200, b"/last")
    assert opened(server) == 3


def test_what_is_left_unread_does_not_begin_the_next_answer(
    server: ThreadingHTTPServer, kept: KeptConnections
) -> None:
    assert len(get(kept, server, "/long")[1]) == LIMIT + 1
    assert get(kept, server, "/a") == (200, b"/a")


def test_a_body_shorter_than_announced(server: ThreadingHTTPServer, kept: KeptConnections) -> None:
    with pytest.raises(http.client.IncompleteRead):
        get(kept, server, "/short")
    assert get(kept, server, "/a") == (200, b"/a")


def test_a_redirect_is_followed(server: ThreadingHTTPServer, kept: KeptConnections) -> None:
    assert get(kept, server, "/moved") == (200, b"/elsewhere")
    assert get(kept, server, "/a") == (200, b"/a")


def test_a_proxy_is_asked(
    server: ThreadingHTTPServer, kept: KeptConnections, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(urllib.request, "_opener", None)  # made once, with the proxies of then
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.server_port}")
    answer, content = kept.get("http://bucket.invalid/a", {}, LIMIT)
    assert (answer.status, content) == (200, b"http://bucket.invalid/a")


def test_every_thread_has_its_own(server: ThreadingHTTPServer, kept: KeptConnections) -> None:
    def work() -> None:
        for _ in range(5):
            assert get(kept, server, "/a") == (200, b"/a")

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert opened(server) == 3

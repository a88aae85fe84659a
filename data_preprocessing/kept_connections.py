"""HTTP connections that stay open: millions of small objects need no million handshakes."""

import http
import http.client
import ssl
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import TypeAlias, cast

Answer: TypeAlias = http.client.HTTPResponse | urllib.error.HTTPError
_REDIRECTS = frozenset((301, 302, 303, 307, 308))


class KeptConnections:
    """One connection per thread and server, opened again whenever it breaks.

    Requests that a proxy or another address must answer go through urllib, one connection each.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._of_thread = threading.local()
        self._tls: ssl.SSLContext | None = None
        self._lock = threading.Lock()
        self._all: list[http.client.HTTPConnection] = []

    def get(self, url: str, headers: Mapping[str, str], limit: int) -> tuple[Answer, bytes]:
        """GET; the answer, of any status, and up to `limit` + 1 bytes of its body.

        Raises OSError and http.client.HTTPException, also for a body shorter than announced.
        """
        parts = urllib.parse.urlsplit(url)
        if _goes_through_proxy(parts):
            return self._alone(url, headers, limit)
        kept: dict[str, http.client.HTTPConnection] = self._of_thread.__dict__
        server = f"{parts.scheme}://{parts.netloc}"
        connection = kept.get(server) or kept.setdefault(server, self._new(parts))
        target = urllib.parse.urlunsplit(("", "", parts.path or "/", parts.query, ""))
        was_open = connection.sock is not None
        try:
            try:
                answer = _ask(connection, target, headers)
            except (ConnectionError, http.client.BadStatusLine):
                if not was_open:
                    raise
                connection.close()  # the server had closed it meanwhile
                answer = _ask(connection, target, headers)
            content = _body(answer, limit)
        except BaseException:
            connection.close()
            raise
        if len(content) > limit:
            connection.close()  # what is left unread must not begin the next answer
        if answer.status in _REDIRECTS:
            return self._alone(url, headers, limit)
        return answer, content

    def close(self) -> None:
        """Close all connections; no thread may be using one."""
        with self._lock:
            for connection in self._all:
                connection.close()

    def _new(self, parts: urllib.parse.SplitResult) -> http.client.HTTPConnection:
        with self._lock:
            if parts.scheme == "http":
                new = http.client.HTTPConnection(parts.netloc, timeout=self._timeout)
            else:
                self._tls = self._tls or ssl.create_default_context()
                new = http.client.HTTPSConnection(
                    parts.netloc, timeout=self._timeout, context=self._tls
                )
            self._all.append(new)
        return new

    def _alone(self, url: str, headers: Mapping[str, str], limit: int) -> tuple[Answer, bytes]:
        request = urllib.request.Request(url, headers=dict(headers))
        try:
            answer = urllib.request.urlopen(request, timeout=self._timeout)
        except urllib.error.HTTPError as error:
            with error:
                return error, b""
        with answer:
            response = cast(http.client.HTTPResponse, answer)
            return response, _body(response, limit)


def _ask(
    connection: http.client.HTTPConnection, target: str, headers: Mapping[str, str]
) -> http.client.HTTPResponse:
    connection.request("GET", target, headers=dict(headers))
    return connection.getresponse()


def _body(answer: http.client.HTTPResponse, limit: int) -> bytes:
    content = answer.read(limit + 1)
    if len(content) <= limit and answer.length:
        raise http.client.IncompleteRead(content, answer.length)
    return content


def _goes_through_proxy(parts: urllib.parse.SplitResult) -> bool:
    host = parts.hostname or ""
    return parts.scheme in urllib.request.getproxies() and not urllib.request.proxy_bypass(host)

"""Many small files of a mirror at once, in order; what could not be had is kept account of."""

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from data_preprocessing.download import BadContent, Patience, patiently
from data_preprocessing.mirror import Mirror, MissingError
from modelzoo_mediswift.errors import UserError

T = TypeVar("T")

MAX_OBJECT = 256 << 20
_AHEAD = 8  # answers per connection that may wait for their turn
_FEW = 20


class ObjectPool:
    """Reads small files with several connections; use as a context manager.

    `gone` and `failed` hold, by name, what the server did not have, and what could not be had in
    spite of all attempts.
    """

    def __init__(
        self, mirror: Mirror, connections: int, patience: Patience, max_failed: int
    ) -> None:
        self.mirror = mirror
        self.patience = patience
        self.gone: dict[str, str] = {}
        self.failed: dict[str, str] = {}
        self.bytes = 0
        self._connections = connections
        self._max_failed = max_failed
        self._failed_in_a_row = 0
        self._pool = ThreadPoolExecutor(connections)

    def __enter__(self) -> "ObjectPool":
        return self

    def __exit__(self, *error: object) -> None:
        stop = self.patience.stop
        is_ours = error[0] is not None and not stop.is_set()
        if is_ours:
            stop.set()
        self._pool.shutdown(cancel_futures=True)
        if is_ours:
            stop.clear()  # the caller may use the same patience again
        self.mirror.close()

    def read(
        self,
        items: Iterable[T],
        name: Callable[[T], str],
        path: Callable[[T], str],
        check: Callable[[T], Callable[[bytes, str], None]],
        some: bool,
    ) -> Iterator[tuple[T, bytes | None]]:
        """Yield each item with its file's content, in order; None where it could not be had.

        `check(item)` gives what is called with a file's content and ETag, and raises BadContent.
        With `some`, a server that has not one of many files is not the right one.

        Raises:
            UserError: too many could not be had, or not one of `some`.
        """
        asked = here = 0
        for item, future in self._in_order(items, path, check):
            content = None
            asked += 1
            try:
                content = future.result()
            except MissingError as error:
                self.gone[name(item)] = str(error)
            except UserError as error:
                self._failure(name(item), str(error))
            if content is not None:
                here += 1
                self._failed_in_a_row = 0
                self.bytes += len(content)
            yield item, content
        if some and asked >= _FEW and not here:
            said = [*self.gone.values(), *self.failed.values()][-1]
            raise UserError(f"not one of {asked} listed files is there, the last: {said}")

    def _failure(self, name: str, why: str) -> None:
        self.failed[name] = why
        self._failed_in_a_row += 1
        if len(self.failed) > self._max_failed or self._failed_in_a_row >= max(
            self._connections, _FEW
        ):
            raise UserError(
                f"{len(self.failed)} files could not be had, the last: {why}; run it again"
            )

    def _in_order(
        self,
        items: Iterable[T],
        path: Callable[[T], str],
        check: Callable[[T], Callable[[bytes, str], None]],
    ) -> Iterator[tuple[T, "Future[bytes]"]]:
        waiting: deque[tuple[T, Future[bytes]]] = deque()
        for item in items:
            waiting.append((item, self._pool.submit(self._get, path(item), check(item))))
            if len(waiting) > _AHEAD * self._connections:
                yield waiting.popleft()
        while waiting:
            yield waiting.popleft()

    def _get(self, path: str, check: Callable[[bytes, str], None]) -> bytes:
        def ask() -> bytes:
            whole = self.mirror.get(path, MAX_OBJECT)
            try:
                check(whole.content, whole.etag)
            except BadContent as error:
                raise BadContent(f"{self.mirror.where(path)}: {error}") from None
            return whole.content

        return patiently(ask, self.patience)


def has_md5(expected: str) -> Callable[[bytes, str], None]:
    """A check for `ObjectPool.read`: the content has this MD5."""

    def check(content: bytes, _: str) -> None:
        found = hashlib.md5(content).hexdigest()
        if found != expected:
            raise BadContent(f"MD5 is {found}, expected {expected}")

    return check

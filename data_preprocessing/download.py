"""One file over an unreliable network: continued where it broke off, verified, whole or absent."""

import json
import os
import random
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from tqdm import tqdm

from data_preprocessing.mirror import Mirror, Opened, PassingError, network
from data_preprocessing.records import replacing
from modelzoo_mediswift.errors import UserError

T = TypeVar("T")

_CHUNK = 1 << 18
_PROGRESS = 1 << 16  # an attempt that brings this much does not count as a failure
_LONG = 5.0  # seconds; a pause that is longer has its reason told
_SELDOM = 10.0  # seconds between two such lines: of many connections most have the same trouble


class BadContent(Exception):
    """A file came whole, but is not what the server's own checksum or list says."""


@dataclass(frozen=True)
class Patience:
    """How often and how long to wait for a server."""

    retries: int = 8
    """Failed attempts in a row before a file is given up."""
    pause: float = 1.0
    """Seconds before the second attempt; doubled each time, with jitter."""
    longest_pause: float = 120.0
    stop: threading.Event = field(default_factory=threading.Event)
    """Set it to have all downloads end at their next chunk."""
    _told: list[float] = field(default_factory=lambda: [-_SELDOM])

    def wait(self, failures: int, reason: str, asked: float = 0.0) -> None:
        """Sleep before another attempt; raises KeyboardInterrupt if told to stop."""
        backoff = min(self.longest_pause, self.pause * 2.0 ** (failures - 1))
        seconds = max(asked, backoff * random.uniform(0.5, 1.5))
        now = time.monotonic()
        if seconds > _LONG and now - self._told[0] >= _SELDOM:
            self._told[0] = now
            text = f"{reason}; again in {seconds:.0f} s ({failures} of {self.retries + 1} attempts)"
            tqdm.write(text, file=sys.stderr)
        if self.stop.wait(seconds):
            raise KeyboardInterrupt


def patiently(ask: Callable[[], T], patience: Patience) -> T:
    """What `ask` returns, asked again as long as it raises PassingError or BadContent.

    Raises UserError once `patience` is at its end, or when the same BadContent comes twice in a
    row: that is no fault of the line.
    """
    failures, last = 0, ""
    while True:
        if patience.stop.is_set():
            raise KeyboardInterrupt
        wait = 0.0
        try:
            return ask()
        except PassingError as error:
            reason, wait = str(error), error.wait
        except BadContent as error:
            reason = str(error)
            if reason == last:
                raise UserError(f"{reason}, twice the same") from None
            last = reason
        failures += 1
        if failures > patience.retries:
            raise UserError(f"{reason} (given up after {failures} attempts)")
        patience.wait(failures, reason, wait)


def download(
    mirror: Mirror,
    path: str,
    target: Path,
    verify: Callable[[Path], None],
    patience: Patience,
    received: Callable[[int], None] = lambda _: None,
) -> None:
    """Bring `path` to `target`, which appears only when it is complete and `verify` has passed.

    What has come so far is kept as ``.NAME.part``, and continued by the next call too. `verify`
    raises BadContent; the file is then fetched again from its beginning. `received` is told the
    bytes of each chunk.

    Raises:
        UserError: given up, or refused by the server, or the disk is full.
    """
    part = target.with_name(f".{target.name}.part")
    failures, best = 0, _size(part)
    while True:
        wait = 0.0
        try:
            _continue(mirror, path, part, patience, received)
            verify(part)
            with part.open("rb+") as handle:
                os.fsync(handle.fileno())
            part.replace(target)
            _note_of(part).unlink(missing_ok=True)
            return
        except BadContent as error:
            _forget(part)
            reason, best = f"{mirror.where(path)}: {error}", 0
        except PassingError as error:
            reason, wait = str(error), error.wait
            if _size(part) >= best + _PROGRESS:
                best, failures = _size(part), 0
        except OSError as error:
            raise UserError(f"{error.filename or part}: {error.strerror}") from None
        failures += 1
        if failures > patience.retries:
            raise UserError(f"{reason} (given up after {failures} attempts)")
        patience.wait(failures, reason, wait)


def _continue(
    mirror: Mirror,
    path: str,
    part: Path,
    patience: Patience,
    received: Callable[[int], None],
) -> None:
    """Append what is missing to `part`; raises PassingError if the stream ends early."""
    start, note = _size(part), _read_note(part)
    if note.get("path") != mirror.where(path):
        _forget(part)
        start, note = 0, {}
    opened = mirror.open(path, start, note.get("validator"))
    if opened.start and opened.total != note.get("total"):
        opened.stream.close()
        _forget(part)
        opened = mirror.open(path)
    with opened.stream:
        _write_note(part, mirror.where(path), opened)
        size = opened.start
        with part.open("r+b" if opened.start else "wb") as handle:
            handle.truncate(size)
            handle.seek(size)
            while True:
                if patience.stop.is_set():
                    raise KeyboardInterrupt
                with network(mirror.where(path)):
                    chunk = opened.stream.read(_CHUNK)
                if not chunk:
                    break
                handle.write(chunk)
                size += len(chunk)
                received(len(chunk))
                if opened.total is not None and size > opened.total:
                    raise BadContent(f"more than the {opened.total} bytes announced")
    if opened.total is not None and size < opened.total:
        raise PassingError(f"{mirror.where(path)}: broke off at {size} of {opened.total} bytes")


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _note_of(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _read_note(part: Path) -> dict[str, Any]:
    try:
        note = json.loads(_note_of(part).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}


def _write_note(part: Path, where: str, opened: Opened) -> None:
    note = {"path": where, "validator": opened.validator, "total": opened.total}
    with replacing(_note_of(part)) as temporary:
        temporary.write_text(json.dumps(note), encoding="utf-8")


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _note_of(part).unlink(missing_ok=True)

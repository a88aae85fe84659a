"""One run at a time on what it writes."""

import fcntl
import glob
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from modelzoo_mediswift.errors import UserError

TEMPORARY = re.compile(r"\..+\.[^/]+-\d+\.tmp|\.signatures\.tmp")
"""What `records.replacing` and `merge_texts` call what they have not finished."""


@contextmanager
def only_one(path: Path, *, is_file: bool = False) -> Iterator[None]:
    """Hold a folder (made if need be), or a file to write, for this process.

    A killed process lets go of it at once. The temporary files that it left, or a worker that was
    killed meanwhile, are removed.
    Raises UserError if another run holds it, or if it is there and of another kind.
    """
    if is_file and path.exists() and not path.is_file():  # a folder; /dev/null would be replaced
        raise UserError(f"{path}: expected a file to write, found something else")
    folder = path.parent if is_file else path
    name = f".{path.name}.lock" if is_file else ".lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise UserError(f"{folder}: is a file, expected a folder") from None
    with (folder / name).open("a+", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            raise UserError(
                f"{path}: another run (process {holder}) is writing here; "
                "wait for it, or choose another place"
            ) from None
        start = f".{path.name}." if is_file else "."
        _remove(folder, start)
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        try:
            yield
        finally:
            _remove(folder, start)


def _remove(folder: Path, start: str) -> None:
    """Remove the temporary files whose names have this start; other programs' have another form."""
    for left in folder.glob(f"{glob.escape(start)}*.tmp"):
        if TEMPORARY.fullmatch(left.name):
            left.unlink(missing_ok=True)

"""One run at a time on an output folder."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from modelzoo_mediswift.errors import UserError


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold `folder` (made if need be) for this process; a killed process lets go of it at once.

    Raises UserError if another run holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a+", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            raise UserError(
                f"{folder}: another run (process {holder}) is writing here; "
                "wait for it, or choose another folder"
            ) from None
        for left in folder.glob(".*.tmp"):  # by a run that was killed: nobody else writes here
            left.unlink()
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield

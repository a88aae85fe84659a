"""One command at a time in a folder: two runs would take each other's checkpoints apart."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from modelzoo_mediswift.errors import UserError

# Loader workers of a run that was killed look every five seconds whether it is still there, and
# hold what it held until then.
PATIENCE = 8.0  # seconds
PAUSE = 0.5


@contextmanager
def holding(folder: Path, flag: str = "--model_dir") -> Iterator[None]:
    """Hold the folder for this process; however it ends, the system lets go.

    Raises UserError, which names the `flag` for another folder, if another run holds it. Where the
    file system has no locks, nobody does.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        end = time.monotonic() + PATIENCE
        while not _locked(descriptor):
            if time.monotonic() >= end:
                raise UserError(
                    f"{folder}: another run is writing here; wait for it, or choose another {flag}"
                )
            time.sleep(PAUSE)
        yield
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # some network file systems
        return True
    return True

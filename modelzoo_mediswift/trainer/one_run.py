"""One run at a time in a model_dir: two would take each other's checkpoints apart."""

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
def holding(model_dir: Path) -> Iterator[None]:
    """Hold the folder for this process; however it ends, the system lets go.

    Raises UserError if another run holds it. Where the file system has no locks, nobody does.
    """
    descriptor = os.open(model_dir, os.O_RDONLY)
    try:
        end = time.monotonic() + PATIENCE
        while not _locked(descriptor):
            if time.monotonic() >= end:
                raise UserError(
                    f"{model_dir}: another run is writing here; wait for it, or choose another "
                    "--model_dir"
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

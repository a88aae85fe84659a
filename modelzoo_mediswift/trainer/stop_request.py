"""SIGINT and SIGTERM as a request to stop, for which a step is finished."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# Seconds in which a second signal is taken for the first one's echo: torchrun and `timeout` pass
# on what a batch system has sent to every process of the job already.
ECHO = 1.0


class StopRequest:
    """Whether this process was asked to stop. A second signal ends it at once."""

    def __init__(self, launcher: int | None = None) -> None:
        """`launcher`: the process that started this one and without which it is to stop too;
        nobody else could end it."""
        self.launcher = launcher
        self._since: float | None = None

    @property
    def made(self) -> bool:
        """Whether there was a signal, or the launcher is gone."""
        abandoned = self.launcher is not None and os.getppid() != self.launcher
        return abandoned or self._since is not None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take signals for requests inside.

        Where a launched process fails inside, they stay requests: the launcher signals who is left
        of a failed run, and such a process still has to say what it knows.
        """

        def request(number: int, frame: FrameType | None) -> None:
            if self._since is None:
                self._since = time.monotonic()
            elif time.monotonic() - self._since > ECHO:
                signal.signal(number, previous[signal.Signals(number)])
                signal.raise_signal(number)

        previous = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
        for number in previous:
            signal.signal(number, request)
        failed = True
        try:
            yield
            failed = False
        finally:
            if not failed or self.launcher is None:
                for number, handler in previous.items():
                    signal.signal(number, handler)

"""A command in one of the processes that torchrun started."""

from __future__ import annotations

import io
import sys
import traceback
from collections.abc import Callable

from modelzoo_mediswift.cli.errors import guarded, say
from modelzoo_mediswift.engine import processes
from modelzoo_mediswift.engine.last_words import LostProcess, is_news, lost_process


def run_launched(command: Callable[[], int]) -> int:
    """Run it, say together with the others what went wrong, and leave them.

    An end by an exception that nobody knows is no reason for Python's end either.
    """
    write_whole_lines()
    try:
        code = guarded(lambda: _named(command), _say_once)
    except Exception:  # noqa: BLE001
        text = traceback.format_exc()
        if is_news(text):
            print(text, end="", file=sys.stderr)
        code = 1
    processes.leave(code)
    return code


def write_whole_lines() -> None:
    """torchrun starts Python without buffers, and a line and its end are then two writes, between
    which another process has its own."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True, write_through=False)


def _named(command: Callable[[], int]) -> int:
    try:
        return command()
    except RuntimeError as error:
        lost = lost_process(error)
        if lost is None:
            raise
        raise lost from error


def _say_once(line: str, error: BaseException) -> None:
    if is_news(line, effect=isinstance(error, LostProcess)):
        say(line, error)

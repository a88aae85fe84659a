"""Waiting for a server, and telling why."""

import threading

import pytest

from data_preprocessing.download import Patience, patiently
from data_preprocessing.mirror import PassingError, _seconds
from modelzoo_mediswift.errors import UserError


class Clockless(threading.Event):
    """An event on which no time is spent."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.asked.append(timeout or 0.0)
        return False


def refuse() -> None:
    raise PassingError("server.example: connection refused")


def test_pauses_double_and_long_ones_are_told_once_for_all_connections(capsys):
    stop = Clockless()
    patience = Patience(retries=6, stop=stop)
    for _ in range(2):
        with pytest.raises(UserError, match=r"refused \(given up after 7 attempts\)"):
            patiently(refuse, patience)
    for i, seconds in enumerate(stop.asked[:6]):
        assert 0.5 * 2**i <= seconds <= 1.5 * 2**i
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("server.example: connection refused; again in ")
    assert line.endswith("of 7 attempts)")


def test_short_pauses_are_silent(capsys):
    with pytest.raises(UserError):
        patiently(refuse, Patience(retries=2, stop=Clockless()))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("header", "wait"), [("7", 7.0), ("9999", 600.0), ("", 0.0), ("²", 0.0)])
def test_what_a_server_asks_for_in_seconds(header, wait):
    assert _seconds(header) == wait

import os
import signal
from collections.abc import Iterator

import pytest

from modelzoo_mediswift.trainer import stop_request
from modelzoo_mediswift.trainer.stop_request import StopRequest


@pytest.fixture(autouse=True)
def heard_as_usual() -> Iterator[None]:
    """Handlers as Python has them, also where the tests were started with SIGINT ignored."""
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_the_echo_of_a_signal_is_not_a_second_one(first):
    stop = StopRequest()
    with stop.listening():
        assert not stop.made
        os.kill(os.getpid(), first)
        assert stop.made
        os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)


def test_a_second_signal_ends_the_process_at_once(monkeypatch):
    monkeypatch.setattr(stop_request, "ECHO", 0.0)
    with StopRequest().listening():
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("launcher", [None, os.getppid()])
def test_a_launched_process_that_fails_outlives_the_launchers_signal(launcher):
    heard = []
    signal.signal(signal.SIGTERM, lambda *_: heard.append("at once"))
    with pytest.raises(ValueError, match="lost"), StopRequest(launcher).listening():
        raise ValueError("lost")
    os.kill(os.getpid(), signal.SIGTERM)
    assert heard == ([] if launcher else ["at once"])


def test_a_launcher_that_is_gone_is_a_request():
    assert not StopRequest(os.getppid()).made
    assert StopRequest(os.getpid()).made  # which is not the parent

"""Which of many processes says what when their run fails."""

import datetime

import pytest
from torch.distributed import TCPStore

from modelzoo_mediswift.engine.last_words import is_news


@pytest.fixture
def launcher(monkeypatch):
    """torchrun's store, as its processes find it."""
    store = TCPStore(
        "localhost", 0, is_master=True, timeout=datetime.timedelta(5), wait_for_workers=False
    )
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "True")
    monkeypatch.setenv("MASTER_ADDR", "localhost")
    monkeypatch.setenv("MASTER_PORT", str(store.port))
    return store


def test_a_line_is_said_once_and_another_one_too(launcher):
    assert [is_news(line) for line in ("disk full", "disk full", "no data")] == [True, False, True]


def test_an_effect_is_said_where_nobody_has_given_a_cause_and_not_after_one(launcher):
    assert is_news("another process is gone", effect=True)
    assert not is_news("another process cannot be reached", effect=True)
    assert is_news("disk full")


def test_without_a_launcher_all_is_news(monkeypatch):
    monkeypatch.delenv("TORCHELASTIC_USE_AGENT_STORE", raising=False)
    assert [is_news("disk full") for _ in range(2)] == [True, True]
    assert is_news("another process is gone", effect=True)


def test_a_launcher_that_is_gone_keeps_nobody_silent(launcher, monkeypatch):
    monkeypatch.setenv("MASTER_PORT", "not a port")
    assert [is_news("disk full") for _ in range(2)] == [True, True]

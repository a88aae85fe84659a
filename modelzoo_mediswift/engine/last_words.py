"""What several processes say when their run fails: every line once, and causes before effects."""

from __future__ import annotations

import hashlib
import os
import re
from datetime import timedelta

from torch.distributed import DistError, TCPStore

from modelzoo_mediswift.errors import UserError

# What PyTorch's exceptions say that have no class of their own.
_GLOO = ("gloo/transport", "Connection closed by peer", "Connection reset by peer")
_PLACE = re.compile(r"^\[\S+\] ")  # in PyTorch's sources
_LAUNCHER_ANSWERS = timedelta(seconds=5)


class LostProcess(UserError):
    """Another process of the run is gone; what it had to say comes before this."""


def lost_process(error: Exception) -> LostProcess | None:
    """What to say instead of an error of communication; None for other errors."""
    if not isinstance(error, DistError) and not any(text in str(error) for text in _GLOO):
        return None
    said = _PLACE.sub("", str(error)).splitlines()[0].partition(". ")[0]
    return LostProcess(
        f"another process of this run ended or cannot be reached ({said}); the same command "
        "continues from the newest checkpoint"
    )


def is_news(line: str, *, effect: bool = False) -> bool:
    """Whether no process of this run has said the line yet, or for an `effect`, anything at all.

    torchrun keeps count. Where it does not answer, or shares no store (torch 2.4), all is news.
    """
    store = _launcher()
    if store is None:
        return True
    try:
        if effect and store.add("said", 0):
            return False
        store.add("said", 1)
        return store.add(f"said {hashlib.sha256(line.encode()).hexdigest()}", 1) == 1
    except (RuntimeError, ValueError):
        return True


def _launcher() -> TCPStore | None:
    """The store of torchrun's, which is there before the processes have met."""
    told = os.environ.get
    if told("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return None
    try:
        return TCPStore(
            told("MASTER_ADDR", ""),
            int(told("MASTER_PORT", "0")),
            is_master=False,
            timeout=_LAUNCHER_ANSWERS,
        )
    except (RuntimeError, ValueError):  # it is gone
        return None

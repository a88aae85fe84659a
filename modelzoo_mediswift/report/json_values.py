"""Values out of JSON that may hold anything: an old log, one cut short, somebody else's file."""

from __future__ import annotations

import json
import math
import re
from typing import Any

LARGEST_INTEGER = 10**30  # beyond any count of ours, and well inside a float


def parse_object(content: bytes | str) -> dict[str, Any]:
    """A JSON object. Raises ValueError for everything else."""
    try:
        value = json.loads(content)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def pick(value: Any, *keys: str) -> Any:
    """value[key][key]..., or None where one of them is missing."""
    for key in keys:
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value


def number(value: Any) -> float | None:
    """A finite number, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, int):
        return value if abs(value) < LARGEST_INTEGER else None
    return value if math.isfinite(value) else None


def integer(value: Any) -> int | None:
    """A whole number, else None."""
    value = number(value)
    return int(value) if value is not None and value == int(value) else None


def text(value: Any) -> str | None:
    """A string that is not empty, made printable; else None."""
    return printable(value) if isinstance(value, str) and value else None


def printable(string: str) -> str:
    """The string without what would steer a terminal or cannot be written as UTF-8."""
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]", "\ufffd", string)

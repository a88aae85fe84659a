"""Paths as they are told to others: names that say what something was, without the folders of the
machine where it lay."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import yaml

HOMES = {"home": 2, "Users": 2, "root": 1}  # parts of a path that name a person, not a thing
GENERIC = ("checkpoint_", "train", "validation", "valid", "test")  # say little without the folder


def public(value: Any) -> Any:
    """A JSON or YAML value with all paths in it shortened by `public_path`."""
    if isinstance(value, str):
        return public_path(value)
    if isinstance(value, Mapping):
        return {key: public(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [public(inner) for inner in value]
    return value


def public_path(text: str) -> str:
    """`/home/me/runs/xl_s75/checkpoint_9` as `xl_s75/checkpoint_9`, `/data/words.json` as
    `words.json`. What stays below the working directory, and text that is no path, is kept."""
    path = PurePosixPath(text)
    if not (path.is_absolute() or text.startswith("~") or ".." in path.parts):
        return text
    parts = [part for part in path.parts if part != ".." and part[0] not in "/~"]
    if path.is_absolute() and parts:
        parts = parts[min(HOMES.get(parts[0], 0), len(parts) - 1) :]
    kept = parts[-2:] if path.name.startswith(GENERIC) else parts[-1:]
    return "/".join(kept) or "."  # a path that is empty could not be read again


def public_yaml(text: str) -> str:
    """A configuration with its paths shortened; unchanged where there is nothing to shorten."""
    found = yaml.safe_load(text)
    shortened = public(found)
    if shortened == found:
        return text
    rewritten: str = yaml.safe_dump(shortened, sort_keys=False, default_flow_style=False)
    return rewritten

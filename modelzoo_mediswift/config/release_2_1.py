"""Sparsity blocks of Model Zoo's Release 2.1.1, the paper's time, in today's keys.

`type` was what `algorithm` is, and `schedule` what `update` is. Model Zoo 2.10 reads `type` too,
and `schedule` as another name of `sparsity`. `param_name_patterns` held regular expressions. Those
of the release's own files have globs that mean the same; where one has not, the key stays, for the
check of the keys to name.
"""

import json
import re
from collections.abc import Mapping

_UPDATE_KEYS = {"freq", "start", "stop", "steps"}

# Regular expressions that mean the same as a glob: they begin with `.*` and end with `weight` or
# `.*`, so it does not matter whether release 2.1 searched or matched. A bare dot may be read as a
# dot, since nothing else separates the parts of a name.
_EXPRESSION = re.compile(r"\.\*(?:\.\*|\\?\.|\[[A-Za-z0-9_]+\]|[A-Za-z0-9_])*(?:weight|\.\*)")


def translate(block: dict[str, object]) -> list[str]:
    """Put today's keys in the place of old ones; returns each translation in a few words."""
    done = []
    if "type" in block and "algorithm" not in block:
        block["algorithm"] = block.pop("type")
        done.append("`type` as `algorithm`")
    if "schedule" in block:
        new = "update" if _is_update(block["schedule"]) else "sparsity"
        if new not in block:
            block[new] = block.pop("schedule")
            done.append(f"`schedule` as `{new}`")
    globs = _globs(block.get("param_name_patterns"))
    if globs and "param_filter" not in block:
        del block["param_name_patterns"]
        block["param_filter"] = globs
        done.append(f"`param_name_patterns` as `param_filter: {json.dumps(globs)}`")
    return done


def _globs(patterns: object) -> list[str]:
    """The same as globs; empty where one of them is not as simple as that."""
    listed = patterns if isinstance(patterns, list) else [patterns]
    if not all(isinstance(p, str) and _EXPRESSION.fullmatch(p) for p in listed):
        return []
    return [p.replace(".*", "*").replace("\\.", ".") for p in map(str, listed)]


def _is_update(value: object) -> bool:
    return isinstance(value, Mapping) and bool(value) and set(value) <= _UPDATE_KEYS

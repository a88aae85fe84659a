"""Sparsity blocks of Model Zoo's Release 2.1.1, the paper's time, in today's keys.

`type` was what `algorithm` is, and `schedule` what `update` is. Model Zoo 2.10 reads `type` too,
and `schedule` as another name of `sparsity`. `param_name_patterns` held regular expressions, which
globs cannot express in general: that key stays, for the check of the keys to name.
"""

from collections.abc import Mapping

_UPDATE_KEYS = {"freq", "start", "stop", "steps"}


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
    return done


def _is_update(value: object) -> bool:
    return isinstance(value, Mapping) and bool(value) and set(value) <= _UPDATE_KEYS

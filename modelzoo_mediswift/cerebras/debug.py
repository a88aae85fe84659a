"""Settings for the compiler and the servers of a cluster that no program depends on.

Cerebras' support asks for them. They are the library's global flags, and no part of a
configuration.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from modelzoo_mediswift.errors import UserError

Value = bool | int | float | str


@dataclass(frozen=True)
class Debug:
    """What the user asked for; empty by default."""

    ini: Mapping[str, Value] = field(default_factory=dict)
    arguments: Mapping[str, Value] = field(default_factory=dict)
    """Fields of the protobuf message DebugArgs: dotted name, value."""
    arguments_file: Path | None = None
    """The same as protobuf text; `arguments` have precedence."""
    log_levels: Mapping[str, str] = field(default_factory=dict)
    """Server ("" for all; else `<execute>.<wgt>` and the like) and its level."""


def set_debug(debug: Debug) -> None:
    """Give the library these settings, before it connects. Raises UserError for unknown ones."""
    if debug == Debug():
        return
    import cerebras.pytorch as cstorch
    from cerebras.appliance.utils.debug_args import get_debug_args
    from google.protobuf.json_format import ParseError
    from google.protobuf.text_format import ParseError as TextParseError

    flags = cstorch.backends.csx.debug
    if debug.arguments_file is not None:
        try:
            flags.debug_args = get_debug_args(str(debug.arguments_file))
        except (OSError, UnicodeError, TextParseError) as error:
            raise UserError(f"--debug_args_path: {_one_line(error)}") from error
    if debug.arguments:
        try:
            flags.debug_args = dict(debug.arguments)
        except (ParseError, TypeError) as error:
            raise UserError(f"--debug_args: {_one_line(error)}") from error
    for name, value in debug.ini.items():
        setattr(flags.ini, name, value)
    _set_log_levels(debug.log_levels)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _set_log_levels(levels: Mapping[str, str]) -> None:
    if not levels:
        return
    from cerebras.appliance.log import WscLogSetting, get_level_name, wsc_logger

    modes, roles = WscLogSetting.allowed_modes(), WscLogSetting.allowed_roles()
    server = re.compile(
        rf"(\.<({'|'.join(modes)})>)?(\.<({'|'.join(roles)})>)?(\.[^<>]+)?", re.ASCII
    )
    for name, level in levels.items():
        if name and not server.fullmatch(f".{name}"):
            raise UserError(
                f"--wsc_log_level: {name}: expected <MODE>.<ROLE>.TAG, of which any may be left "
                f"out, with a mode of {', '.join(modes)} and a role of {', '.join(roles)}"
            )
        number = int(level) if level.isdecimal() else get_level_name(level)
        if not isinstance(number, int) or number <= 0:
            raise UserError(f"--wsc_log_level: expected a level such as DEBUG or 10, got {level}")
        (wsc_logger.getChild(name) if name else wsc_logger).setLevel(number)

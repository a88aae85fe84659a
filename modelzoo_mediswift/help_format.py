"""How the help of every command looks, and a mistake in its flags."""

import argparse
import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

PLACEHOLDERS = {"int": "N", "positive": "N", "float": "X", "Path": "PATH"}


class HelpFormatter(argparse.HelpFormatter):
    """Says of what kind an option's value is, and leaves an example the one line that can be
    pasted."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if text.startswith("example: ") else super()._fill_text(text, width, indent)

    def _get_default_metavar_for_optional(self, action: argparse.Action) -> str:
        kind = getattr(action.type, "__name__", "").split(" ")
        default = super()._get_default_metavar_for_optional(action)
        return next((PLACEHOLDERS[word] for word in kind[::-1] if word in PLACEHOLDERS), default)

    def _get_default_metavar_for_positional(self, action: argparse.Action) -> str:
        return super()._get_default_metavar_for_positional(action).upper()


def path_text(text: str) -> str:
    """A path as it is written, for argparse's `type`; not the empty one that an unset variable of a
    shell gives."""
    if not text:
        raise argparse.ArgumentTypeError('expected a path, got ""')
    return text


class CommandParser(argparse.ArgumentParser):
    """Says a mistake in one line: the flags of a long command would push it out of sight.

    `type=Path` refuses an empty path.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"formatter_class": HelpFormatter, **settings})
        self.register("type", Path, lambda text: Path(path_text(text)))

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}; `{self.prog} --help` says more\n")

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        """Refuse what is unknown here, where the command's own flags are at hand."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(self._unknown(unknown[0]))
        return found, unknown

    def _unknown(self, given: str) -> str:
        if not given.startswith("-"):
            return f'unexpected argument "{given}"'
        flag = given.partition("=")[0]
        close = difflib.get_close_matches(flag, self._option_string_actions, n=1, cutoff=0.6)
        return f"unknown flag {flag}" + (f"; did you mean {close[0]}?" if close else "")

"""How the help of every command looks."""

import argparse

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

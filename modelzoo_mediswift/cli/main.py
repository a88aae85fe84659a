"""The `mediswift` command."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from typing import Any

from modelzoo_mediswift.cli.errors import guarded
from modelzoo_mediswift.help_format import CommandParser

# Command -> the module of this package that has it. Only the one asked for is imported, since the
# imports of all of them take longer than `plan` does.
COMMANDS = {
    "plan": "plan",
    "erk": "erk",
    "evaluate": "evaluate",
    "compare": "compare",
    "label": "label",
    "generate": "generate",
    "perplexity": "perplexity",
    "export": "export",
    "import": "export",
    "convert": "convert",
    "report": "report",
    "sweep": "sweep",
}


class _Version(argparse.Action):
    """Looked up when it is asked for: looking takes time."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib.metadata import version

        print(f"modelzoo-mediswift {version('modelzoo-mediswift')}")
        parser.exit()


def main(argv: Sequence[str] | None = None) -> int:
    given = sys.argv[1:] if argv is None else argv
    parser = CommandParser(
        prog="mediswift",
        description="Sparse pre-training of biomedical language models. Training itself is "
        "`python run.py {CSX,CPU,GPU} --params FILE`; data is `python -m data_preprocessing`.",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and stop")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    asked = [COMMANDS[given[0]]] if given and given[0] in COMMANDS else COMMANDS.values()
    for module in dict.fromkeys(asked):
        importlib.import_module(f"modelzoo_mediswift.cli.{module}").add_parser(commands)
    arguments = parser.parse_args(given)
    return guarded(lambda: arguments.command(arguments))


if __name__ == "__main__":
    sys.exit(main())

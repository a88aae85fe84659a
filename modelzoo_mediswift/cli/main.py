"""The `mediswift` command."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from modelzoo_mediswift.cli import (
    compare,
    convert,
    erk,
    evaluate,
    export,
    generate,
    label,
    perplexity,
    plan,
    report,
    sweep,
)
from modelzoo_mediswift.cli.errors import guarded

COMMANDS = (
    plan,
    erk,
    evaluate,
    compare,
    label,
    generate,
    perplexity,
    export,
    convert,
    report,
    sweep,
)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="mediswift",
        description="Sparse pre-training of biomedical language models. Training itself is "
        "`python run.py {CSX,CPU,GPU} --params FILE`; data is `python -m data_preprocessing`.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in COMMANDS:
        module.add_parser(commands)
    arguments = parser.parse_args(argv)
    return guarded(lambda: arguments.command(arguments))


if __name__ == "__main__":
    sys.exit(main())

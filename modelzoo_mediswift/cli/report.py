"""`mediswift report RUN... -o FOLDER`: what came out of training runs, from their logs."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelzoo_mediswift.errors import UserError

REPORT_DIR = "report"


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "report",
        help="tables and plots of training runs and their scores, as one HTML page",
        description="Read the logs and evaluations in the runs' folders and write report.html (a "
        "single file that loads nothing) and report.md; print the main figures.",
        epilog="example: mediswift report build/demo/pretrain build/demo/finetune "
        "-o build/demo/report",
    )
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="model_dir of a run")
    parser.add_argument(
        "-o", "--output", type=Path, help=f"folder (default: {REPORT_DIR} in the first run's)"
    )
    parser.add_argument(
        "--corpus", type=Path, metavar="FILE", help="counts.json of the stage that made the corpus"
    )
    parser.add_argument(
        "--evaluations",
        type=Path,
        nargs="+",
        default=[],
        metavar="PATH",
        help="files of `mediswift evaluate -o`, or folders of them, beside the runs' own",
    )
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    from modelzoo_mediswift.report.content import make_document
    from modelzoo_mediswift.report.folder import write_report
    from modelzoo_mediswift.report.run import read_runs
    from modelzoo_mediswift.report.terminal import render

    corpus = read_corpus(arguments.corpus) if arguments.corpus else None
    for path in arguments.evaluations:
        if not path.exists():
            raise UserError(f"{path}: no such file or folder")
    runs = read_runs(arguments.runs, arguments.evaluations)
    folder = arguments.output or arguments.runs[0] / REPORT_DIR
    page = write_report(make_document(runs, corpus), folder)
    print(render(runs, corpus, page))
    return 0


def read_corpus(path: Path) -> Mapping[str, Any]:
    """Counts of documents, by any names and nested in any way."""
    from modelzoo_mediswift.report.json_values import parse_object

    try:
        return parse_object(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{path}: expected a JSON object of counts: {error}") from None

"""Options that several stages have."""

import argparse
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelzoo_mediswift.help_format import HelpFormatter

if TYPE_CHECKING:
    from data_preprocessing.executor import Executor


class _Help(HelpFormatter, argparse.ArgumentDefaultsHelpFormatter):
    """Names a default where there is one to name, and the text does not do so itself."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        none = action.default is None or action.default is False or action.default == []
        if none or "default" in (action.help or ""):
            return action.help
        if isinstance(action.default, list):
            return f"{action.help} (default: {' '.join(action.default)})"
        return super()._get_help_string(action)


def add_stage(
    stages: Any, name: str, run: Callable[..., None], summary: str
) -> argparse.ArgumentParser:
    """A subcommand; `run` gets its options by name."""
    stage = stages.add_parser(name, help=summary, description=summary, formatter_class=_Help)
    stage.set_defaults(run=run)
    return stage


def add_out(stage: argparse.ArgumentParser, text: str) -> None:
    """-o: where a stage writes."""
    stage.add_argument("-o", "--out", type=Path, required=True, metavar="OUT", help=text)


def add_tokenizer_option(stage: argparse.ArgumentParser, *, required: bool) -> None:
    """-t: the tokenizer.json."""
    stage.add_argument(
        "-t", "--tokenizer", type=Path, required=required, metavar="FILE", help="tokenizer.json"
    )


def add_hdf5_options(stage: argparse.ArgumentParser) -> None:
    """How HDF5 is written."""
    stage.add_argument(
        "--max_sequence_length", type=positive, required=True, metavar="N", help="in tokens"
    )
    stage.add_argument(
        "--samples_per_file", type=positive, default=8192, metavar="N", help="sequences per *.h5"
    )
    stage.add_argument(
        "--compression",
        choices=["gzip", "lz4"],
        help="smaller, but slower to read; gzip is the smaller one, lz4 the faster",
    )


def add_workers(stage: argparse.ArgumentParser, text: str) -> None:
    """--workers and --dask: who does a stage's jobs."""
    stage.add_argument("--workers", type=positive, default=1, help=text)
    stage.add_argument(
        "--dask", metavar="ADDRESS", help="a Dask scheduler whose workers do it, such as tcp://..."
    )


@contextmanager
def executor_of(dask: str | None) -> Iterator["Executor | None"]:
    """The cluster that --dask names; None leaves it to --workers."""
    if dask is None:
        yield None
        return
    from data_preprocessing.dask_cluster import dask_cluster

    with dask_cluster(scheduler=dask) as executor:
        yield executor


def positive(text: str) -> int:
    """A whole number from 1 on, for argparse's `type`."""
    number = int(text)
    if number < 1:
        raise ValueError
    return number


positive.__name__ = "positive number"  # what argparse calls it in its message


def not_negative(text: str) -> float:
    """A number from 0 on, for argparse's `type`."""
    number = float(text)
    if not 0 <= number < math.inf:
        raise ValueError
    return number


not_negative.__name__ = "number from 0 on"

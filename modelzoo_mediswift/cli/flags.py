"""Flags that several commands have."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_tokenizer_flag(parser: argparse.ArgumentParser) -> None:
    """--tokenizer: the file that the checkpoint's data was made with."""
    parser.add_argument(
        "--tokenizer",
        type=Path,
        required=True,
        metavar="FILE",
        help="tokenizer.json of the checkpoint's training data",
    )


def add_device_flag(parser: argparse.ArgumentParser) -> None:
    """--device: a CS system only trains and evaluates loss, by run.py."""
    parser.add_argument(
        "--device", choices=("CPU", "GPU"), default="CPU", help="where to run (default: CPU)"
    )


def default_batch_size(device: str) -> int:
    """Questions at a time: the caches of a CPU hold few."""
    return 32 if device == "GPU" else 4

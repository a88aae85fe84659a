"""Counts on the terminal."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def print_counts(title: str, counts: Mapping[str, Any], indent: int = 0) -> None:
    """Print a mapping as indented lines, inner mappings further in."""
    print(" " * indent + title)
    for name, value in counts.items():
        label = str(name).replace("_", " ")
        if isinstance(value, Mapping):
            if value:
                print_counts(label, value, indent + 2)
        elif isinstance(value, int):
            print(f"{' ' * indent}  {label}: {value:,}")
        else:
            print(f"{' ' * indent}  {label}: {value}")


def print_splits(out: Path, splits: Mapping[str, Mapping[str, Any]]) -> None:
    """Each split's data_params.json in a few lines."""
    for split, params in splits.items():
        shown = {
            "sequences": params["n_examples"],
            "tokens": params["n_tokens"],
            "tokens in the loss": params["n_loss_tokens"],
            **params["counts"],
        }
        print_counts(str(out / split), shown)

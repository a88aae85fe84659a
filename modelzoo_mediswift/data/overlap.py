"""Examples that are both learnt and held out, by the ids in each folder's ``examples.jsonl``."""

import json
from collections.abc import Iterable
from pathlib import Path

from modelzoo_mediswift.errors import UserError

EXAMPLES_FILE = "examples.jsonl"
NAMED = 3


def example_ids(folder: Path) -> set[str]:
    """Ids of the examples in a folder of task data; empty where the folder does not name them."""
    try:
        lines = (folder / EXAMPLES_FILE).read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return set()
    try:
        return {str(json.loads(line)["id"]) for line in lines}
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder / EXAMPLES_FILE}: expected JSON with an id: {error}") from None


def tests_beside(folders: Iterable[str]) -> list[str]:
    """Where the test set of each folder of task data lies, if it has one."""
    return [str(Path(folder).parent / "test") for folder in folders]


def refuse_overlap(
    trained: Iterable[str], held_out: Iterable[str], what: str = "trains on"
) -> None:
    """Raises UserError if an example of the folders `trained` is in one of `held_out`."""
    learnt = {folder: example_ids(Path(folder)) for folder in trained}
    for other in held_out:
        apart = example_ids(Path(other))
        for folder, ids in learnt.items():
            shared = sorted(ids & apart)
            if shared:
                more = f" and {len(shared) - NAMED} more" if len(shared) > NAMED else ""
                raise UserError(
                    f"{folder}: {what} examples of {other}: {', '.join(shared[:NAMED])}{more}"
                )

"""Files that name articles by PMID."""

import json
from pathlib import Path

from modelzoo_mediswift.errors import UserError

TEST_SETS = {
    name: Path(__file__).with_name("test_sets") / f"{name}.txt" for name in ("pubmedqa", "hoc")
}
"""The lists that come with the project."""


def pmid_file(name: str | Path) -> Path:
    """The list of a test set that `TEST_SETS` knows, or the file of that name."""
    return TEST_SETS.get(str(name), Path(name))


def read_pmids(path: Path) -> set[int]:
    """PMIDs from a JSON object's keys, a JSON list, or words of text; `#` begins a comment.

    Raises UserError if they are not numbers.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        if text.lstrip()[:1] in ("{", "["):
            return {int(pmid) for pmid in json.loads(text)}
        lines = (line.partition("#")[0] for line in text.splitlines())
        return {int(pmid) for line in lines for pmid in line.split()}
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}); "
            f"the lists that come with the project are {', '.join(TEST_SETS)}"
        ) from None
    except (ValueError, TypeError, RecursionError) as error:
        raise UserError(f"{path}: not a list of PMIDs ({error})") from None

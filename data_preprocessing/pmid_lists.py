"""Files that name articles by PMID."""

import json
from pathlib import Path

from modelzoo_mediswift.errors import UserError


def read_pmids(path: Path) -> set[int]:
    """PMIDs from a JSON object's keys, a JSON list, or lines of text; UserError if not numbers."""
    try:
        text = path.read_text(encoding="utf-8")
        found = json.loads(text) if text.lstrip()[:1] in ("{", "[") else text.split()
        return {int(pmid) for pmid in found}
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}: not a list of PMIDs ({error})") from None

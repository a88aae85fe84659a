"""What became of PMC's articles since the last time: counted, and named in a list that grows."""

import csv
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from data_preprocessing.pmc_packages import Versions

CHANGES = "changes.csv"


class Changes:
    """Counts of new, revised and withdrawn articles, and lines in `folder`/changes.csv."""

    def __init__(self, folder: Path, inventory: str) -> None:
        self._path = folder / CHANGES
        self._inventory = inventory
        self._counts: Counter[str] = Counter()

    @property
    def counts(self) -> dict[str, int]:
        return {change: self._counts[change] for change in ("new", "revised", "withdrawn")}

    def compare(self, before: Versions, after: Versions) -> None:
        """Take note of a range of articles; where nothing was before, new ones are not named."""
        told = {
            "new": after.keys() - before.keys(),
            "revised": {p for p in after.keys() & before.keys() if after[p] != before[p]},
            "withdrawn": before.keys() - after.keys(),
        }
        versions = before | after
        for change, pmcids in told.items():
            self._counts[change] += len(pmcids)
            if before:
                self.note(change, {f"PMC{p}.{versions[p][0]}": "" for p in sorted(pmcids)})

    def note(self, change: str, articles: Mapping[str, str]) -> None:
        """Add articles (PMCID and version) and why."""
        if not articles:
            return
        is_new = not self._path.exists()
        with self._path.open("a", encoding="utf-8", newline="") as handle:
            writer = csv.writer(handle, lineterminator="\n")
            if is_new:
                writer.writerow(("inventory", "change", "article", "why"))
            for article, why in articles.items():
                writer.writerow((self._inventory, change, article, why))

"""Tables that compare runs property by property."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from modelzoo_mediswift.report.document import Table
from modelzoo_mediswift.report.quantities import MISSING
from modelzoo_mediswift.report.run import Run


def properties_table(
    caption: str, runs: Sequence[Run], rows: Mapping[str, Callable[[Run], str]]
) -> Table:
    """A row for each property that some run has, a column for each run."""
    cells = {name: tuple(value(run) for run in runs) for name, value in rows.items()}
    return Table(
        caption,
        ("", *(run.name for run in runs)),
        tuple((name, *row) for name, row in cells.items() if set(row) != {MISSING}),
        text_columns=1 + len(runs),
    )

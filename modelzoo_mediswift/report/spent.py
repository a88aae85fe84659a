"""What runs took, and the hashes that tell what they were made of, from run_record.json."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from modelzoo_mediswift.report.document import Block, Folded, Paragraph, Section
from modelzoo_mediswift.report.json_values import number, pick, text
from modelzoo_mediswift.report.properties import properties_table
from modelzoo_mediswift.report.quantities import (
    MISSING,
    count,
    duration,
    percent,
    power,
    ratio,
)
from modelzoo_mediswift.report.run import Run

EXPLANATION = (
    "Wall time includes evaluation and saving; steps that a killed run did twice count twice. "
    "FLOPs are the paper's formula at the length that batches really had. Joules are the device's "
    "own count, with whatever else ran on it."
)


def spent_section(runs: Sequence[Run]) -> Section | None:
    recorded = [run for run in runs if run.record]
    if not recorded:
        return None
    blocks: list[Block] = [
        properties_table("Spent", recorded, _SPENT),
        Paragraph(EXPLANATION),
        properties_table("Hashes (SHA-256) and machine", recorded, _MADE_OF),
    ]
    for run in recorded:
        files = run.record.get("checkpoints")
        lines = [
            f"{name}/{file}  {digest}"
            for name, hashes in (files.items() if isinstance(files, dict) else ())
            for file, digest in (hashes.items() if isinstance(hashes, dict) else ())
        ]
        if lines:
            blocks.append(Folded(f"Checkpoints that {run.name} wrote", "\n".join(lines)))
    return Section("Run records", tuple(blocks))


def _energy(run: Run) -> str:
    """By source, over all starts."""
    sums: dict[str, float] = {}
    for session in run.sessions:
        joules = pick(session, "energy_joules")
        for source, value in joules.items() if isinstance(joules, dict) else ():
            sums[source] = sums.get(source, 0.0) + (number(value) or 0.0)
    return ", ".join(f"{count(total)} J ({source})" for source, total in sums.items()) or MISSING


def _text(*keys: str) -> Callable[[Run], str]:
    return lambda run: text(pick(run.record, *keys)) or MISSING


_SPENT: dict[str, Callable[[Run], str]] = {
    "Wall time": lambda run: duration(run.spent("wall_seconds")),
    "Tokens": lambda run: count(run.spent("tokens")),
    "Of these padding": lambda run: percent(
        ratio(run.spent("padding_tokens"), run.spent("tokens"))
    ),
    "FLOPs": lambda run: power(run.spent("flops")),
    "FLOPs if dense": lambda run: power(run.spent("flops_dense")),
    "Energy": _energy,
    "Starts": lambda run: count(len(run.sessions)),
}
_MADE_OF: dict[str, Callable[[Run], str]] = {
    "Data": _text("data_fingerprint"),
    "Masks": _text("masks_sha256"),
    "Weights it began with": _text("started_from_sha256"),
    "Processor": _text("machine", "processor"),
    "Cores": lambda run: count(number(pick(run.record, "machine", "cores"))),
    "System": _text("machine", "system"),
}

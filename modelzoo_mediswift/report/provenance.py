"""Where a run's data came from, and with what and how it was run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from modelzoo_mediswift.report.document import Block, Folded, Section, Table
from modelzoo_mediswift.report.json_values import integer, number, pick, printable, text
from modelzoo_mediswift.report.properties import properties_table
from modelzoo_mediswift.report.quantities import MISSING, count
from modelzoo_mediswift.report.run import Run

MAX_DEPTH = 8  # of nested counts


def flat(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Each value inside nested dicts, with the keys that lead to it."""
    if isinstance(value, Mapping) and len(path) < MAX_DEPTH:
        for key, inner in value.items():
            yield from flat(inner, (*path, printable(str(key))))
    else:
        yield path, value


def scalar(value: Any) -> str:
    """A JSON value as a cell; whole numbers in groups of three digits."""
    if integer(value) is not None:
        return count(integer(value))
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, list | dict):
        return f"({len(value)} entries)"
    return MISSING if value is None else json.dumps(value)


def corpus_section(corpus: Mapping[str, Any] | None) -> Section | None:
    """Counts of documents, under the names that their maker gave them."""
    if corpus is None:
        return None
    rows = tuple((": ".join(path), scalar(value)) for path, value in flat(corpus))
    table = Table("Counts of the stage that made the corpus", ("Entry", "Value"), rows)
    return Section("Corpus", (table,))


def data_section(runs: Sequence[Run]) -> Section | None:
    """The training data as its data_params.json describes it."""
    table = properties_table("Training data", runs, _DATA)
    if not table.rows:
        return None
    blocks: list[Block] = [table]
    sources = tuple(
        (run.name, ": ".join(path), scalar(value))
        for run in runs
        for path, value in flat(pick(run.log.facts, "data", "sources") or {})
    )
    if sources:
        blocks.append(Table("Made from", ("Run", "Source", "SHA-256 or name"), sources, 3))
    for run in runs:
        files = pick(run.log.facts, "data", "files")
        if isinstance(files, list) and files:
            lines = "\n".join(_file_line(file) for file in files)
            blocks.append(Folded(f"Files of {run.name}: {len(files)}", lines))
    return Section("Data", tuple(blocks))


def _file_line(file: Any) -> str:
    size = integer(pick(file, "n_examples"))
    amount = f"{count(size)} sequences" if size is not None else ""
    parts = (text(pick(file, "name")), amount, text(pick(file, "sha256")))
    return "  ".join(part for part in parts if part)


def _number(key: str) -> Callable[[Run], str]:
    return lambda run: count(number(pick(run.log.facts, "data", key)))


def _text(*keys: str) -> Callable[[Run], str]:
    return lambda run: text(pick(run.log.facts, *keys)) or MISSING


def _labels(run: Run) -> str:
    """How many examples have which label."""
    counts = pick(run.log.facts, "data", "counts", "labels")
    if not isinstance(counts, Mapping):
        return MISSING
    listed = ", ".join(f"{printable(str(k))} {count(integer(n))}" for k, n in counts.items())
    return f"{listed} (all the same)" if len(counts) == 1 else listed


def _labelled_by(run: Run) -> str:
    """The model whose answers serve as labels, and how many of them."""
    note = pick(run.log.facts, "data", "sources", "labelling")
    checkpoint = text(pick(note, "checkpoint"))
    if checkpoint is None:
        return MISSING
    kept, asked = (count(integer(pick(note, key))) for key in ("kept", "questions"))
    least = number(pick(note, "min_confidence"))
    return f"{checkpoint}: {kept} of {asked} questions, confidence {least or 0:g} at least"


_DATA: dict[str, Callable[[Run], str]] = {
    "Layout": _text("data", "format"),
    "Sequences": _number("n_examples"),
    "Tokens per sequence": _number("max_sequence_length"),
    "Tokens": _number("n_tokens"),
    "Tokens in the loss": _number("n_loss_tokens"),
    "Labels": _labels,
    "Labelled by": _labelled_by,
    "Tokenizer: words": _number("vocab_size"),
    "Tokenizer: SHA-256": _text("data", "tokenizer_sha256"),
    "Virtual tokens (soft prompt)": _number("num_virtual_tokens"),
    "Seed of the order": _number("seed"),
    "Made by": _text("data", "created_by"),
}


def configuration_section(runs: Sequence[Run]) -> Section:
    """Device, seed, versions, and the configuration as it was understood."""
    packages = dict.fromkeys(
        path[0]
        for run in runs
        for path, _ in flat(pick(run.log.facts, "versions") or {})
        if len(path) == 1
    )
    rows: dict[str, Callable[[Run], str]] = {
        "Device": _text("device"),
        "Seed": lambda run: scalar(integer(run.log.facts.get("seed"))),
    }
    rows |= {name: _text("versions", name) for name in packages}
    table = properties_table("Environment", runs, rows)
    configurations = [
        Folded(f"Configuration of {run.name}", config)
        for run in runs
        if (config := text(run.log.facts.get("config"))) is not None
    ]
    return Section("Environment and configuration", (table, *configurations))

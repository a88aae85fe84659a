"""What sparsity saves: masks, FLOPs term by term, and the paper's own values beside them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from modelzoo_mediswift.report import paper
from modelzoo_mediswift.report.document import Block, Paragraph, Section, Table
from modelzoo_mediswift.report.quantities import count, decimal, percent, power, ratio
from modelzoo_mediswift.report.run import (
    FINE_TUNING,
    FLOPS_TERMS,
    PRETRAINING,
    Flops,
    Level,
    Run,
    parent,
    total,
)
from modelzoo_mediswift.report.scores import newest_score

LAYER = re.compile(r"\.layers\.(\d+)\.")
SHORT = re.compile(r"self_attn\.proj_|_dense_layer|ffn\.(?=ffn)|\.linear_layer|\.weight")
FORMULA = (
    "Per token: 6 times the decoder's weights that are not masked (linear), 10 V d (vocabulary), "
    "12 L S d (attention), 12 L h S (softmax), with L layers of width d, h heads, sequences of S "
    "tokens and V words. The formula behind the paper's Table 6; a device that does not skip "
    "zeros executes the dense count."
)


def sparsity_section(runs: Sequence[Run]) -> Section | None:
    """The masks that the runs really had."""
    rows = [row for run in runs for row in _sparsity_rows(run)]
    if not rows:
        return None
    header = ("Run", "Layer kind", "Weights", "Not masked", "Zeros")
    blocks: list[Block] = [Table("Masks by kind of layer", header, tuple(rows), text_columns=2)]
    blocks += [table for run in runs if (table := _by_layer(run)) is not None]
    dense = [run.name for run in runs if not run.levels]
    if dense:
        blocks.append(Paragraph(f"Without masks: {', '.join(dense)}."))
    return Section("Sparsity", tuple(blocks))


def _by_layer(run: Run) -> Table | None:
    """Fractions of zeros, a row for each layer and a column for each kind of matrix."""
    cells: dict[int, dict[str, str]] = {}
    for name, kept, size in run.masks:
        found = LAYER.search(name)
        if found:
            kind = SHORT.sub("", name[found.end() :]) or name[found.end() :]
            cells.setdefault(int(found[1]), {})[kind] = percent(1 - kept / size, 2)
    kinds = list(dict.fromkeys(kind for row in cells.values() for kind in row))
    if not kinds:
        return None
    when = " at first" if run.levels_change else ""
    rows = tuple(
        (str(layer), *(row.get(kind, "dense") for kind in kinds))
        for layer, row in sorted(cells.items())
    )
    return Table(f"Zeros by layer: {run.name}{when}", ("Layer", *kinds), rows)


def _sparsity_rows(run: Run) -> list[tuple[str, ...]]:
    """By kind of layer, and their sum."""
    if not run.levels:
        return []
    name = f"{run.name} (at first)" if run.levels_change else run.name
    kept, size = sum(x.kept for x in run.levels), sum(x.total for x in run.levels)
    return [
        (name, level.kind, count(level.total), count(level.kept), percent(level.sparsity, 2))
        for level in (*run.levels, Level("all masked weights", kept, size))
    ]


def costs_section(runs: Sequence[Run]) -> Section | None:
    rows: list[tuple[str, ...]] = []
    for run in runs:
        if run.flops is None or run.dense_flops is None:
            continue
        spent = _flops_cells(run.flops)
        if run.flops == run.dense_flops:
            rows.append((run.name, "spent, dense", *spent, percent(1.0)))
            continue
        rows.append((run.name, "spent", *spent, percent(run.flops_ratio)))
        rows.append((run.name, "if dense", *_flops_cells(run.dense_flops), percent(1.0)))
    if not rows:
        return None
    header = ("Run", "", *(term.capitalize() for term in FLOPS_TERMS), "Total", "Of dense")
    table = Table("Training FLOPs so far, and each term's share", header, tuple(rows), 2)
    return Section("FLOPs", (table, Paragraph(FORMULA)))


def _flops_cells(flops: Flops) -> tuple[str, ...]:
    whole = total(flops)
    parts = tuple(f"{power(part)} ({percent(ratio(part, whole))})" for part in flops.values())
    return (*parts, power(whole))


def paper_model(run: Run) -> paper.Model | None:
    """The paper's model that has the run's shape and sparsity."""
    flops, dense = run.flops_per_token, run.dense_flops_per_token
    if run.matrix_weights is None or flops is None or dense is None:
        return None
    density = ratio(flops["linear"], dense["linear"])
    head_width = ratio(dense["attention"], dense["softmax"])
    if density is None or head_width is None:
        return None
    return paper.find_model(run.matrix_weights, head_width, 1 - density)


def paper_section(runs: Sequence[Run]) -> Section | None:
    """Pre-training runs with the shape of one of the paper's models, beside its values."""
    found = {
        run.name: (run, model)
        for run in runs
        if run.stage == PRETRAINING and (model := paper_model(run)) is not None
    }
    if not found:
        return None
    rows: list[tuple[str, ...]] = []
    blocks: list[Block] = []
    for run, model in found.values():
        rows += _paper_rows(run, model, runs)
        if differences := _differences(run, model):
            blocks.append(Paragraph(f"{run.name} differs from the paper: {differences}."))
        if model.note:
            blocks.append(Paragraph(model.note))
    table = Table(
        "Beside the paper's model of the same shape (Tables 3, 5 and 6)",
        ("Run", "Paper's model", "", "This run", "Paper"),
        tuple(rows),
        text_columns=3,
    )
    blocks.append(Paragraph("Some of the paper's ratios are cut off where others are rounded."))
    return Section("The paper's values", (table, *dict.fromkeys(blocks)))


def _paper_rows(run: Run, model: paper.Model, runs: Sequence[Run]) -> list[tuple[str, ...]]:
    loss = run.train_losses[-1].loss if run.train_losses else None
    per_token = total(run.flops_per_token)
    flops = None if per_token is None else per_token * paper.TOKENS
    tuned = [r for r in runs if r.stage == FINE_TUNING and parent(r, runs) is run]
    rows = [
        ("tokens", count(run.tokens), count(paper.TOKENS)),
        ("training loss at the end", decimal(loss), decimal(model.loss)),
        ("FLOPs for the paper's tokens", power(flops), power(model.flops)),
        ("FLOPs in units of dense", decimal(run.flops_ratio, 2), decimal(model.ratio, 2)),
    ]
    for other in tuned:
        score = newest_score(other, "pubmedqa")
        if score is not None:
            what = f"PubMedQA accuracy ({other.name}, {score.split}, by {score.how})"
            rows.append((what, percent(score.accuracy), percent(model.pubmedqa)))
    return [(run.name, model.name, *row) for row in rows]


def _differences(run: Run, model: paper.Model) -> str:
    """What makes the run's numbers incomparable with the paper's."""
    flops, shape = run.dense_flops_per_token, model.shape
    parts = []
    vocab_size = round(flops["vocabulary"] / (10 * shape.width)) if flops else paper.VOCAB_SIZE
    if vocab_size != paper.VOCAB_SIZE:
        parts.append(f"{count(vocab_size)} words instead of {count(paper.VOCAB_SIZE)}")
    if run.sequence_length not in (None, paper.SEQUENCE_LENGTH):
        length = count(run.sequence_length)
        parts.append(f"sequences of {length} tokens instead of {count(paper.SEQUENCE_LENGTH)}")
    if run.tokens is not None and run.tokens != paper.TOKENS:
        parts.append(f"{percent(run.tokens / paper.TOKENS, 2)} of its tokens")
    return ", ".join(parts)

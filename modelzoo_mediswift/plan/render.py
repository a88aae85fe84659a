"""Plans as a table for the terminal: one column per file."""

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import PurePath
from types import MappingProxyType

from modelzoo_mediswift.plan.devices import Estimate
from modelzoo_mediswift.plan.flops import Flops
from modelzoo_mediswift.plan.memory import Memory
from modelzoo_mediswift.plan.plan import Plan

_NONE = "-"
_SUFFIX = re.compile(r"\.ya?ml\b")


def render_table(
    plans: Mapping[str, Plan],
    width: int | None = None,
    estimates: Mapping[str, Estimate] = MappingProxyType({}),
) -> str:
    """Text for ``{file: plan}``, with the times of ``{file: estimate}``.

    Columns stand beside each other as far as ``width`` characters go (the terminal's, by
    default); the rest follow below.
    """
    if width is None:
        width = shutil.get_terminal_size((100, 24)).columns
    names = _short_names(list(plans))
    rows = [
        _rows(plan) | (_estimate_rows(estimates[file]) if file in estimates else {})
        for file, plan in plans.items()
    ]
    labels = list(dict.fromkeys(label for cells in rows for label in cells))
    labels.sort(key=_order)
    label_width = max(map(len, labels), default=0)
    texts = [text for cells in rows for text in cells.values()]
    cell_width = max(map(len, [*texts, *names]), default=0)
    per_block = max(1, (width - label_width) // (cell_width + 2))
    blocks = []
    for start in range(0, len(names), per_block):
        part = slice(start, start + per_block)
        lines = [_line("", names[part], label_width, cell_width)]
        for label in labels:
            cells = [cells.get(label, _NONE) for cells in rows[part]]
            lines.append(_line(label, cells, label_width, cell_width))
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


_SECTIONS = ("Parameters", "Sparsity", "Training", "FLOPs", "Memory", "Checkpoint", "Time")


def _order(label: str) -> int:
    """Position of a label's section; labels of one section stay as they are."""
    return _SECTIONS.index(label.partition(":")[0])


def _rows(plan: Plan) -> dict[str, str]:
    rows = {
        "Parameters: matrices (Table 5)": f"{plan.n_params_paper:,}",
        "Parameters: all": f"{plan.n_params_total:,}",
        "Parameters: not masked": f"{plan.n_params_nonzero:,}",
    }
    for kind in plan.kinds:
        if kind.kind in _MATRICES or kind.sparsity:
            mean = "mean " if plan.changing_level and kind.sparsity else ""
            rows[f"Sparsity: {kind.kind}"] = f"{mean}{100 * kind.sparsity:.2f} %"
    share = "" if plan.warmup_share is None else f" ({100 * plan.warmup_share:.1f} %)"
    rows |= {
        "Training: sequences per step": _count(plan.batch_size),
        "Training: tokens per sequence": _count(plan.sequence_length),
        "Training: steps": _count(plan.steps),
        "Training: warm-up steps": f"{plan.warmup_steps:,}{share}",
        "Training: tokens": _count(plan.tokens),
    }
    rows |= _flops_rows(plan)
    rows |= _memory_rows(plan)
    rows["Checkpoint: size"] = _bytes(plan.checkpoint_bytes)
    return rows


_MATRICES = ("query, key, value", "attention output", "feed-forward")


def _flops_rows(plan: Plan) -> dict[str, str]:
    per_token = plan.flops_per_token
    rows = {}
    if plan.flops is not None and plan.dense_flops is not None:
        for field in fields(Flops):
            value = getattr(plan.flops, field.name)
            share = value / plan.flops.total
            rows[f"FLOPs: {field.name}"] = f"{power(value)} ({100 * share:.1f} %)"
        rows["FLOPs: total"] = power(plan.flops.total)
        rows["FLOPs: dense"] = power(plan.dense_flops.total)
    rows["FLOPs: of dense"] = f"{100 * plan.flops_ratio:.1f} %"
    rows["FLOPs: per token"] = power(per_token.total)
    if plan.regrowth_flops_per_token:
        share = plan.regrowth_flops_per_token / per_token.total
        rows["FLOPs: regrowth, beside the total"] = f"+{100 * share:.2f} %"
    return rows


def _estimate_rows(found: Estimate) -> dict[str, str]:
    where = f"{found.count} x {found.device}"
    rows = {f"Time: tokens/s, {where}": f"{found.tokens_per_second:,.0f} ({found.source})"}
    if found.days is not None and found.kwh is not None:
        rows[f"Time: days, {where}"] = amount(found.days)
        rows[f"Time: energy, {where}"] = f"{amount(found.kwh)} kWh"
    return rows


def _memory_rows(plan: Plan) -> dict[str, str]:
    if plan.memory is None or plan.memory_float32 is None:
        return {}
    rows = {"Memory: sequences at a time": _count(plan.micro_batch_size)}
    for field in fields(Memory):
        if field.name == "earlier_gradients":  # are among the gradients
            continue
        name = field.name.replace("_", " ")
        rows[f"Memory: {name}"] = _bytes(getattr(plan.memory, field.name))
    rows["Memory: total, at the peak"] = _bytes(plan.memory.total)
    rows["Memory: total, all float32"] = _bytes(plan.memory_float32.total)
    return rows


def _line(label: str, cells: Sequence[str], label_width: int, cell_width: int) -> str:
    return f"{label:<{label_width}}" + "".join(f"  {cell:>{cell_width}}" for cell in cells)


def _short_names(files: Sequence[str]) -> list[str]:
    """File names without directory and suffix, where that leaves them distinct; what follows a
    file's name, as of a stage of a recipe, stays."""
    short = [_SUFFIX.sub("", PurePath(file).name) for file in files]
    return short if len(set(short)) == len(short) else list(files)


def _count(number: int | None) -> str:
    return _NONE if number is None else f"{number:,}"


def amount(number: float) -> str:
    """Two decimals, or of a small number two digits: a short run is not 0.00 days."""
    return f"{number:,.2f}" if number >= 0.1 or not number else f"{number:.2g}"


def power(number: float) -> str:
    """1.234e20: four digits and an exponent."""
    mantissa, _, exponent = f"{number:.3e}".partition("e")
    return f"{mantissa}e{int(exponent)}"


def _bytes(number: int) -> str:
    size = float(number)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024 or unit == "TiB":
            break
        size /= 1024
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.2f} {unit}"

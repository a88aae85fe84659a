"""A report as Markdown: the same tables, figures as the sentences that describe them."""

from __future__ import annotations

import re

from modelzoo_mediswift.report.document import (
    Block,
    Document,
    Figure,
    Folded,
    Paragraph,
    Section,
    Table,
)


def to_markdown(document: Document) -> str:
    parts = [
        f"# {_escape(document.title)}",
        _escape(document.introduction),
        *(part for section in document.sections for part in _section(section)),
    ]
    return "\n\n".join(parts) + "\n"


def _escape(text: str) -> str:
    """One line in which nothing is taken for Markdown or HTML."""
    line = " ".join(text.split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*\[\]|~]|(?<!\w)_|_(?!\w)|^[#+-](?=\s))", r"\\\1", line)


def _section(section: Section) -> list[str]:
    return [f"## {_escape(section.title)}", *map(_block, section.blocks)]


def _block(block: Block) -> str:
    match block:
        case Paragraph(text):
            return _escape(text)
        case Table():
            return _table(block)
        case Figure():
            return f"**{_escape(block.title)}** (plot in the page). {_escape(block.description)}."
        case Folded(summary, text):
            longest = max((len(run) for run in re.findall("`+", text)), default=0)
            fence = "`" * max(3, longest + 1)
            return f"{_escape(summary)}:\n\n{fence}\n{text.rstrip()}\n{fence}"


def _table(table: Table) -> str:
    numbers = len(table.header) - table.text_columns
    rules = ["---"] * table.text_columns + ["---:"] * numbers
    rows = [table.header, tuple(rules), *table.rows]
    lines = [
        f"| {' | '.join(row if i == 1 else map(_escape, row))} |" for i, row in enumerate(rows)
    ]
    return f"**{_escape(table.caption)}**\n\n" + "\n".join(lines)

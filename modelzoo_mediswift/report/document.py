"""What a report is made of, whatever it is written in."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Paragraph:
    text: str


@dataclass(frozen=True)
class Table:
    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    """As many cells as the header; the first one names the row."""
    text_columns: int = 1
    """The first so many columns hold text, the others numbers."""


@dataclass(frozen=True)
class Series:
    """A line in a plot."""

    name: str
    """Of what it belongs to; lines with the same name have the same colour."""
    x: tuple[float, ...]
    y: tuple[float, ...]
    colour: int
    dashed: bool = False
    labels: tuple[str, ...] = ()
    """Written beside the points; for names that are in this code, not from outside."""


@dataclass(frozen=True)
class Figure:
    title: str
    caption: str
    description: str
    """What one would tell somebody who does not see it."""
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    from_zero: bool = False
    """Whether the vertical axis begins at 0."""
    top: float | None = None
    """Where the vertical axis ends, if not at the highest point."""
    scatter: bool = False
    """Whether points are drawn, not lines, over a logarithmic horizontal axis."""


@dataclass(frozen=True)
class Folded:
    """Text as it stands in a file, shown on demand."""

    summary: str
    text: str


Block = Paragraph | Table | Figure | Folded


@dataclass(frozen=True)
class Section:
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Document:
    title: str
    introduction: str
    sections: tuple[Section, ...]

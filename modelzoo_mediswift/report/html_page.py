"""A report as one HTML page that needs nothing else: no scripts, no files, no network."""

from __future__ import annotations

import html
from collections.abc import Iterable
from itertools import groupby

from modelzoo_mediswift.report.document import (
    Block,
    Document,
    Figure,
    Folded,
    Paragraph,
    Section,
    Series,
    Table,
)
from modelzoo_mediswift.report.figures import colour, draw

# Should anything slip through the escaping, the browser still runs and loads nothing.
POLICY = "default-src 'none'; style-src 'unsafe-inline'"

STYLE = """
:root { color-scheme: light dark; --ink: #1c2126; --soft: #59636e; --line: #d4d9de;
  --band: #f4f6f8; --paper: #ffffff; --link: #0a66a8; }
@media screen and (prefers-color-scheme: dark) {
  :root { --ink: #e4e7ea; --soft: #a2abb4; --line: #3a4148; --band: #1f242a; --paper: #15191d;
    --link: #6cb6ea; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 84rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans",
  sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .5rem; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .75rem; padding-bottom: .25rem;
  border-bottom: 1px solid var(--line); }
p { margin: .75rem 0; max-width: 46rem; }
a { color: var(--link); }
nav ul { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; margin: 1rem 0; padding: 0;
  list-style: none; font-size: .9rem; }
.scroll { overflow-x: auto; margin: 1rem 0; }
.scroll:focus-visible { outline: 2px solid var(--link); }
table { border-collapse: separate; border-spacing: 0; font-size: .875rem;
  font-variant-numeric: tabular-nums; }
caption { text-align: left; padding: 0 0 .4rem; font-weight: 600; white-space: nowrap; }
th, td { padding: .35rem .6rem; border-bottom: 1px solid var(--line); text-align: left;
  vertical-align: top; max-width: 38rem; }
th { font-weight: 600; }
tbody th { font-weight: 400; min-width: 8rem; }
tbody th, thead :first-child { position: sticky; left: 0; }
tbody th { background: var(--paper); }
thead th, thead td { vertical-align: bottom; background: var(--band); }
.number { text-align: right; white-space: nowrap; }
thead .number { white-space: normal; }
.short { white-space: nowrap; }
.long { min-width: 16rem; overflow-wrap: anywhere; }
.figures { display: grid; gap: 0 2rem; margin: 1.5rem 0;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 30rem), 1fr)); }
figure { margin: 0 0 1.5rem; max-width: 38rem; }
figure svg { display: block; width: 100%; height: auto; }
figcaption { font-size: .9rem; color: var(--soft); }
figcaption strong { color: var(--ink); }
.legend { display: flex; flex-wrap: wrap; gap: .1rem 1.25rem; margin: .25rem 0 .5rem; padding: 0;
  list-style: none; font-size: .875rem; }
.legend svg { display: inline-block; width: 1.75rem; height: .6rem; margin-right: .4rem; }
details { margin: .5rem 0; border: 1px solid var(--line); border-radius: .25rem; }
summary { padding: .5rem .75rem; cursor: pointer; }
pre { margin: 0; padding: .75rem; overflow-x: auto; background: var(--band); font-size: .8rem;
  line-height: 1.4; }
@media (max-width: 40rem) {
  tbody th { min-width: 5rem; max-width: 8rem; overflow-wrap: anywhere; }
}
@page { size: landscape; margin: 1cm; }
@media print {
  body { max-width: none; padding: 0; font-size: 9pt; }
  .scroll { overflow: visible; }
  table { font-size: 7pt; max-width: 100%; }
  th, td { padding: .2rem .4rem; max-width: none; overflow-wrap: anywhere; }
  .long, tbody th { min-width: 4rem; }
  .short { white-space: normal; }
  thead { display: table-header-group; }
  tbody th, thead :first-child { position: static; }
  tr, figure, details { break-inside: avoid; }
  h2, caption, figcaption { break-after: avoid; }
  .figures { grid-template-columns: 1fr 1fr; }
  details::details-content { content-visibility: visible; block-size: auto; }
}
"""


def to_html(document: Document) -> str:
    """The whole page. The same document gives the same characters."""
    keys = [f"s{i}" for i in range(1, len(document.sections) + 1)]
    links = "\n".join(
        f'<li><a href="#{key}">{_escape(section.title)}</a></li>'
        for key, section in zip(keys, document.sections, strict=True)
    )
    sections = "\n".join(map(_section, document.sections, keys))
    title = _escape(document.title)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<title>{title}</title>
<style>{STYLE}</style>
</head>
<body>
<header>
<h1>{title}</h1>
<p>{_escape(document.introduction)}</p>
<nav aria-label="Sections"><ul>
{links}
</ul></nav>
</header>
<main>
{sections}
</main>
</body>
</html>
"""


def _escape(text: str) -> str:
    return html.escape(text).replace(" %", "&#160;%")


def _section(section: Section, key: str) -> str:
    numbered = enumerate(section.blocks)
    blocks = "\n".join(
        _side_by_side(_block(block, f"{key}-{i}") for i, block in group)
        if figures
        else "\n".join(_block(block, f"{key}-{i}") for i, block in group)
        for figures, group in groupby(numbered, lambda pair: isinstance(pair[1], Figure))
    )
    return (
        f'<section aria-labelledby="{key}">\n<h2 id="{key}">{_escape(section.title)}</h2>\n'
        f"{blocks}\n</section>"
    )


def _side_by_side(figures: Iterable[str]) -> str:
    return '<div class="figures">\n' + "\n".join(figures) + "\n</div>"


def _block(block: Block, key: str) -> str:
    match block:
        case Paragraph(text):
            return f"<p>{_escape(text)}</p>"
        case Table():
            return _table(block, key)
        case Figure():
            return _figure(block, key)
        case Folded(summary, text):
            return (
                f"<details><summary>{_escape(summary)}</summary>\n"
                f"<pre>{_escape(text)}</pre></details>"
            )


def _table(table: Table, key: str) -> str:
    head = "".join(
        f'<th scope="col"{_class(i, name, table)}>{_escape(name)}</th>'
        if name
        else f"<td{_class(i, name, table)}></td>"
        for i, name in enumerate(table.header)
    )
    rows = "\n".join(
        f'<tr><th scope="row">{_escape(row[0])}</th>'
        + "".join(
            f"<td{_class(i, cell, table)}>{_escape(cell)}</td>"
            for i, cell in enumerate(row[1:], start=1)
        )
        + "</tr>"
        for row in table.rows
    )
    # Focusable, so that a keyboard can scroll it.
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-labelledby="{key}"><table>\n'
        f'<caption id="{key}">{_escape(table.caption)}</caption>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table></div>"
    )


def _class(column: int, cell: str, table: Table) -> str:
    if column >= table.text_columns:
        return ' class="number"'
    if column == 0:
        return ""
    return ' class="long"' if len(cell) > 30 else ' class="short"'


def _figure(figure: Figure, key: str) -> str:
    label = f'<svg role="img" aria-labelledby="{key}-title" aria-describedby="{key}-text" '
    described = f'<desc id="{key}-text">{_escape(figure.description)}</desc>'
    opening, closing, drawing = draw(figure, key).partition(">")
    svg = opening.replace("<svg ", label) + closing + described + drawing
    names = {line.name: line for line in figure.series}
    legend = "\n".join(_legend(line, figure.scatter) for line in names.values())
    return (
        f'<figure>\n<figcaption><strong id="{key}-title">{_escape(figure.title)}</strong> '
        f'{_escape(figure.caption)}\n<ul class="legend">\n{legend}\n</ul></figcaption>\n'
        f"{svg}\n</figure>"
    )


def _legend(series: Series, point: bool) -> str:
    shade = colour(series.colour)
    if not point:
        mark = f'<line x1="0" y1="5" x2="28" y2="5" stroke="{shade}" stroke-width="2.5"/>'
    elif series.dashed:
        mark = f'<path d="M14 0 19 5 14 10 9 5Z" fill="{shade}"/>'
    else:
        mark = f'<circle cx="14" cy="5" r="4" fill="{shade}"/>'
    svg = f'<svg viewBox="0 0 28 10" aria-hidden="true">{mark}</svg>'
    return f"<li>{svg}{_escape(series.name)}</li>"

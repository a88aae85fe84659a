"""The data card: what is in a corpus and what was left out, as Markdown and HTML with plots."""

import html
import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from data_preprocessing.records import SOURCES, read_batches, replacing
from modelzoo_mediswift.errors import UserError
from modelzoo_mediswift.whole_files import read_json

SPLITS = ("train", "validation")
UNKNOWN = "not stated"
_COLOURS = {"pubmed_abstract": "#3b6ea5", "pmc_fulltext": "#d98032"}
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; margin: 1rem 0 }
th, td { padding: .2rem .8rem; border-bottom: 1px solid #ddd; text-align: right }
th:first-child, td:first-child { text-align: left }
svg { max-width: 100%; height: auto }
"""


@dataclass
class Corpus:
    """The documents of a merged corpus, counted."""

    documents: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(split, source) -> number."""
    text_bytes: Counter[str] = field(default_factory=Counter)
    """Source -> bytes of text, in UTF-8."""
    years: Counter[tuple[str, int | None]] = field(default_factory=Counter)
    licences: Counter[tuple[str, str]] = field(default_factory=Counter)
    languages: Counter[str] = field(default_factory=Counter)


def write_card(
    merged_dir: Path, out_dir: Path, *, parsed_dir: Path | None, packed_dir: Path | None
) -> dict[str, Any]:
    """Write card.md, card.html and the plots into `out_dir`; return the main counts.

    Raises UserError if a folder is not what its stage wrote.
    """
    merged = _json(merged_dir / "counts.json", "merge", ("in", "out", "dropped", "options"))
    corpus = count_documents(merged_dir)
    parsed = _json(parsed_dir / "counts.json", "parse", ("totals",))["totals"] if parsed_dir else {}
    packed = _data_params(packed_dir) if packed_dir else {}
    out_dir.mkdir(parents=True, exist_ok=True)
    plots = {"years.svg": _plot_years(corpus), "dropped.svg": _plot_dropped(merged)}
    sections = _sections(corpus, merged, parsed, packed)
    for name, svg in plots.items():
        _write(out_dir / name, svg)
    _write(out_dir / "card.md", _markdown(sections))
    _write(out_dir / "card.html", _html(sections, plots))
    return {"documents": merged["out"], "dropped": sum(merged["dropped"].values())}


def count_documents(merged_dir: Path) -> Corpus:
    """Count by split, source, year, licence and language."""
    corpus = Corpus()
    columns = ["source", "year", "licence", "language", "text"]
    for split in SPLITS:
        for batch in read_batches(merged_dir / f"{split}.parquet", columns):
            sources = batch["source"].to_pylist()
            sizes = pc.binary_length(batch["text"].cast(pa.binary())).to_pylist()
            licences = batch["licence"].to_pylist()
            corpus.documents.update((split, source) for source in sources)
            corpus.years.update(zip(sources, batch["year"].to_pylist(), strict=True))
            corpus.licences.update(
                (source, name or UNKNOWN) for source, name in zip(sources, licences, strict=True)
            )
            corpus.languages.update(batch["language"].to_pylist())
            for source, size in zip(sources, sizes, strict=True):
                corpus.text_bytes[source] += size
    return corpus


Table = list[Sequence[Any]]


@dataclass
class _Section:
    title: str
    text: str
    table: Table
    """The first row is the heading."""
    plot: str | None = None


def _sections(
    corpus: Corpus,
    merged: Mapping[str, Any],
    parsed: Mapping[str, Any],
    packed: Mapping[str, Mapping[str, Any]],
) -> list[_Section]:
    present = [source for source in SOURCES if corpus.text_bytes[source]]
    tokens = {source: _tokens(packed, source) for source in present}
    sections = [
        _Section(
            "Documents",
            "Validation is chosen by article, so that an abstract and its full text are on one "
            "side. Tokens do not count end-of-text.",
            [("source", "train", "validation", "MB of text", "tokens")]
            + [
                (
                    source,
                    corpus.documents["train", source],
                    corpus.documents["validation", source],
                    round(corpus.text_bytes[source] / 1e6, 1),
                    tokens[source] if packed else "not packed",
                )
                for source in present
            ],
        ),
        _Section(
            "By year",
            "Of publication, both splits together.",
            [("decade", *present), *_by_decade(corpus, present)],
            "years.svg",
        ),
        _Section(
            "By licence",
            "PubMed states none for abstracts; they may be under their publishers' copyright.",
            [("licence", *present)]
            + [
                (name, *(corpus.licences[source, name] for source in present))
                for name in sorted({name for _, name in corpus.licences})
            ],
        ),
        _Section("By language", "", [("language", "documents"), *corpus.languages.most_common()]),
        _Section(
            "Left out",
            f"{merged['in']:,} records in, {merged['out']:,} out; each of the others is counted "
            "under the first reason that holds.",
            [("reason", "records"), *merged["dropped"].items()],
            "dropped.svg",
        ),
        _Section(
            "How",
            "The options of `merge`.",
            [("option", "value"), *((k, json.dumps(v)) for k, v in merged["options"].items())],
        ),
    ]
    if parsed:
        sections.insert(
            4, _Section("Parsed", "Paragraphs are those of full texts.", _parsed(parsed))
        )
    if packed:
        sections.append(_Section("Packed", "", _packed(packed)))
    return sections


def _tokens(packed: Mapping[str, Mapping[str, Any]], source: str) -> int:
    return sum(params.get("tokens_by_source", {}).get(source, 0) for params in packed.values())


def _by_decade(corpus: Corpus, present: list[str]) -> Table:
    decades: Counter[tuple[str, int]] = Counter()
    for (source, year), count in corpus.years.items():
        decades[source, year // 10 * 10 if year else 0] += count
    return [
        (f"{decade}s" if decade else UNKNOWN, *(decades[source, decade] for source in present))
        for decade in sorted({decade for _, decade in decades})
    ]


def _parsed(parsed: Mapping[str, Any]) -> Table:
    names = ("files", "files_with_errors", "records", "deletions", "damaged_record")
    rows: Table = [(name.replace("_", " "), parsed.get(name, 0)) for name in names]
    paragraphs = parsed.get("paragraphs", {})
    rows += [
        (f"paragraphs {name}", paragraphs[name]) for name in ("in", "out") if name in paragraphs
    ]
    rows += [
        (f"paragraphs dropped: {rule}", count)
        for rule, count in paragraphs.get("dropped", {}).items()
    ]
    return [("what", "count"), *rows]


def _packed(packed: Mapping[str, Mapping[str, Any]]) -> Table:
    names = ["format", "packing", "max_sequence_length", "vocab_size", "n_examples", "n_tokens"]
    names += ["n_loss_tokens", "tokenizer_sha256", "seed"]
    rows: Table = [(name, *(params.get(name) for params in packed.values())) for name in names]
    padding = [params["counts"]["padding"] for params in packed.values()]
    return [("", *packed), *rows, ("padding", *padding)]


# -- plots -------------------------------------------------------------------------------------


def _plot_years(corpus: Corpus) -> str:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3), layout="constrained")
    axes = figure.subplots()
    years = sorted({year for _, year in corpus.years if year})
    below = [0] * len(years)
    for source in SOURCES:
        heights = [corpus.years[source, year] for year in years]
        axes.bar(years, heights, bottom=below, width=0.9, label=source, color=_COLOURS[source])
        below = [a + b for a, b in zip(below, heights, strict=True)]
    axes.set_ylabel("documents")
    axes.legend(frameon=False)
    return _svg(figure)


def _plot_dropped(merged: Mapping[str, Any]) -> str:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3), layout="constrained")
    axes = figure.subplots()
    dropped = sorted(merged["dropped"].items(), key=lambda item: item[1])
    axes.barh([name for name, _ in dropped], [count for _, count in dropped], color="#888888")
    axes.set_xlabel("records left out")
    return _svg(figure)


def _svg(figure: Any) -> str:
    """The same figure gives the same text."""
    import matplotlib as mpl

    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    text = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "card", "svg.fonttype": "none"}):
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return text.getvalue()


# -- pages -------------------------------------------------------------------------------------


def _markdown(sections: list[_Section]) -> str:
    lines = ["# Data card", ""]
    for section in sections:
        lines += [f"## {section.title}", "", *([section.text, ""] if section.text else [])]
        heading, *rows = ([_shown(cell) for cell in row] for row in section.table)
        lines += [_row(heading), _row(["---", *["---:"] * (len(heading) - 1)])]
        lines += [_row(row) for row in rows]
        lines += ["", *([f"![{section.title}]({section.plot})", ""] if section.plot else [])]
    return "\n".join(lines)


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _html(sections: list[_Section], plots: Mapping[str, str]) -> str:
    parts = ["<!doctype html><meta charset='utf-8'><title>Data card</title>"]
    parts.append(f"<style>{_STYLE}</style><h1>Data card</h1>")
    for section in sections:
        parts.append(f"<h2>{html.escape(section.title)}</h2><p>{html.escape(section.text)}</p>")
        parts.append("<table>")
        for number, row in enumerate(section.table):
            tag = "td" if number else "th"
            cells = "".join(f"<{tag}>{html.escape(_shown(cell))}</{tag}>" for cell in row)
            parts.append(f"<tr>{cells}</tr>")
        parts.append("</table>")
        if section.plot:
            parts.append(plots[section.plot][plots[section.plot].index("<svg") :])
    return "\n".join(parts) + "\n"


def _shown(cell: object) -> str:
    return f"{cell:,}" if isinstance(cell, int | float) else str(cell)


def _write(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _data_params(packed_dir: Path) -> dict[str, dict[str, Any]]:
    """Each split's data_params.json; a corpus may be too small to have a validation split."""
    return {
        split: _json(packed_dir / split / "data_params.json", "pack", ("packing",))
        for split in SPLITS
        if split == "train" or (packed_dir / split).is_dir()
    }


def _json(path: Path, stage: str, keys: Sequence[str]) -> dict[str, Any]:
    """What a stage wrote about its work, with at least these keys."""
    content = read_json(path)
    for key in keys:
        if key not in content:
            raise UserError(f"{path}: has no {key}; expected the file that `{stage}` writes")
    return content

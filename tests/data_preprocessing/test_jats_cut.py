"""Tables and references cut out before parsing: the same text and ledger, a bounded memory."""

from pathlib import Path

import pytest
from peak_memory import megabytes

from data_preprocessing import pmc_jats
from data_preprocessing.jats_cut import without_unread
from data_preprocessing.pmc_jats import read_jats
from data_preprocessing.xml_reading import ReadLog

ARTICLE = (
    "<article><front><article-meta><article-id pub-id-type='pmc'>1</article-id></article-meta>"
    "</front><body><p>Before<xref rid='B1'>1</xref>.</p><table-wrap><caption><p>c</p></caption>"
    "{table}</table-wrap><p>Between <table-count/>.</p>{table}<p>After.</p></body>"
    "<back>{references}</back></article>"
)
TABLE = "<table frame='a'><tr><td><p>1</p><table ><tr><td><p/></td></tr></table></td></tr></table >"
REFERENCES = (
    "<ref-list><title>R</title><p>a</p><ref-list><ref id='B1'><note><p >b</p></note></ref>"
    '</ref-list><ref\n id="B2">c</ref><ref>d</ref></ref-list>'
)


def test_tables_and_references_are_cut_down() -> None:
    raw = ARTICLE.format(table=TABLE, references=REFERENCES).encode()
    references = "<ref-list><ref id='B1'/><ref\n id=\"B2\"/><p/><p/></ref-list>"
    reduced = ARTICLE.format(table="<table><p/><p/></table>", references=references)
    assert without_unread(raw) == reduced.encode()
    with_tables = ARTICLE.format(table=TABLE, references=references)
    assert without_unread(raw, tables=False) == with_tables.encode()


@pytest.mark.parametrize(
    "raw",
    [
        b"<a><!-- <table> --><table></table></a>",
        b"<a><table><!-- </table> --></table></a>",
        b"<a><![CDATA[<table>]]></a>",
        b"<a><table></a>",
        b"<a></table><table></a>",
        b"<a>no table, <table-wrap/></a>",
        b"<a><table",
        b"<a><table></table",
        b"<table",
    ],
)
def test_what_cannot_be_cut_safely_is_left_alone(raw: bytes) -> None:
    assert without_unread(raw) == raw


def test_the_records_and_the_ledger_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.nxml"
    path.write_text(ARTICLE.format(table=TABLE, references=REFERENCES))
    found = []
    for cut in (without_unread, lambda raw, start, end, **_: raw[start:end]):
        monkeypatch.setattr(pmc_jats, "without_unread", cut)
        log = ReadLog()
        found.append((list(read_jats(path, log)), log.counts))
    assert found[0] == found[1]
    (record,), counts = found[0]
    assert record.text == "Before.\nBetween .\nAfter."
    assert counts["paragraphs.dropped.table"] == 5
    assert counts["paragraphs.dropped.references"] == 2


def test_damage_in_what_is_not_read_costs_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.nxml"
    path.write_text(ARTICLE.format(table="<table><b></table>", references=REFERENCES))
    (record,) = read_jats(path)
    assert record.text.endswith("After.")


def test_memory_of_a_large_article_of_cells(tmp_path: Path) -> None:
    """31 MB, a tag for every ten bytes: under 400 MB in all."""
    row = "<tr>" + "<td><p>1</p></td>" * 16 + "</tr>"
    table = f"<table>{row * (31_000_000 // len(row))}</table>"
    article = ARTICLE.replace("{table}<p>After", "<p>After").format(table=table, references="")
    path = tmp_path / "a.nxml"
    path.write_text(article)
    assert path.stat().st_size > 30_000_000
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from data_preprocessing.pmc_jats import read_jats\n"
        "(record,) = read_jats(Path(sys.argv[1]))\n"
        "assert record.text.endswith('After.')\n"
        "print(peak())\n"
    )
    assert megabytes(program, path) < 400

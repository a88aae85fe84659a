"""Tables cut out before parsing: the same text, the same ledger, a bounded memory."""

from pathlib import Path

import pytest
from peak_memory import megabytes

from data_preprocessing import pmc_jats
from data_preprocessing.jats_tables import without_tables
from data_preprocessing.pmc_jats import read_jats
from data_preprocessing.xml_reading import ReadLog

ARTICLE = (
    "<article><front><article-meta><article-id pub-id-type='pmc'>1</article-id></article-meta>"
    "</front><body><p>Before.</p><table-wrap><caption><p>c</p></caption>{table}</table-wrap>"
    "<p>Between <table-count/>.</p>{table}<p>After.</p></body></article>"
)
TABLE = "<table frame='a'><tr><td><p>1</p><table ><tr><td><p/></td></tr></table></td></tr></table >"


def test_by_hand() -> None:
    raw = ARTICLE.format(table=TABLE).encode()
    assert without_tables(raw) == (ARTICLE.format(table="").encode(), 4)


@pytest.mark.parametrize(
    "raw",
    [
        b"<a><!-- <table> --><table></table></a>",
        b"<a><![CDATA[<table>]]></a>",
        b"<a><table></a>",
        b"<a></table><table></a>",
        b"<a>no table, <table-wrap/></a>",
    ],
)
def test_left_alone(raw: bytes) -> None:
    assert without_tables(raw) == (raw, 0)


def test_the_records_and_the_ledger_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.nxml"
    path.write_text(ARTICLE.format(table=TABLE))
    found = []
    for large in (1 << 30, 0):
        monkeypatch.setattr(pmc_jats, "LARGE", large)
        log = ReadLog()
        found.append((list(read_jats(path, log)), log.counts))
    assert found[0] == found[1]
    assert found[0][1]["paragraphs.dropped.table"] == 5


def test_memory_of_a_large_article_of_cells(tmp_path: Path) -> None:
    """31 MB, a tag for every ten bytes: under 400 MB in all."""
    row = "<tr>" + "<td><p>1</p></td>" * 16 + "</tr>"
    table = f"<table>{row * (31_000_000 // len(row))}</table>"
    path = tmp_path / "a.nxml"
    path.write_text(ARTICLE.replace("{table}<p>After", "<p>After").format(table=table))
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

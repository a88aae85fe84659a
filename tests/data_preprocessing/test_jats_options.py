"""Captions, tables and sub-articles: in or out of the text, and always in the ledger."""

import json
from pathlib import Path

import pytest
from lxml import etree

from data_preprocessing import pmc_jats
from data_preprocessing.__main__ import main
from data_preprocessing.jats_rules import JatsOptions
from data_preprocessing.jats_text import (
    KEPT,
    KEPT_CAPTION,
    KEPT_SUB_ARTICLE,
    KEPT_TABLE,
    article_text,
)
from data_preprocessing.parse import parse_files
from data_preprocessing.pmc_jats import read_jats
from data_preprocessing.records import read_parquet

TABLE = (
    "<table-wrap><label>Table 1</label><caption><title>Doses <xref ref-type='table-fn'>a</xref>"
    "</title><p>In mg.</p></caption><alternatives><graphic/><table><thead><tr><th>Drug</th>"
    "<th>Dose</th></tr></thead><tbody><tr><td/><td> </td></tr><tr><td><p>A</p><p>B</p></td>"
    "<td>1<sup>b</sup></td></tr></tbody></table></alternatives>"
    "<table-wrap-foot><p>Notes.</p><fn><p>a.</p></fn></table-wrap-foot></table-wrap>"
)
FIGURE = (
    "<fig><label>Figure 1</label><caption><p>Cells.</p><p>More.</p></caption><graphic/>"
    "<attrib><p>By us.</p></attrib></fig>"
)
LETTER = (
    "<sub-article article-type='decision-letter'><front-stub><title-group><article-title>Letter"
    "</article-title></title-group><author-notes><p>x</p></author-notes></front-stub><body>"
    f"<p>Dear authors.</p>{FIGURE}</body><back><ack><p>Thanks.</p></ack></back></sub-article>"
)
REST = (
    "<floats-group><fig><caption><title>Last</title></caption></fig><p>y</p></floats-group>"
    f"{LETTER}<response><body><p>Dear editor.</p></body></response>"
    "<sub-article article-type='translation'><body><p>Texte.</p></body></sub-article>"
)
ARTICLE = f"<article><body><p>See{TABLE}here.</p>{FIGURE}</body>{REST}</article>"


def text_and_ledger(**options: bool) -> tuple[list[str], dict[str, int]]:
    text, ledger = article_text(etree.fromstring(ARTICLE), JatsOptions(**options))
    return text.split("\n"), dict(ledger)


def test_all_out_by_default() -> None:
    lines, ledger = text_and_ledger()
    assert lines == ["Seehere."]
    assert ledger == {
        KEPT: 1,
        "table": 5,
        "figure": 3,
        "floats": 1,
        "sub_article": 7,
        "response": 1,
    }


def test_captions() -> None:
    lines, ledger = text_and_ledger(captions=True)
    assert lines == [
        "See",
        "Table 1 Doses",
        "In mg.",
        "here.",
        "Figure 1 Cells.",
        "More.",
        "Last",
    ]
    assert ledger[KEPT_CAPTION] == 3
    assert (ledger["table"], ledger["figure"], ledger["floats"]) == (4, 1, 1)


def test_table_text_is_a_line_for_each_row() -> None:
    lines, ledger = text_and_ledger(table_text=True)
    assert lines == ["See", "Drug | Dose", "A B | 1b", "here."]
    assert (ledger[KEPT_TABLE], ledger["table"], ledger["figure"]) == (2, 3, 3)


def test_sub_articles_but_no_translation() -> None:
    lines, ledger = text_and_ledger(sub_articles=True)
    assert lines == ["Seehere.", "Letter", "Dear authors.", "Dear editor."]
    assert ledger[KEPT_SUB_ARTICLE] == 2
    assert ledger["sub_article_translated"] == 1
    assert (ledger["front_matter"], ledger["acknowledgements"]) == (1, 1)


@pytest.mark.parametrize("captions", [True, False])
@pytest.mark.parametrize("table_text", [True, False])
@pytest.mark.parametrize("sub_articles", [True, False])
def test_options_add_up(captions: bool, table_text: bool, sub_articles: bool) -> None:
    """Each paragraph is accounted for once (article_text checks), whatever the options."""
    lines, ledger = text_and_ledger(
        captions=captions, table_text=table_text, sub_articles=sub_articles
    )
    assert sum(ledger.values()) == 18
    assert ("Figure 1 Cells." in lines) == captions
    assert ("Drug | Dose" in lines) == table_text
    assert ("Dear editor." in lines) == sub_articles
    assert ledger.get(KEPT_CAPTION, 0) == 3 * captions
    assert ledger.get(KEPT_SUB_ARTICLE, 0) == sub_articles * (2 + 2 * captions)


def test_tables_of_data_stay_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pmc_jats, "MAX_TABLE_TEXT", 100)
    path = tmp_path / "a.xml"
    path.write_text(ARTICLE)
    (record,) = read_jats(path, options=JatsOptions(captions=True, table_text=True))
    assert "Table 1 Doses" in record.text
    assert "Drug" not in record.text


def test_another_option_parses_again(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "PMC1.xml").write_text(ARTICLE)
    out = tmp_path / "out"
    found = {}
    for flags in ([], ["--captions"], ["--captions", "--table_text", "--sub_articles"]):
        assert main(["parse", str(tmp_path / "in"), "-o", str(out), *flags]) == 0
        (record,) = read_parquet(next(out.glob("*.parquet")))
        totals = json.loads((out / "counts.json").read_text())["totals"]["paragraphs"]
        assert totals["in"] == totals["out"] + sum(totals["dropped"].values())
        found[len(flags)] = (len(record.text.split("\n")), totals.get("kept", {}))
    assert found == {
        0: (1, {}),
        1: (7, {"captions": 3}),
        3: (14, {"captions": 3, "table_text": 2, "sub_articles": 4}),
    }
    before = next(out.glob("*.parquet")).stat().st_mtime_ns
    parse_files([tmp_path / "in"], out, jats=JatsOptions(True, True, True))
    assert next(out.glob("*.parquet")).stat().st_mtime_ns == before

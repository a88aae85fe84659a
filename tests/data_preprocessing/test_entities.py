from html.entities import html5
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from data_preprocessing import entities, xml_reading
from data_preprocessing.entities import character, resolve
from data_preprocessing.pmc_jats import read_jats
from data_preprocessing.pubmed_xml import read_pubmed
from data_preprocessing.records import Record
from data_preprocessing.xml_reading import ReadLog, parse_record


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("lsqb", "["),
        ("plus", "+"),
        ("percnt", "%"),
        ("nbsp", "\u00a0"),
        ("alpha", "α"),
        ("b.alpha", "α"),
        ("agr", "α"),
        ("Agr", "Α"),
        ("thgr", "θ"),
        ("THgr", "Θ"),
        ("Thgr", "Θ"),
        ("sfgr", "ς"),
        ("OHgr", "Ω"),
        ("frac12", "½"),
        ("nosuchname", None),
        ("gr", None),
    ],
)
def test_character(name: str, text: str | None) -> None:
    assert character(name) == text


def test_references_in_text_and_attributes_are_replaced() -> None:
    document = '<p t="&percnt;">&lsqb;5&nbsp;&mu;g&rsqb;</p>'
    assert resolve(document.encode()) == ('<p t="%">[5\u00a0μg]</p>'.encode(), 0)


def test_xmls_own_and_numbers_stay() -> None:
    document = b"<p>&lt;&gt;&amp;&quot;&apos;&#60;&#x3c; a & b</p>"
    assert resolve(document) == (document, 0)


def test_unknown_names_are_removed_and_counted() -> None:
    assert resolve(b"<p>a&foo;b&bar.x;</p>") == (b"<p>ab</p>", 2)


def test_cdata_and_comments_are_not_text_with_entities() -> None:
    document = b"<p><![CDATA[&alpha;]]><!-- &alpha; -->&alpha;</p>"
    assert resolve(document)[0].decode() == "<p><![CDATA[&alpha;]]><!-- &alpha; -->α</p>"


@given(st.sampled_from(sorted(name[:-1] for name in html5 if name.endswith(";"))))
def test_every_html_entity_gives_well_formed_xml(name: str) -> None:
    """Also those that stand for markup themselves (&LT; &AMP; &nvlt;)."""
    document, unknown = resolve(f"<p>&{name};</p>".encode())
    assert (etree.fromstring(document).text, unknown) == (html5[name + ";"], 0)


DECLARING = """<!DOCTYPE {} [<!ENTITY firm "A &#38; B"> <!ENTITY twice "&firm;&firm;">
<!ENTITY firm 'other'> <!ENTITY file SYSTEM "file:///etc/passwd"> <!ENTITY tag "<p>x</p>">]>"""


def test_what_a_document_declares_itself_if_it_is_plain_text(tmp_path: Path) -> None:
    assert entities.declared(DECLARING.encode()) == {b"firm": b"A &#38; B"}
    used = "By &firm;&twice;&file;&tag;&alpha;."
    path = tmp_path / "a.xml"
    path.write_text(DECLARING.format("article") + f"<article><body><p>{used}</p></body></article>")
    log = ReadLog()
    assert [record.text for record in read_jats(path, log)] == ["By A & Bα."]
    assert log.counts["unknown_entity"] == 3
    title = f"<ArticleTitle>{used}</ArticleTitle>"
    path.write_text(
        DECLARING.format("PubmedArticleSet")
        + "<PubmedArticleSet><PubmedArticle><MedlineCitation><PMID>1</PMID>"
        + f"<Article>{title}</Article></MedlineCitation></PubmedArticle></PubmedArticleSet>"
    )
    (record,) = read_pubmed(path)
    assert isinstance(record, Record)
    assert record.title == "By A & Bα."


def test_a_long_declaration_is_not_taken() -> None:
    for quote in "\"'":
        of_64, of_65 = (f"<!ENTITY a {quote}{'x' * n}{quote}>".encode() for n in (64, 65))
        assert entities.declared(of_64) == {b"a": b"x" * 64}
        assert entities.declared(of_65) == {}


def test_declared_entities_do_not_multiply_a_record(monkeypatch: pytest.MonkeyPatch) -> None:
    long = {b"a": b"x" * 64}
    assert parse_record(b"<p>&a;&a;</p>", ReadLog(), long).text == "x" * 128
    monkeypatch.setattr(xml_reading, "MAX_RECORD_BYTES", 1000)
    assert not parse_record(b"<p>&a;&a;</p>", ReadLog(), long).text
